"""What an upload reads: never the last byte of a file that is not what it should be."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchml.objects.port import ChangedWhileRead
from fetchml.objects.s3_window import FileWindow, Window

CONTENT = bytes(range(256)) * 5
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "file").write_bytes(CONTENT)
    opened = os.open(tmp_path / "file", os.O_RDWR)
    yield opened
    os.close(opened)


def read_in_parts(window: Window, size: int) -> bytes:
    parts: list[bytes] = []
    while part := window.read(size):
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("size", [1, 7, 256, 1280, 5000, -1])
def test_a_sound_file_is_read_whole(descriptor: int, size: int) -> None:
    assert read_in_parts(FileWindow(descriptor, DIGEST, Path("file")), size) == CONTENT


@pytest.mark.parametrize("size", [1, 256, 1280, -1])
@pytest.mark.parametrize("place", [0, 600, 1279])
def test_a_changed_byte_keeps_the_end_back(descriptor: int, size: int, place: int) -> None:
    window = FileWindow(descriptor, DIGEST, Path("file"))
    os.pwrite(descriptor, b"!", place)
    with pytest.raises(ChangedWhileRead):
        read_in_parts(window, size)


def test_a_file_that_is_cut_meanwhile_is_told(descriptor: int) -> None:
    window = FileWindow(descriptor, DIGEST, Path("file"))
    assert window.read(256) == CONTENT[:256]
    os.ftruncate(descriptor, 300)
    with pytest.raises(ChangedWhileRead):
        read_in_parts(window, 256)


def test_what_is_added_meanwhile_is_left_out(descriptor: int) -> None:
    window = FileWindow(descriptor, DIGEST, Path("file"))
    os.pwrite(descriptor, b"more", len(CONTENT))
    assert read_in_parts(window, 256) == CONTENT
