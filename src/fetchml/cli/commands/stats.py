"""`fetchml stats`."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from fetchml.cli import session
from fetchml.cli.options import Json, Quiet, command_app, configuration
from fetchml.errors import ConfigError

if TYPE_CHECKING:
    from fetchml.service.stats import Stats, Waits

app = command_app()


@app.command()
def stats(
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="How far to look back, such as 12h.")] = "7d",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show how long runs waited, user by user, and how busy the GPUs were."""
    from fetchml.models.units import parse_duration
    from fetchml.service.stats import stats as look

    try:
        span = timedelta(seconds=parse_duration(since))
    except ConfigError as error:
        raise ConfigError(f"--since: {error.summary}", detail=error.detail, hint=error.hint) from error
    found = look(configuration().settings, span)
    if json:
        session.print_json(_as_json(found))
        return
    from fetchml.models.units import plural

    ends = ", ".join(f"{count} {reason}" for reason, count in sorted(found.ends.items(), key=lambda item: -item[1]))
    session.print_line(f"runs         {found.runs} in {since}" + (f"; ended: {ends}" if ends else ""))
    if found.retried:
        session.print_line(f"retried      {found.retried}")
    used = "no GPUs" if found.utilisation is None else f"{100 * found.utilisation:.1f} % of {plural(found.gpus, 'GPU')}"
    session.print_line(f"utilisation  {used}")
    if found.fairness is not None:
        session.print_line(f"fairness     {found.fairness:.2f} of 1, over {len(found.users)} users")
    if found.waits is None:
        return
    rows = [("(all)", *_waits(found.waits), "", "")]
    rows += [
        (session.safe(item.user), *_waits(item.waits), f"{item.run_s / 3600:.1f}", f"{item.gpu_s / 3600:.1f}")
        for item in found.users
    ]
    header = ("USER", "RUNS", "MEAN WAIT", "MEDIAN", "95 %", "LONGEST", "RUN HOURS", "GPU HOURS")
    session.print_line(session.table(header, rows))


def _waits(waits: "Waits") -> tuple[str, ...]:
    from fetchml.models.units import format_duration

    spans = (waits.mean_s, waits.median_s, waits.p95_s, waits.longest_s)
    return str(waits.count), *(format_duration(span) for span in spans)


def _as_json(found: "Stats") -> dict[str, object]:
    return {
        "schema_version": 1,
        "since": found.since.isoformat().replace("+00:00", "Z"),
        "until": found.until.isoformat().replace("+00:00", "Z"),
        "runs": found.runs,
        "ends": found.ends,
        "retried": found.retried,
        "gpus": found.gpus,
        "utilisation": found.utilisation,
        "fairness": found.fairness,
        "waits": _waits_json(found.waits),
        "users": [
            {"user": item.user, "waits": _waits_json(item.waits), "run_s": item.run_s, "gpu_s": item.gpu_s}
            for item in found.users
        ],
    }


def _waits_json(waits: "Waits | None") -> dict[str, float] | None:
    if waits is None:
        return None
    return {
        "count": waits.count,
        "mean_s": waits.mean_s,
        "median_s": waits.median_s,
        "p95_s": waits.p95_s,
        "longest_s": waits.longest_s,
    }
