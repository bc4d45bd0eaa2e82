"""A host with NVIDIA devices that are not there: a stand-in for the driver's library, and what it is to say."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).parent / "data" / "nvml" / "fake_nvml.c"
GIB = 1024**3


def build(folder: Path) -> Path:
    """Compiles libnvidia-ml.so.1 into a folder and returns the folder."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail("in CI the detection of GPUs may not go untested: there is no C compiler")
        pytest.skip("NOT TESTED: NVIDIA GPUs need a C compiler (gcc)")
    target = folder / "libnvidia-ml.so.1"
    command = [compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-Wl,-soname,libnvidia-ml.so.1", "-o", str(target)]
    subprocess.run([*command, str(SOURCE)], check=True, capture_output=True)
    return folder


class Driver:
    """A driver that says what a test wants, and can change its mind while a program runs.

    Args:
        library: Folder of the stand-in.
        file: Where what it says is written.
    """

    def __init__(self, library: Path, file: Path) -> None:
        self._library = library
        self.file = file
        self.lines: list[bytes] = []
        self._write()

    @property
    def environ(self) -> dict[str, str]:
        """Variables with which programs find it."""
        return {**os.environ, "LD_LIBRARY_PATH": str(self._library), "FAKE_NVML_FILE": str(self.file)}

    def says(self, word: str, **fields: Any) -> "Driver":
        """Adds a line; see `fake_nvml.c`."""
        values = (f"{name.rstrip('_')}=".encode() + _bytes(value) for name, value in fields.items())
        self.lines.append(b" ".join([word.encode(), *values]))
        self._write()
        return self

    def device(self, uuid: str, **fields: Any) -> "Driver":
        """Adds a device."""
        return self.says("device", uuid=uuid, name=fields.pop("name", "Fake H100"), **fields)

    def forget(self, word: str) -> "Driver":
        """Takes back all lines that begin so."""
        self.lines = [line for line in self.lines if not line.startswith(word.encode())]
        self._write()
        return self

    def _write(self) -> None:
        temporary = self.file.with_suffix(".new")
        temporary.write_bytes(b"".join(line + b"\n" for line in self.lines))
        temporary.replace(self.file)


def _bytes(value: Any) -> bytes:
    raw = value if isinstance(value, bytes) else str(value).encode()
    return raw.replace(b" ", b"_")
