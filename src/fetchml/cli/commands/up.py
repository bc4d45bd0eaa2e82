"""`fetchml up`."""

from fetchml.cli import session
from fetchml.cli.options import Json, PrefectApiUrl, Quiet, command_app, configuration, prefect_flags

app = command_app()


@app.command()
def up(prefect_api_url: PrefectApiUrl = None, json: Json = False, quiet: Quiet = False) -> None:
    """Start the Prefect server and the worker of this host; what runs already is left alone."""
    from fetchml.cli.commands.server import as_json
    from fetchml.service.up import up as start

    status = start(configuration(prefect_flags(prefect_api_url), with_project=False).settings, session.note)
    if json:
        session.print_json(as_json(status))
        return
    session.print_line(f"server   {status.api_url}  {'private' if status.is_private else 'not ours'}")
    session.print_line(f"worker   pid {status.worker_pid}")
    session.print_line(f"UI       {status.ui_url}")
    session.print_line(f"home     {status.home}")
