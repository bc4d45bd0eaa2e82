"""The catalogue of datasets: `<store>/datasets/<name>/<version>.json`, and beside it `<version>.listing`.

An entry says where data is and what it holds; the data stays where it is, on this host or in a bucket. The listing
names every file with its digest, so that a difference can be told file by file; its own SHA-256 is the checksum. It is
written first: an entry without one does not exist.
"""

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import Field, ValidationError

from fetchml import durable
from fetchml.config.blocks import BlockFields
from fetchml.datasets.bucket_url import is_bucket_url
from fetchml.datasets.digest import Digest
from fetchml.errors import ConfigError, Conflict, Corrupt, NotFound
from fetchml.models.base import Model, UtcTime
from fetchml.models.dataset import CHECKSUM, DatasetSpec, check_name

Stage = Literal["never", "remote", "always"]
"""When the data of a folder is copied to the host of a run: remote is if its file system is on another machine."""


class Dataset(Model):
    """One version of a dataset."""

    schema_version: Literal[1] = 1
    name: str = Field(description="Name")
    version: str = Field(description="Version")
    uri: str = Field(description="Where the data is")
    checksum: Annotated[str, Field(pattern=CHECKSUM, description="sha256:... or blake3:... of the listing")]
    size_bytes: int = Field(ge=0, description="Sum of the sizes of its files, in bytes")
    file_count: int = Field(ge=0, description="Files")
    sample_count: int | None = Field(default=None, ge=0, description="Samples, as whoever added it says")
    added_at: UtcTime = Field(description="When it was added")
    added_by: str = Field(description="Who added it")
    warnings: tuple[str, ...] = Field(default=(), description="What was left out, and what is odd")
    stage: Stage | None = Field(
        default=None,
        exclude_if=lambda found: found is None,
        description="When it is copied to the host of a run; left out where the host's setting decides",
    )

    @property
    def path(self) -> Path | None:
        """Where the data is on this host; None if it is in a bucket."""
        return None if is_bucket_url(self.uri) else path_of(self.uri)

    @property
    def place(self) -> str:
        """Where the data is, for people."""
        return self.uri if self.path is None else str(self.path)

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


