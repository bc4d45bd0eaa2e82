"""`fetchml validate`."""

from typing import Annotated

import typer

from fetchml.cli import session
from fetchml.cli.options import Json, Quiet, command_app, complete_run, configuration
from fetchml.errors import Corrupt

app = command_app()


@app.command()
def validate(
    run: Annotated[
        str, typer.Argument(metavar="RUN|PATH", help="A run, or the path of a run folder.", autocompletion=complete_run)
    ],
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the checks that passed, too.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Check the record of a run: schema, plan hash, code, seal, every file's digest. Exit 7 if something is wrong."""
    from fetchml.models.units import plural
    from fetchml.service.validate import validate as check

    report = check(configuration().settings, run)
    if json:
        session.print_json(
            {
                "schema_version": 1,
                "run_id": report.run_id,
                "ok": report.ok,
                "checked_at": report.checked_at.isoformat().replace("+00:00", "Z"),
                "checks": [
                    {"name": c.name, "ok": c.ok, "expected": c.expected, "actual": c.actual} for c in report.checks
                ],
            }
        )
    else:
        for item in report.checks:
            if not item.ok:
                session.print_line(f"{session.style('wrong', 'red', 'bold')}  {session.safe(item.name)}")
                session.print_line(f"       expected {session.safe(item.expected)}")
                session.print_line(f"       found    {session.safe(item.actual)}")
            elif verbose:
                session.print_line(f"{session.style('ok', 'green')}     {session.safe(item.name)}")
        failed = sum(not item.ok for item in report.checks)
        session.print_line(
            f"{report.run_id}: {plural(len(report.checks), 'check')}, "
            + (session.style("all passed", "green") if report.ok else session.style(f"{failed} failed", "red"))
        )
    return 0 if report.ok else Corrupt.exit_code
