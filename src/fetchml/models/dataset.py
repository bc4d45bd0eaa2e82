"""Datasets as a run names them: how a spec is written, and what is allowed in it.

Without pydantic: the settings read specs, and every command reads the settings.
"""

import re
from dataclasses import dataclass
from typing import Literal

from fetchml.errors import ConfigError

NAME_RULE = "1 to 64 letters, digits, `.`, `-` and `_`, beginning with a letter or digit"
VARIABLE_PREFIX = "FETCHML_DATA_"
"""A run finds the place of each dataset in the variable of this prefix and the dataset's name."""

_WORD = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_NAME = re.compile(_WORD, re.ASCII)
NAME_PATTERN = rf"^{_WORD}$"
_ALGORITHM = re.compile(r"(?:sha|md|blake)[0-9]*", re.ASCII | re.IGNORECASE)
_SPEC = re.compile(
    rf"(?P<name>{_WORD})"
    rf"(?:@(?:(?P<algorithm>sha256|blake3):(?P<digest>[0-9A-Fa-f]{{64}})|(?P<version>{_WORD})))?"
    rf"(?::(?P<mount>/.*))?",
    re.ASCII,
)
_MOUNT = re.compile(r"(?:/[A-Za-z0-9_.+@=-]+)+", re.ASCII)
_MAX_MOUNT = 512
_RESERVED = ("/code", "/results", "/run", "/opt/fetchml", "/proc", "/sys", "/dev")
"""What fetchml and the kernel put into a container."""
_NEEDED = ("/tmp", "/usr", "/etc", "/bin", "/sbin", "/lib", "/lib64")  # noqa: S108  # compared, not written to

Algorithm = Literal["sha256", "blake3"]
"""What datasets are hashed with."""
SHA256: Algorithm = "sha256"
ALGORITHMS: tuple[Algorithm, ...] = ("sha256", "blake3")
CHECKSUM = r"^(sha256|blake3):[0-9a-f]{64}$"


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """A dataset as it was asked for."""

    name: str
    version: str | None = None
    checksum: str | None = None
    mount: str | None = None

    def __str__(self) -> str:
        pinned = self.checksum or self.version
        return self.name + (f"@{pinned}" if pinned else "") + (f":{self.mount}" if self.mount else "")


def parse_spec(text: str) -> DatasetSpec:
    """Reads `NAME[@VERSION|@ALGORITHM:HEX][:/mount]`.

    Raises:
        ConfigError: It has another form, or the place cannot be one of a dataset.
    """
    found = _SPEC.fullmatch(text)
    version = found["version"] if found else None
    if found is None or (version is not None and _ALGORITHM.fullmatch(version)):
        raise ConfigError(
            f"`{_shown(text)}` is not a dataset",
            detail="expected `NAME[@VERSION or @sha256:64 HEX DIGITS][:/mount]`, or `blake3` for `sha256`",
        )
    mount = found["mount"]
    if mount is not None and (fault := mount_fault(mount)) is not None:
        raise ConfigError(f"a dataset cannot be mounted at `{_shown(mount)}`", detail=fault)
    checksum = f"{found['algorithm']}:{found['digest'].lower()}" if found["digest"] else None
    return DatasetSpec(found["name"], version, checksum, mount)


def check_name(text: str, what: str = "name") -> str:
    """Returns a name or version if a dataset may have it.

    Raises:
        ConfigError: It may not.
    """
    if _NAME.fullmatch(text) is None or (what == "version" and _ALGORITHM.fullmatch(text)):
        raise ConfigError(
            f"`{_shown(text)}` is not accepted as the {what} of a dataset", detail=f"expected {NAME_RULE}"
        )
    return text


def algorithm_of(checksum: str) -> Algorithm:
    """Returns what a checksum was made with."""
    return check_algorithm(checksum.partition(":")[0])


def check_algorithm(text: str) -> Algorithm:
    """Returns the algorithm of a name.

    Raises:
        ConfigError: There is none of that name that datasets are hashed with.
    """
    if text not in ALGORITHMS:
        raise ConfigError(
            f"datasets are not hashed with `{_shown(text)}`", detail=f"expected one of {', '.join(ALGORITHMS)}"
        )
    return text


def mount_fault(mount: str) -> str | None:
    """Returns why a dataset cannot be at a path of a container, in words; None if it can."""
    if _MOUNT.fullmatch(mount) is None or len(mount) > _MAX_MOUNT:
        return f"expected an absolute path of at most {_MAX_MOUNT} letters, digits and `_.+@=-`, such as `/data/mnist`"
    if any(part in (".", "..") for part in mount.split("/")):
        return "expected a path without `.` and `..`"
    for path in _RESERVED:
        if _is_in(mount, path) or _is_in(path, mount):
            return f"`{path}` is taken by what every run needs"
    return f"a run needs what is in `{mount}`" if mount in _NEEDED else None


def default_mount(name: str) -> str:
    """Returns where a dataset is in a container unless asked otherwise."""
    return f"/data/{name}"


def variable_of(name: str) -> str:
    """Returns the variable that tells a run where a dataset is, such as FETCHML_DATA_MNIST."""
    return VARIABLE_PREFIX + re.sub(r"[.-]", "_", name).upper()


def overlaps(one: str, other: str) -> bool:
    """Tells whether two places are the same, or one is in the other."""
    return _is_in(one, other) or _is_in(other, one)


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")


def _shown(text: str) -> str:
    text = text if len(text) <= 60 else text[:57] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
