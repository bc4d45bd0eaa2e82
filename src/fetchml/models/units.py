"""Sizes and durations as people write them.

Sizes are bytes with binary multiples (`8G` = 8 GiB), as Docker and Slurm read them. Durations are seconds and need a
unit (`90s`, `45m`, `1h30m`, `2d`): a bare number is ambiguous, since other tools mean minutes.
"""

import re
from fractions import Fraction

from fetchml.errors import ConfigError

KIB = 1024
MIB = KIB**2
GIB = KIB**3
TIB = KIB**4

MAX_SIZE_BYTES = 1024 * TIB
"""Largest size accepted: a petabyte. Above it a typing error is more likely than a machine."""

MAX_DURATION_S = 366 * 86_400
"""Longest duration accepted: a leap year."""

_SIZE = re.compile(r"([0-9]{1,16}(?:\.[0-9]{1,6})?)\s*(?:([kmgt])i?)?b?", re.IGNORECASE | re.ASCII)
_SIZE_UNITS = {"": 1, "k": KIB, "m": MIB, "g": GIB, "t": TIB}
_DURATION_PART = re.compile(r"([0-9]{1,12})([smhdw])", re.ASCII)
_DURATION_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parse_size(text: str) -> int:
    """Reads a size such as `512M`, `8G`, `1.5GiB` or `4096` and returns bytes.

    Raises:
        ConfigError: The text is no size, or is above `MAX_SIZE_BYTES`.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"`{_shown(text)}` is not a size", hint="write for example `512M`, `8G` or `1.5T`")
    number, unit = match.groups()
    size = int(Fraction(number) * _SIZE_UNITS[(unit or "").lower()])
    if size > MAX_SIZE_BYTES:
        raise ConfigError(f"`{_shown(text)}` is larger than any machine", detail="the largest size accepted is `1024T`")
    return size


def format_size(size_bytes: int) -> str:
    """Returns a size for people, such as `512M` or `1.5G`; exact sizes stay exact."""
    for unit, factor in (("T", TIB), ("G", GIB), ("M", MIB), ("K", KIB)):
        if abs(size_bytes) >= factor:
            value = size_bytes / factor
            return f"{value:.0f}{unit}" if value == int(value) or value >= 100 else f"{value:.1f}{unit}"
    return f"{size_bytes}B"


def exact_size(size_bytes: int) -> str:
    """Returns a size as `parse_size` reads it again, in the largest unit that divides it."""
    for unit, factor in (("T", TIB), ("G", GIB), ("M", MIB), ("K", KIB)):
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return f"{size_bytes}B"


def plural(count: float, word: str) -> str:
    """Returns a count of things for people, such as `1 GPU` or `2.5 CPUs`."""
    return f"{count:g} {word}" if count == 1 else f"{count:g} {word}s"


def parse_duration(text: str) -> int:
    """Reads a duration such as `90s`, `45m` or `1h30m` and returns seconds.

    Raises:
        ConfigError: The text is no duration, has no unit, is zero, or is above `MAX_DURATION_S`.
    """
    stripped = text.strip().lower()
    parts = _DURATION_PART.findall(stripped)
    if not parts or "".join(number + unit for number, unit in parts) != stripped:
        raise ConfigError(
            f"`{_shown(text)}` is not a duration", hint="give a unit, for example `90s`, `45m`, `12h` or `1h30m`"
        )
    seconds = sum(int(number) * _DURATION_UNITS[unit] for number, unit in parts)
    if not 0 < seconds <= MAX_DURATION_S:
        raise ConfigError(f"`{_shown(text)}` is outside the accepted range", detail="expected 1 second to 366 days")
    return seconds


def format_duration(seconds: float) -> str:
    """Returns a duration for people in at most two units, such as `48s`, `3m12s` or `2d4h`."""
    whole = int(seconds)
    if whole < 0:
        return "0s"
    if whole < 60:
        return f"{seconds:.1f}s" if 0 < seconds < 10 else f"{whole}s"
    units = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)]
    shown: list[str] = []
    for name, size in units:
        count, whole = divmod(whole, size)
        if count or shown:
            shown.append(f"{count}{name}")
        if len(shown) == 2:
            break
    return "".join(part for part in shown if not part.startswith("0")) or "0s"


def exact_duration(seconds: int) -> str:
    """Returns a duration as `parse_duration` reads it again, such as `1d1h1m1s`."""
    parts: list[str] = []
    for name, size in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{name}")
    return "".join(parts) or "0s"


def _shown(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
