"""`fetchml down`."""

from fetchml.cli import session
from fetchml.cli.options import Json, Quiet, command_app, configuration

app = command_app()


@app.command()
def down(json: Json = False, quiet: Quiet = False) -> None:
    """Stop the worker and the private server; runs go on and are picked up by the next `fetchml up`."""
    from fetchml.service.up import down as stop
    from fetchml.store.index import RunIndex

    settings = configuration(with_project=False).settings
    stopped = stop(settings, session.note)
    running = [row for row in RunIndex(settings.store).unfinished() if row.state not in ("queued", "damaged")]
    if json:
        session.print_json({"schema_version": 1, "stopped": stopped, "still_running": [row.run_id for row in running]})
        return
    session.print_line("stopped" if stopped else "nothing was running")
    if running:
        session.note(f"{len(running)} runs go on; `fetchml up` picks them up again")
