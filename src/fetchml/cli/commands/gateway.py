"""`fetchml gateway`."""

from fetchml.cli import session
from fetchml.cli.options import Json, Quiet, command_app, configuration
from fetchml.errors import Unavailable

app = command_app("Let other hosts and computers in.")


@app.callback()
def _group() -> None:
    """Let other hosts and computers in."""


@app.command()
def start(json: Json = False, quiet: Quiet = False) -> None:
    """Start the gateway. `fetchml up` does it as well where `gateway.listen` is set."""
    from fetchml.daemons.gateway import LocalGateway, public_url

    settings = configuration(with_project=False).settings
    is_new = LocalGateway(settings).start()
    if json:
        session.print_json({"schema_version": 1, "started": is_new, "url": public_url(settings)})
        return
    session.print_line(f"gateway  {public_url(settings)}")
    session.note("`fetchml host add NAME` lets a host in, `fetchml user add NAME` a person")


@app.command()
def stop(json: Json = False, quiet: Quiet = False) -> None:
    """Stop the gateway. Other hosts go on with what runs, and wait for it."""
    from fetchml.daemons.gateway import LocalGateway

    stopped = LocalGateway(configuration(with_project=False).settings).stop()
    if json:
        session.print_json({"schema_version": 1, "stopped": stopped})
    else:
        session.print_line("stopped" if stopped else "it was not running")


@app.command()
def status(json: Json = False, quiet: Quiet = False) -> int:
    """Show whether the gateway runs, and where; exit 6 if it does not answer."""
    from fetchml.daemons.gateway import LocalGateway, public_url

    settings = configuration(with_project=False).settings
    gateway = LocalGateway(settings)
    answers, url = gateway.answers(), public_url(settings)
    if json:
        session.print_json(
            {
                "schema_version": 1,
                "url": url,
                "listen": settings.gateway_listen,
                "answers": answers,
                "pid": gateway.daemon.pid(),
            }
        )
    else:
        session.print_line(f"gateway  {'answers' if answers else 'does not answer'}, pid {gateway.daemon.pid() or '-'}")
        session.print_line(f"listen   {session.safe(settings.gateway_listen or '')}")
        session.print_line(f"address  {session.safe(url)}")
    return 0 if answers else Unavailable.exit_code
