"""`fetchml dataset`."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from fetchml.cli import session
from fetchml.cli.options import Json, Quiet, command_app, configuration
from fetchml.cli.progress import Teller

if TYPE_CHECKING:
    from fetchml.datasets.catalogue import Dataset

app = command_app("Data that runs read, by name and checksum.")

_SHOWN = 20


class WhenStaged(StrEnum):
    """When runs get a copy."""

    NEVER = "never"
    REMOTE = "remote"
    ALWAYS = "always"


Target = Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="A dataset; without a version, the latest.")]


@app.callback()
def _group() -> None:
    """Data that runs read, by name and checksum."""


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the dataset.")],
    place: Annotated[
        str, typer.Argument(metavar="PLACE", help="File or folder, which stays where it is, or s3://BUCKET/PREFIX.")
    ],
    version: Annotated[
        str | None, typer.Option("--version", metavar="TEXT", help="Version.  [default: the next number]")
    ] = None,
    samples: Annotated[int | None, typer.Option("--samples", metavar="N", min=0, help="Samples it has.")] = None,
    algorithm: Annotated[
        str | None,
        typer.Option(
            "--algorithm",
            metavar="sha256|blake3",
            help="What to hash with; blake3 is faster.  [default: as the latest version, else sha256]",
        ),
    ] = None,
    stage: Annotated[
        WhenStaged | None,
        typer.Option(
            "--stage",
            metavar="WHEN",
            help="never, remote or always: when a run gets a copy on its host.  [default: as `datasets.stage` says]",
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Read data and enter it in the catalogue. Changed data becomes a new version."""
    from fetchml.service.dataset_add import add_dataset

    try:
        added = add_dataset(
            configuration().settings,
            name,
            place,
            version=version,
            samples=samples,
            algorithm=algorithm,
            stage=None if stage is None else stage.value,
            observe=Teller().tell,
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; nothing was added, what was read is remembered") from None
    if json:
        session.print_json({"schema_version": 1, **_as_json(added.dataset), "created": added.created})
    else:
        _show(added.dataset)
        if not added.created:
            session.note("nothing is new: there is a version with this content")
    for text in added.dataset.warnings:
        session.note(f"warning: {text}")


@app.command("list")
def list_all(json: Json = False, quiet: Quiet = False) -> None:
    """Show all datasets."""
    from fetchml.models.units import format_size
    from fetchml.service.dataset_list import list_datasets

    found = list_datasets(configuration().settings)
    if json:
        session.print_json({"schema_version": 1, "datasets": [_as_json(item) for item in found]})
    elif found:
        rows = [
            (
                item.name,
                item.version,
                format_size(item.size_bytes),
                str(item.file_count),
                "-" if item.sample_count is None else str(item.sample_count),
                item.checksum[:23],
                session.safe(item.place),
            )
            for item in found
        ]
        session.print_line(session.table(("NAME", "VERSION", "SIZE", "FILES", "SAMPLES", "CHECKSUM", "PLACE"), rows))
    else:
        session.note("there are no datasets; `fetchml dataset add NAME PATH` adds one")


@app.command()
def info(target: Target, json: Json = False, quiet: Quiet = False) -> None:
    """Show one dataset."""
    from fetchml.service.dataset_info import dataset_info

    found = dataset_info(configuration().settings, target)
    if json:
        session.print_json({"schema_version": 1, **_as_json(found)})
    else:
        _show(found)
        for text in found.warnings:
            session.note(f"warning: {text}")


@app.command()
def verify(target: Target, json: Json = False, quiet: Quiet = False) -> int:
    """Read every byte of a dataset and compare it with its checksum. Exit 7 if it has changed."""
    from fetchml.service.dataset_verify import verify_dataset

    settings = configuration().settings
    try:
        done = verify_dataset(settings, target, Teller().tell)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; nothing was compared") from None
    if json:
        session.print_json(
            {
                "schema_version": 1,
                "name": done.dataset.name,
                "version": done.dataset.version,
                "ok": done.ok,
                "expected": done.dataset.checksum,
                "actual": done.checksum,
                "changes": list(done.changes[:_SHOWN]),
                "change_count": len(done.changes),
            }
        )
    elif done.ok:
        session.print_line(f"{done.dataset}  {session.style('unchanged', 'green')}  {done.checksum}")
    else:
        session.print_line(f"{done.dataset}  {session.style('changed', 'red', 'bold')}")
        session.print_line(f"expected {done.dataset.checksum}\nfound    {done.checksum}")
        for text in done.changes[:_SHOWN]:
            session.print_line(f"- {session.safe(text)}")
        if len(done.changes) > _SHOWN:
            session.print_line(f"... and {len(done.changes) - _SHOWN} more")
    return done.exit_code


@app.command()
def rm(target: Target, json: Json = False, quiet: Quiet = False) -> None:
    """Take one version out of the catalogue. The data stays."""
    from fetchml.service.dataset_rm import remove_dataset

    gone = remove_dataset(configuration().settings, target)
    if json:
        session.print_json({"schema_version": 1, **_as_json(gone)})
    else:
        session.print_line(f"removed {gone} from the catalogue; the data stays at {session.safe(gone.place)}")


def _show(item: "Dataset") -> None:
    from fetchml.cli.plan_text import show_rows
    from fetchml.models.units import format_size, plural

    samples = "" if item.sample_count is None else f", {plural(item.sample_count, 'sample')}"
    show_rows(
        ("dataset", str(item)),
        ("checksum", item.checksum),
        ("size", f"{format_size(item.size_bytes)} in {plural(item.file_count, 'file')}{samples}"),
        ("place", item.place),
        *((("stage", item.stage),) if item.stage else ()),
        ("added", f"{item.added_at:%Y-%m-%d %H:%M} UTC by {item.added_by}"),
    )


def _as_json(item: "Dataset") -> dict[str, object]:
    value = item.model_dump(mode="json")
    return {**value, "stage": item.stage, "path": None if item.path is None else str(item.path)}
