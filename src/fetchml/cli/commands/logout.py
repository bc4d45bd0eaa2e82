"""`fetchml logout`."""

from fetchml.cli import session
from fetchml.cli.options import Json, Quiet, command_app, configuration

app = command_app()


@app.command()
def logout(json: Json = False, quiet: Quiet = False) -> None:
    """Forget the lab that this computer uses. The key stays good until it is revoked there."""
    from fetchml.service.login import logout as log_out

    found = log_out(configuration(with_project=False).settings)
    if json:
        session.print_json({"schema_version": 1, "url": found.url if found else None})
    else:
        session.print_line(f"logged out of {session.safe(found.url)}" if found else "this home belongs to no other lab")
