"""`fetchml doctor`."""

from typing import Annotated

import typer

from fetchml.cli import session
from fetchml.cli.options import Json, PrefectApiUrl, Quiet, command_app, configuration, prefect_flags
from fetchml.errors import Unavailable

app = command_app()

_MARKS = {"ok": ("ok", "green"), "warning": ("note", "yellow"), "error": ("wrong", "red")}


@app.command()
def doctor(
    repair: Annotated[
        bool, typer.Option("--repair/--no-repair", help="Mend what differs between run store and Prefect.")
    ] = True,
    prefect_api_url: PrefectApiUrl = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Check this host and mend what can be mended; exit 6 if something is wrong."""
    from fetchml.service.doctor import doctor as look

    findings = look(configuration(prefect_flags(prefect_api_url), home_is_checked=False), repair=repair)
    failed = any(item.level == "error" for item in findings)
    if json:
        session.print_json(
            {
                "schema_version": 1,
                "ok": not failed,
                "findings": [
                    {"subject": f.subject, "level": f.level.value, "text": f.text, "hint": f.hint} for f in findings
                ],
            }
        )
    else:
        for item in findings:
            word, colour = _MARKS[item.level]
            session.print_line(f"{session.style(f'{word:<6}', colour)} {item.subject:<14} {session.safe(item.text)}")
            if item.hint:
                session.print_line(f"{'':<21} {session.style('hint:', 'cyan')} {session.safe(item.hint)}")
    return Unavailable.exit_code if failed else 0
