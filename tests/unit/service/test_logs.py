"""Reading a run's output: byte for byte, from the end on, and until the run has ended."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchml.config.settings import Settings
from fetchml.errors import NotFound
from fetchml.home import Home
from fetchml.models.manifest import Diagnosis, RunManifest
from fetchml.models.status import Cancelled, EndReason
from fetchml.service.logs import logs
from fetchml.testing.builders import MOMENT, RUN_ID, make_manifest, make_plan


@pytest.fixture
def output(home: Home) -> Path:
    """Where the output of a queued run will be."""
    home.store.create(make_plan(), make_manifest())
    path = home.store.folder(RUN_ID).attempt(1).output
    path.parent.mkdir(parents=True)
    return path


def end(home: Home) -> None:
    """Seals the run."""

    def change(manifest: RunManifest) -> RunManifest:
        status = Cancelled(started_at=None, ended_at=MOMENT, attempt=None, exit_code=None, by="ada")
        diagnosis = Diagnosis(category=EndReason.CANCELLED, summary="cancelled by ada")
        return manifest.with_status(status, diagnosis=diagnosis).sealed(MOMENT)

    home.store.update(RUN_ID, change)


def read(settings: Settings, tail: int | None = None, *, follow: bool = False) -> bytes:
    return b"".join(logs(settings, RUN_ID, follow=follow, tail=tail))


@pytest.mark.parametrize("content", [b"", b"one\ntwo\n", b"no newline", b"\0\xff\r\n\x1b[2J", b"x" * 200_000 + b"\n"])
def test_output_is_read_byte_for_byte(settings: Settings, output: Path, content: bytes) -> None:
    output.write_bytes(content)
    assert read(settings) == content


@pytest.mark.parametrize(
    ("content", "tail", "expected"),
    [
        (b"a\nb\nc\n", 0, b""),
        (b"a\nb\nc\n", 1, b"c\n"),
        (b"a\nb\nc\n", 2, b"b\nc\n"),
        (b"a\nb\nc\n", 3, b"a\nb\nc\n"),
        (b"a\nb\nc\n", 99, b"a\nb\nc\n"),
        (b"a\nb\nc", 1, b"c"),
        (b"a\nb\nc", 2, b"b\nc"),
        (b"a\n\n\n", 1, b"\n"),
        (b"a\n\n\n", 2, b"\n\n"),
        (b"\n", 1, b"\n"),
        (b"", 5, b""),
        (b"one line", 1, b"one line"),
    ],
)
def test_a_tail_begins_that_many_lines_before_the_end(
    settings: Settings, output: Path, content: bytes, tail: int, expected: bytes
) -> None:
    output.write_bytes(content)
    assert read(settings, tail) == expected


BLOCK = 64 * 1024


@pytest.mark.parametrize("length", [BLOCK - 2, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK - 1, 3 * BLOCK + 7])
@pytest.mark.parametrize("newline", [b"\n", b""])
def test_a_tail_is_the_same_wherever_its_lines_are(
    settings: Settings, output: Path, length: int, newline: bytes
) -> None:
    """The file is read backwards in blocks; a line may begin or end at any edge."""
    lines = [b"first", b"y" * length, b"x" * (length // 2), b"last"]
    output.write_bytes(b"\n".join(lines) + newline)
    for count in range(1, 5):
        assert read(settings, count) == b"\n".join(lines[-count:]) + newline


def test_a_run_that_has_printed_nothing_yet_says_so(settings: Settings, output: Path) -> None:
    with pytest.raises(NotFound) as caught:
        read(settings)
    assert caught.value.code == "no-output"


def test_a_run_that_ended_without_output_has_none(home: Home, settings: Settings, output: Path) -> None:
    end(home)
    assert read(settings) == b""
    assert read(settings, follow=True) == b""


def test_a_run_that_is_not_there_is_not_found(home: Home, settings: Settings) -> None:
    with pytest.raises(NotFound):
        read(settings)


# Following


def test_output_is_followed_until_the_run_has_ended(home: Home, settings: Settings, output: Path) -> None:
    output.write_bytes(b"one\n")
    chunks = logs(settings, RUN_ID, follow=True, tail=None)
    assert next(chunks) == b"one\n"
    with output.open("ab") as file:
        file.write(b"tw")
    assert next(chunks) == b"tw"
    with output.open("ab") as file:
        file.write(b"o\n")
    end(home)
    assert list(chunks) == [b"o\n"]


def test_output_that_begins_later_is_followed(
    home: Home, settings: Settings, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = iter([lambda: None, lambda: output.write_bytes(b"one\n"), lambda: end(home)])
    monkeypatch.setattr("fetchml.service.logs.time.sleep", lambda _: next(events)())
    assert read(settings, follow=True) == b"one\n"


def test_a_tail_is_followed_from_there(home: Home, settings: Settings, output: Path) -> None:
    output.write_bytes(b"one\ntwo\n")
    chunks: Iterator[bytes] = logs(settings, RUN_ID, follow=True, tail=1)
    assert next(chunks) == b"two\n"
    with output.open("ab") as file:
        file.write(b"three\n")
    end(home)
    assert b"".join(chunks) == b"three\n"


def test_what_was_written_just_before_the_end_is_not_missed(
    home: Home, settings: Settings, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends between the last look at the output and the look at its state."""
    output.write_bytes(b"one\n")

    def last_words(_: float) -> None:
        with output.open("ab") as file:
            file.write(b"last\n")
        end(home)

    monkeypatch.setattr("fetchml.service.logs.time.sleep", last_words)
    assert read(settings, follow=True) == b"one\nlast\n"
