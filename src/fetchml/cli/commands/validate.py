"""`fetchml validate`."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from fetchml.cli import session
from fetchml.cli.options import Json, Quiet, command_app, complete_run, configuration
from fetchml.errors import ConfigError, Corrupt

if TYPE_CHECKING:
    from fetchml.config.settings import Settings
    from fetchml.service.findings import Report

app = command_app()

_PROGRESS_S = 5
_SHOWN = 3


@app.command()
def validate(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN|PATH|COMMIT",
            help="A run, the path of a run folder, or a commit id (at least 8 digits).",
            autocompletion=complete_run,
            show_default=False,
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Check every run of the store.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the checks that passed, too.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Check the record of a run: schema, life cycle, plan hash, code, seal, signature, every file's digest.

    Exit 7 if something is wrong.
    """
    if target is not None and everything:
        raise ConfigError("`--all` checks every run", detail=f"`{target}` was named too", hint="leave one of them out")
    settings = configuration().settings
    if everything:
        return _all(settings, verbose=verbose, json=json)
    if target is None:
        raise ConfigError(
            "Missing argument 'RUN|PATH|COMMIT'",
            hint="name what to check, or check every run with `--all`",
            code="usage",
        )
    from fetchml.service.validate import validate as check

    report = check(settings, target)
    if json:
        session.print_json({"schema_version": 1, **_as_json(report)})
    else:
        _show(report, verbose=verbose)
    return report.exit_code


def _all(settings: "Settings", *, verbose: bool, json: bool) -> int:
    from fetchml.service.validate import validate_all

    total, reports = validate_all(settings)
    began = told = time.monotonic()
    done: list[Report] = []
    for report in reports:
        done.append(report)
        if not json and verbose:
            _show(report, verbose=True)
        elif not json:
            _show_line(report)
        if not json and time.monotonic() - told >= _PROGRESS_S:
            told = time.monotonic()
            session.note(f"[{told - began:6.1f}s] {len(done)} of {total} runs checked")
    counts = {
        "runs": len(done),
        "sound": sum(report.ok for report in done),
        "corrupt": sum(report.exit_code == Corrupt.exit_code for report in done),
        "unreadable": sum(report.exit_code not in (0, Corrupt.exit_code) for report in done),
        "with_warnings": sum(bool(report.warnings) for report in done),
    }
    if json:
        listing = [_as_json(report) for report in done]
        ok = all(report.ok for report in done)
        session.print_json({"schema_version": 1, "ok": ok, "counts": counts, "reports": listing})
    else:
        from fetchml.models.units import plural

        words = ", ".join(f"{counts[name]} {name.replace('_', ' ')}" for name in counts if name != "runs")
        session.print_line(f"{plural(counts['runs'], 'run')}: {words}")
    codes = {report.exit_code for report in done}
    return Corrupt.exit_code if Corrupt.exit_code in codes else max(codes, default=0)


def _show_line(report: "Report") -> None:
    from fetchml.models.units import plural

    failed = [check.name for check in report.checks if not check.ok]
    text = plural(len(report.checks), "check")
    if failed:
        names = ", ".join(session.safe(name) for name in failed[:_SHOWN])
        more = f" and {len(failed) - _SHOWN} more" if len(failed) > _SHOWN else ""
        text += f", {len(failed)} failed: {names}{more}"
    if report.warnings:
        text += f", {plural(len(report.warnings), 'warning')}"
    word = session.style("ok", "green") + "    " if report.ok else session.style("wrong", "red", "bold") + " "
    session.print_line(f"{word} {report.title}  {text}")


def _show(report: "Report", *, verbose: bool) -> None:
    from fetchml.models.units import plural

    for item in report.checks:
        if not item.ok:
            session.print_line(f"{session.style('wrong', 'red', 'bold')}  {session.safe(item.name)}")
            session.print_line(f"       expected {session.safe(item.expected)}")
            session.print_line(f"       found    {session.safe(item.actual)}")
            if item.file is not None and item.file not in item.name:
                session.print_line(f"       in       {session.safe(item.file)}")
        elif verbose:
            session.print_line(f"{session.style('ok', 'green')}     {session.safe(item.name)}")
    for text in report.warnings:
        session.print_line(f"{session.style('note', 'yellow')}   {session.safe(text)}")
    failed = sum(not item.ok for item in report.checks)
    session.print_line(
        f"{report.title}: {plural(len(report.checks), 'check')}, "
        + (session.style("all passed", "green") if report.ok else session.style(f"{failed} failed", "red"))
    )


def _as_json(report: "Report") -> dict[str, object]:
    return {
        "run_id": report.run_id,
        "ok": report.ok,
        "checked_at": report.checked_at.isoformat().replace("+00:00", "Z"),
        "checks": [
            {"name": c.name, "ok": c.ok, "expected": c.expected, "actual": c.actual, "file": c.file}
            for c in report.checks
        ],
        "errors": list(report.errors),
        "warnings": list(report.warnings),
        "seconds": report.seconds,
        "commit_id": report.commit_id,
        "signature": report.signature,
    }
