"""`fetchml resume`."""

from fetchml.cli.commands.drain import Names, show
from fetchml.cli.options import Json, Quiet, command_app, configuration

app = command_app()


@app.command()
def resume(hosts: Names, json: Json = False, quiet: Quiet = False) -> None:
    """Have runs started on drained hosts again."""
    from fetchml.service.marks import resume as mark

    show(hosts, mark(configuration().settings, hosts), json=json)
