"""`fetchml simulate`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fetchml.cli import session
from fetchml.cli.options import Json, Quiet, command_app, configuration
from fetchml.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fetchml.service.simulate import Copy, Result, Simulated

app = command_app()

_TIMES = (
    ("average_wait_s", "AVG WAIT"),
    ("median_wait_s", "MEDIAN"),
    ("p95_wait_s", "P95"),
    ("longest_wait_s", "LONGEST"),
    ("average_jct_s", "AVG JCT"),
)
_SHARES = (("utilisation", "USED"), ("jain_index", "JAIN"))


@app.command()
def simulate(
    trace: Annotated[
        Path | None, typer.Argument(metavar="[TRACE]", help="A CSV file with submit_s, duration_s, gpus, user.")
    ] = None,
    history: Annotated[bool, typer.Option("--history", help="Replay the runs of this store instead.")] = False,
    hosts: Annotated[
        str | None,
        typer.Option("--hosts", metavar="LIST", help="Hosts and their GPUs: 2x8, or 2x8,1x4:24G.  [default: 2x8]"),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy",
            metavar="NAME",
            help="fifo, prefect, easy, easy-perfect, default, default-perfect; repeatable.",
        ),
    ] = None,
    jitter: Annotated[
        int, typer.Option("--jitter", metavar="N", min=0, max=100, help="Replay N copies with other luck as well.")
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", metavar="S", min=0, help="Number of the first copy.")] = 1,
    scale: Annotated[
        float, typer.Option("--scale", metavar="F", min=0.001, max=1000, help="Multiply all durations.")
    ] = 1.0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Replay a trace through the queue's decisions, and compare with other schedulers."""
    from fetchml.service.simulate import simulate as run

    if (trace is None) is not history:
        raise ConfigError("give either a trace or `--history`", hint="for example `fetchml simulate trace.csv`")
    found = run(
        configuration().settings,
        trace,
        hosts=hosts,
        policies=tuple(policy or ()),
        jitter=jitter,
        seed=seed,
        scale=scale,
        observe=_tell if sys.stderr.isatty() and not (quiet or json) else None,
    )
    if sys.stderr.isatty() and not (quiet or json):
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    if json:
        session.print_json(_as_json(found))
        return
    session.print_line(_text(found))
    refused = found.copies[0].results[0].refused_count
    if refused:
        session.note(f"left out as no host could ever run them: {refused} of {found.job_count} jobs")


def _tell(name: str, ended: int, count: int) -> None:
    print(f"\r\x1b[K{name}: {ended} of {count} jobs", end="", file=sys.stderr, flush=True)


def _text(found: "Simulated") -> str:
    from fetchml.models.units import format_duration, plural

    head = (
        f"{session.safe(found.source)}: {plural(found.job_count, 'job')} of {plural(found.user_count, 'user')} "
        f"in {format_duration(found.span_s)}, on {plural(found.host_count, 'host')} "
        f"with {plural(found.gpu_count, 'GPU')}, load {found.load:.2f}"
    )
    as_it_is, *others = found.copies
    lines = [head, "", _table(as_it_is)]
    if others:
        lines += ["", f"Copies with other luck: {len(others)}. Relative to fifo on the same copy, median and worst:"]
        lines.append(_spread(others))
    lines += ["", *(f"{item.contender.name}: {item.contender.words}" for item in as_it_is.results)]
    return "\n".join(lines)


def _table(copy: "Copy") -> str:
    """Returns the figures of each scheduler, with those of strict FIFO as 1 in brackets."""
    from fetchml.models.units import format_duration

    base = copy.results[0].figures
    rows: list[tuple[str, ...]] = []
    for item in copy.results:
        values, parts = item.figures.as_json(), item.figures.relative_to(base)

        def cell(name: str, text: str, parts: dict[str, float | None] = parts) -> str:
            part = parts[name]
            return f"{text} ({part:.2f})" if part is not None else text

        rows.append(
            (
                item.contender.name,
                *(cell(name, format_duration(values[name])) for name, _ in _TIMES),
                cell("average_bounded_slowdown", f"{values['average_bounded_slowdown']:.1f}"),
                cell("worst_user_wait_s", format_duration(values["worst_user_wait_s"])),
                *(cell(name, f"{values[name]:.3f}") for name, _ in _SHARES),
            )
        )
    header = ("POLICY", *(word for _, word in _TIMES), "SLOWDOWN", "WORST USER", *(word for _, word in _SHARES))
    return session.table(header, rows)


def _spread(copies: "Sequence[Copy]") -> str:
    """Returns how the figures relative to strict FIFO vary over the copies."""
    names = (
        *(name for name, _ in _TIMES),
        "average_bounded_slowdown",
        "worst_user_wait_s",
        *(name for name, _ in _SHARES),
    )
    rows: list[tuple[str, ...]] = []
    for place, item in enumerate(copies[0].results):
        if place == 0:
            continue
        cells: list[str] = []
        for name in names:
            parts = sorted(
                part for copy in copies if (part := _part(copy.results[place], copy.results[0], name)) is not None
            )
            worst = (min if name in dict(_SHARES) else max)(parts, default=0.0)
            cells.append(f"{parts[len(parts) // 2]:.2f}, {worst:.2f}" if parts else "-")
        rows.append((item.contender.name, *cells))
    header = ("POLICY", *(word for _, word in _TIMES), "SLOWDOWN", "WORST USER", *(word for _, word in _SHARES))
    return session.table(header, rows)


def _part(item: "Result", base: "Result", name: str) -> float | None:
    return item.figures.relative_to(base.figures)[name]


def _as_json(found: "Simulated") -> dict[str, object]:
    return {
        "schema_version": 1,
        "source": found.source,
        "jobs": found.job_count,
        "users": found.user_count,
        "span_s": found.span_s,
        "hosts": found.host_count,
        "gpus": found.gpu_count,
        "load": found.load,
        "copies": [
            {
                "seed": copy.seed,
                "policies": {
                    item.contender.name: {
                        "figures": item.figures.as_json(),
                        "relative_to_fifo": item.figures.relative_to(copy.results[0].figures),
                        "refused": item.refused_count,
                    }
                    for item in copy.results
                },
            }
            for copy in found.copies
        ],
    }
