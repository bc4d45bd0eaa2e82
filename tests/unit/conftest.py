"""What the unit tests share: mode bits that count for root too, and trees that are removed whatever their depth."""

import ctypes
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("unit", deadline=None, max_examples=60, database=None)
hypothesis.settings.load_profile("unit")

_CAPABILITY_VERSION_3 = 0x20080522
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@pytest.fixture
def mode_bits_count() -> Iterator[None]:
    """Makes `chmod 000` mean something where the tests run as root: gives up the two capabilities that see past it."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = _Header(_CAPABILITY_VERSION_3, 0)
    before = (_Sets * 2)()
    assert libc.capget(ctypes.byref(header), ctypes.byref(before)) == 0
    wanted = (_Sets * 2)()
    ctypes.memmove(wanted, before, ctypes.sizeof(before))
    wanted[0].effective &= ~(1 << _CAP_DAC_OVERRIDE | 1 << _CAP_DAC_READ_SEARCH)
    assert libc.capset(ctypes.byref(header), ctypes.byref(wanted)) == 0
    yield
    assert libc.capset(ctypes.byref(header), ctypes.byref(before)) == 0


@pytest.fixture
def deep_folder() -> Iterator[Callable[[Path, str, int], int]]:
    """Makes chains of folders of any depth, returns a descriptor of the last; removes them afterwards."""
    roots: list[Path] = []
    descriptors: list[int] = []

    def make(root: Path, name: str, depth: int) -> int:
        roots.append(root)
        current = os.open(root, os.O_RDONLY)
        for _ in range(depth):
            os.mkdir(name, dir_fd=current)
            inner = os.open(name, os.O_RDONLY, dir_fd=current)
            os.close(current)
            current = inner
        descriptors.append(current)
        return current

    yield make
    for descriptor in descriptors:
        os.close(descriptor)
    for root in roots:  # shutil.rmtree calls itself for each level
        subprocess.run(["chmod", "-R", "u+rwx", str(root)], check=True)
        subprocess.run(["rm", "-rf", str(root)], check=True)
