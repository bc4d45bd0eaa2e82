"""`fetchml server`."""

from typing import TYPE_CHECKING

from fetchml.cli import session
from fetchml.cli.options import Json, PrefectApiUrl, Quiet, command_app, configuration, prefect_flags
from fetchml.errors import Unavailable

if TYPE_CHECKING:
    from fetchml.service.up import ServerStatus

app = command_app("Look at the server and the worker.")


@app.callback()
def _group() -> None:
    """Look at the server and the worker."""


@app.command()
def status(prefect_api_url: PrefectApiUrl = None, json: Json = False, quiet: Quiet = False) -> int:
    """Show what runs in the background; exit 6 if something is missing."""
    from fetchml.service.up import server_status

    found = server_status(configuration(prefect_flags(prefect_api_url), with_project=False).settings)
    if json:
        session.print_json(as_json(found))
    else:
        session.print_line(f"server   {session.safe(_server(found))}")
        session.print_line(f"worker   {f'running, pid {found.worker_pid}' if found.worker_alive else 'not running'}")
        if found.ui_url and found.server_answers:
            session.print_line(f"UI       {session.safe(found.ui_url)}")
        session.print_line(f"home     {session.safe(str(found.home))}")
        if not (found.server_answers and found.worker_alive):
            session.note("`fetchml up` starts what is missing")
    return 0 if found.server_answers and found.worker_alive else Unavailable.exit_code


def as_json(found: "ServerStatus") -> dict[str, object]:
    """Returns the status as the object that `--json` prints."""
    return {
        "schema_version": 1,
        "api_url": found.api_url,
        "ui_url": found.ui_url,
        "private": found.is_private,
        "server_alive": found.server_alive,
        "server_answers": found.server_answers,
        "server_pid": found.server_pid,
        "worker_alive": found.worker_alive,
        "worker_pid": found.worker_pid,
        "home": str(found.home),
    }


def _server(found: "ServerStatus") -> str:
    if found.api_url is None:
        return "not running"
    answers = "answers" if found.server_answers else "does not answer"
    kind = f"private, pid {found.server_pid}" if found.is_private else "not ours"
    return f"{found.api_url}  {kind}, {answers}"