class Catalogue:
    """The datasets of a run store.

    Args:
        root: The folder; made with the first entry.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(
        self,
        name: str,
        uri: str,
        found: Digest,
        *,
        version: str | None,
        samples: int | None,
        stage: Stage | None = None,
        by: str,
        now: datetime,
    ) -> tuple[Dataset, bool]:
        """Adds a version, unless there is one with this content.

        Args:
            name: Name of the dataset.
            uri: Where the data is.
            found: What it holds.
            version: Version to give it; None takes the next number.
            samples: How many samples it has, if that is known.
            stage: When it is copied to the host of a run; None leaves that to its settings.
            by: Who adds it.
            now: The moment.

        Returns:
            The entry, and whether it is new. An entry with this content is moved to the place.

        Raises:
            ConfigError: A name is not accepted.
            Conflict: There is such a version, with other content, or a name or version that only differs in case.
        """
        folder = self.root / check_name(name)
        with self._adding(name):
            known = self.versions(name)
            same = [item for item in known if item.checksum == found.checksum and version in (None, item.version)]
            if same:
                return self._moved(same[-1], uri, samples, stage), False
            if version is not None and any(item.version == version for item in known):
                raise Conflict(
                    f"there is a version `{version}` of `{name}` with other content",
                    hint="leave `--version` out, or give another",
                    code="version-taken",
                )
            entry = Dataset(
                name=name,
                version=version or _next(known),
                uri=uri,
                checksum=found.checksum,
                size_bytes=found.size_bytes,
                file_count=found.file_count,
                sample_count=samples,
                added_at=now,
                added_by=by,
                warnings=found.warnings,
                stage=stage,
            )
            _refuse_twin("version", check_name(entry.version, "version"), [item.version for item in known])
            durable.write_atomic(folder / f"{entry.version}.listing", found.listing)
            self._write(entry)
        return entry, True

    def names(self) -> list[str]:
        """Returns the names of all datasets, sorted."""
        if not durable.exists(self.root):
            return []
        with durable.translated("read", self.root):
            return sorted(item.name for item in self.root.iterdir() if item.is_dir() and any(_entries(item)))

    def versions(self, name: str) -> list[Dataset]:
        """Returns the versions of a dataset, in the order they were added; none if there is no such dataset.

        Raises:
            ConfigError: It is no name.
            Corrupt: An entry is damaged.
        """
        folder = self.root / check_name(name)
        if not durable.exists(folder):
            return []
        with durable.translated("read", folder):
            found = [_read(path) for path in _entries(folder)]
        return sorted(found, key=lambda item: (item.added_at, len(item.version), item.version))

    def all(self) -> Iterator[Dataset]:
        """Yields every version of every dataset."""
        for name in self.names():
            yield from self.versions(name)

    def find(self, spec: DatasetSpec) -> Dataset:
        """Returns what a spec means: the version or content it asks for, else the version that was added last.

        Raises:
            NotFound: There is none.
            Corrupt: An entry is damaged.
        """
        known = self.versions(spec.name)
        if not known:
            names = ", ".join(self.names()[:10]) or "none"
            raise NotFound(
                f"there is no dataset `{spec.name}`",
                detail=f"there are: {names}",
                hint=f"`fetchml dataset add {spec.name} PATH` adds it",
                code="no-such-dataset",
            )
        for item in reversed(known):
            if spec.version in (None, item.version) and spec.checksum in (None, item.checksum):
                return item
        there = ", ".join(f"{item.version} ({item.checksum})" for item in known[-5:])
        raise NotFound(
            f"there is no version `{spec.checksum or spec.version}` of the dataset `{spec.name}`",
            detail=f"there are: {there}",
            hint="ask for one of them, or add the data it was made from",
            code="no-such-version",
        )

    def listing(self, entry: Dataset) -> bytes | None:
        """Returns the listing of an entry; None if it is gone."""
        path = self.root / entry.name / f"{entry.version}.listing"
        if not durable.exists(path):
            return None
        with durable.translated("read", path):
            return path.read_bytes()

    def remove(self, entry: Dataset) -> None:
        """Forgets an entry; the data stays."""
        folder = self.root / entry.name
        with durable.locked(folder), durable.translated("remove", folder):
            (folder / f"{entry.version}.json").unlink(missing_ok=True)
            (folder / f"{entry.version}.listing").unlink(missing_ok=True)
            durable.sync_folder(folder)

    @contextmanager
    def _adding(self, name: str) -> Generator[None]:
        """Holds the folder of a dataset, and those of all others: of two names that differ in case, one is first."""
        folder = self.root / name
        durable.make_folder(self.root)
        with durable.locked(self.root):
            _refuse_twin("dataset", name, self.names())
            durable.make_folder(folder)
            with durable.locked(folder):
                yield

    def _moved(self, entry: Dataset, uri: str, samples: int | None, stage: Stage | None) -> Dataset:
        changes = {
            "uri": uri,
            "sample_count": entry.sample_count if samples is None else samples,
            "stage": entry.stage if stage is None else stage,
        }
        moved = entry.model_copy(update=changes)
        if moved != entry:
            self._write(moved)
        return moved

    def _write(self, entry: Dataset) -> None:
        path = self.root / entry.name / f"{entry.version}.json"
        durable.write_atomic(path, entry.model_dump_json(indent=2).encode() + b"\n")


def _entries(folder: Path) -> Iterator[Path]:
    """Yields the files of entries; not what was being written when somebody died."""
    return (
        path
        for path in folder.iterdir()
        if path.suffix == ".json" and not path.name.startswith(durable.TEMPORARY_PREFIX)
    )


def folder_of_block(fields: BlockFields) -> Path:
    """Returns the folder of the catalogue that a `DatasetCatalogue` block names.

    Raises:
        ConfigError: It is no absolute path.
    """
    folder = fields.optional_path("folder")
    if folder is None:
        raise fields.wrong("folder", "it is empty")
    return folder


def path_of(uri: str) -> Path:
    """Returns the path that a `file:` URI names."""
    return Path(unquote(urlsplit(uri).path))


def local_path(text: str) -> Path:
    """Returns the path that a user's text means, absolute and without links.

    Raises:
        ConfigError: It is a URL of a kind that is not there yet, or no path.
    """
    scheme, separator, _ = text.partition("://")
    if separator:
        raise ConfigError(
            f"datasets at `{scheme[:20]}://` are not supported yet",
            detail="a dataset is a file or folder that this host can read, or `s3://bucket/prefix`",
            hint="mount or copy the data, then add its path",
            code="not-supported-yet",
        )
    try:
        text.encode("utf-8")
        return Path(text).expanduser().resolve()
    except (UnicodeEncodeError, ValueError, RuntimeError, OSError) as error:
        raise ConfigError(f"{text[:60]!r} is not the path of a dataset", detail=str(error)) from error


def _refuse_twin(what: str, name: str, known: Iterable[str]) -> None:
    """Refuses a name that a reader, or a file system that folds case, takes for another."""
    twin = next((other for other in known if other != name and other.casefold() == name.casefold()), None)
    if twin is not None:
        raise Conflict(
            f"there is a {what} `{twin}`, which differs from `{name}` in case alone",
            hint=f"call it `{twin}`, or give it another name",
            code="name-taken",
        )


def _next(known: list[Dataset]) -> str:
    return str(1 + max((int(item.version) for item in known if item.version.isdecimal()), default=0))


def _read(path: Path) -> Dataset:
    try:
        entry = Dataset.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        raise Corrupt(
            f"the dataset entry `{path}` is damaged",
            detail=f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}",
            hint="remove the file, then add the dataset again",
            code="record-damaged",
        ) from error
    if (entry.name, entry.version) != (path.parent.name, path.stem):
        raise Corrupt(f"the dataset entry `{path}` is of another dataset", detail=str(entry), code="record-damaged")
    return entry
