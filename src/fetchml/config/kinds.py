"""The kinds of settings: how each is read from text and from YAML, strictly.

Text comes from flags and the environment, typed values from YAML files. Nothing is coerced: `yes` is no number and
`9101` in quotes is no port, because a silent conversion is how a typing error becomes a run.
"""

import math
import posixpath
import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Protocol, cast

from fetchml.errors import ConfigError
from fetchml.models.dataset import parse_spec
from fetchml.models.units import exact_duration, exact_size, parse_duration, parse_size

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
_NUMBER = re.compile(r"-?(?:[0-9]{1,15})(?:\.[0-9]{1,9})?", re.ASCII)
_RESERVED_PREFIXES = (
    "FETCHML_", "PREFECT_", "LD_", "NVIDIA_", "CUDA_VISIBLE", "CUDA_DEVICE_ORDER", "CUDA_MPS_", "HIP_VISIBLE",
    "ROCR_VISIBLE", "ONEAPI_DEVICE_SELECTOR", "ZE_AFFINITY_MASK", "ZE_ENABLE_PCI_ID",
)  # fmt: skip
_NOTHING = ("", "none", "null")


class Kind(Protocol):
    """How values of one kind are read and shown."""

    expected: str

    def from_text(self, text: str) -> object:
        """Reads a value from a flag or an environment variable."""
        ...

    def from_yaml(self, value: object) -> object:
        """Reads a value from a YAML file."""
        ...

    def show(self, value: object) -> object:
        """Returns the value as people write it."""
        ...


class Text:
    """A line of text."""

    def __init__(self, max_length: int, *, optional: bool = False) -> None:
        self.max_length = max_length
        self.optional = optional
        self.expected = f"text of at most {max_length} characters"

    def from_text(self, text: str) -> object:
        if self.optional and text.lower() in _NOTHING:
            return None
        if not text or len(text) > self.max_length or not text.isprintable():
            raise ConfigError(
                f"`{text[:60]}` is not accepted", detail=f"expected {self.expected}, without control codes"
            )
        return text

    def from_yaml(self, value: object) -> object:
        if value is None and self.optional:
            return None
        if not isinstance(value, str):
            raise ConfigError(f"`{_short(value)}` is not text", hint="put it in quotes")
        return self.from_text(value)

    def show(self, value: object) -> object:
        return value


class ImageName(Text):
    """The name of a container image, or its id.

    Grammar: distribution/reference, as Docker and Podman read it.
    """

    _PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
    _REFERENCE = re.compile(
        r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?/)?"
        rf"{_PART}(?:/{_PART})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?|sha256:[0-9a-f]{{64}}",
        re.ASCII,
    )

    def from_text(self, text: str) -> object:
        super().from_text(text)
        if self._REFERENCE.fullmatch(text) is None or len(re.split(r"[:@](?!.*/)", text)[0]) > 255:
            raise ConfigError(
                f"`{_short(text)}` is not the name of an image", detail="expected for example `python:3.12-slim`"
            )
        return text


class Choice:
    """One of a few words."""

    def __init__(self, *words: str) -> None:
        self.words = words
        self.expected = "one of " + ", ".join(words)

    def from_text(self, text: str) -> object:
        if text not in self.words:
            raise ConfigError(f"`{text[:60]}` is not accepted", detail=f"expected {self.expected}")
        return text

    def from_yaml(self, value: object) -> object:
        return self.from_text(value if isinstance(value, str) else str(value))

    def show(self, value: object) -> object:
        return value


class Number:
    """A number within a range."""

    def __init__(self, low: float, high: float, *, whole: bool = False, optional: bool = False) -> None:
        self.low = low
        self.high = high
        self.whole = whole
        self.optional = optional
        self.expected = f"a {'whole ' if whole else ''}number from {low:.15g} to {high:.15g}"

    def from_text(self, text: str) -> object:
        if self.optional and text.lower() in _NOTHING:
            return None
        if _NUMBER.fullmatch(text) is None:
            raise ConfigError(f"`{text[:60]}` is not accepted", detail=f"expected {self.expected}")
        return self._checked(float(text))

    def from_yaml(self, value: object) -> object:
        if value is None and self.optional:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"`{_short(value)}` is not a number", detail=f"expected {self.expected}, without quotes")
        return self._checked(float(value))

    def _checked(self, number: float) -> float | int:
        if not math.isfinite(number) or not self.low <= number <= self.high or (self.whole and number != int(number)):
            raise ConfigError(f"`{number:g}` is out of range", detail=f"expected {self.expected}")
        return int(number) if self.whole else number

    def show(self, value: object) -> object:
        return value


class Size:
    """A number of bytes, written with a unit."""

    expected = "a size such as `512M` or `8G`"

    def __init__(self, *, optional: bool = False) -> None:
        self.optional = optional

    def from_text(self, text: str) -> object:
        if self.optional and text.lower() in _NOTHING:
            return None
        return parse_size(text)

    def from_yaml(self, value: object) -> object:
        if value is None and self.optional:
            return None
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ConfigError(f"`{_short(value)}` is not a size", hint="write for example `8G`")
        return parse_size(str(value))

    def show(self, value: object) -> object:
        return None if value is None else exact_size(cast("int", value))


class SizeRange:
    """A least size, or a range of sizes: `24G`, `24G..48G`, `..48G`."""

    expected = "a size such as `24G`, or a range such as `24G..48G` or `..48G`"

    def from_text(self, text: str) -> object:
        if text.lower() in _NOTHING:
            return None
        low, dots, high = text.partition("..")
        try:
            least = parse_size(low) if low.strip() else None
            most = parse_size(high) if high.strip() else None
        except ConfigError as error:
            raise ConfigError(
                error.summary, detail=error.detail or f"expected {self.expected}", hint=error.hint
            ) from None
        if dots and least is None and most is None:
            raise ConfigError(f"`{_short(text)}` has no size", detail=f"expected {self.expected}")
        if least is not None and most is not None and most < least:
            raise ConfigError(f"`{_short(text)}` ends before it begins", detail=f"expected {self.expected}")
        return least, most

    def from_yaml(self, value: object) -> object:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ConfigError(f"`{_short(value)}` is not a size", detail=f"expected {self.expected}")
        return self.from_text(str(value))

    def show(self, value: object) -> object:
        if value is None:
            return None
        least, most = cast("tuple[int | None, int | None]", value)
        if most is None:
            return None if least is None else exact_size(least)
        return f"{'' if least is None else exact_size(least)}..{exact_size(most)}"


class DurationKind:
    """A length of time, written with a unit; seconds in the program."""

    expected = "a duration such as `90s`, `45m` or `1h30m`"

    def __init__(self, *, optional: bool = False) -> None:
        self.optional = optional

    def from_text(self, text: str) -> object:
        if self.optional and text.lower() in _NOTHING:
            return None
        return parse_duration(text)

    def from_yaml(self, value: object) -> object:
        if value is None and self.optional:
            return None
        if not isinstance(value, str):
            raise ConfigError(f"`{_short(value)}` is not a duration", hint="give a unit, for example `90s` or `45m`")
        return parse_duration(value)

    def show(self, value: object) -> object:
        return None if value is None else exact_duration(cast("int", value))


class Flag:
    """Yes or no."""

    expected = "true or false"

    def from_text(self, text: str) -> object:
        if text.lower() in ("1", "true"):
            return True
        if text.lower() in ("0", "false", ""):
            return False
        raise ConfigError(f"`{text[:60]}` is not accepted", detail=f"expected {self.expected}")

    def from_yaml(self, value: object) -> object:
        if not isinstance(value, bool):
            raise ConfigError(f"`{_short(value)}` is not accepted", detail=f"expected {self.expected}")
        return value

    def show(self, value: object) -> object:
        return value


class Folder:
    """A folder; `~` is the user's home."""

    expected = "the path of a folder"

    def from_text(self, text: str) -> object:
        if not text or "\0" in text:
            raise ConfigError(f"`{text[:60]!r}` is not a path", detail=f"expected {self.expected}")
        return Path(text)

    def from_yaml(self, value: object) -> object:
        if not isinstance(value, str):
            raise ConfigError(f"`{_short(value)}` is not a path", hint="put it in quotes")
        return self.from_text(value)

    def show(self, value: object) -> object:
        return str(value)


class File(Folder):
    """A file of this host, the same from every folder; `~` is the user's home."""

    expected = "the absolute path of a file"

    def __init__(self, *, optional: bool = False) -> None:
        self.optional = optional

    def from_text(self, text: str) -> object:
        if self.optional and text.lower() in _NOTHING:
            return None
        if not text.startswith(("/", "~")):
            raise ConfigError(f"`{text[:60]}` is not an absolute path", detail=f"expected {self.expected}")
        return super().from_text(text)

    def from_yaml(self, value: object) -> object:
        return None if self.optional and value is None else super().from_yaml(value)

    def show(self, value: object) -> object:
        return None if value is None else str(value)


class _Texts:
    """A list of texts, which a kind of its own checks."""

    expected: str
    item: ClassVar[str]
    """What one of them is, in words."""

    def from_yaml(self, value: object) -> object:
        if value is None:
            return ()
        if not isinstance(value, list):
            raise ConfigError(f"`{_short(value)}` is not a list", detail=f"expected {self.expected}")
        words = cast("list[object]", value)
        if not all(isinstance(word, str) for word in words):
            raise ConfigError(f"a {self.item} is not text", hint="put it in quotes")
        return self._checked(cast("list[str]", words))

    def show(self, value: object) -> object:
        return list(cast("tuple[str, ...]", value))

    def _checked(self, words: list[str]) -> tuple[str, ...]:
        raise NotImplementedError


class Datasets(_Texts):
    """Datasets as a list of specs; from text, separated by commas or blanks, which no spec holds."""

    expected = "a list of `NAME[@VERSION or @CHECKSUM][:/mount]`"
    item = "dataset"

    def from_text(self, text: str) -> object:
        if text.lower() in _NOTHING:
            return ()
        return self._checked(text.replace(",", " ").split())

    def merged(self, below: tuple[str, ...], above: tuple[str, ...]) -> tuple[str, ...]:
        """Returns the specs of two layers; where both name a dataset, the upper one counts."""
        named = {parse_spec(text).name for text in above}
        return (*(text for text in below if parse_spec(text).name not in named), *above)

    def _checked(self, words: list[str]) -> tuple[str, ...]:
        specs = [parse_spec(word) for word in words]
        names = [spec.name for spec in specs]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"the dataset `{twice[0]}` is given twice", hint="a run reads one version of a dataset")
        return tuple(str(spec) for spec in specs)


class Choices(_Texts):
    """Some of a few words; from text, separated by commas."""

    item = "word"

    def __init__(self, *words: str) -> None:
        self.words = words
        self.expected = "some of " + ", ".join(words)

    def from_text(self, text: str) -> object:
        if text.lower() in _NOTHING:
            return ()
        return self._checked(text.replace(",", " ").split())

    def _checked(self, words: list[str]) -> tuple[str, ...]:
        for word in words:
            if word not in self.words:
                raise ConfigError(f"`{word[:60]}` is not accepted", detail=f"expected {self.expected}")
        return tuple(dict.fromkeys(words))


class Paths(_Texts):
    """Paths below the root of a project; from text, separated by commas."""

    expected = "a list of paths below the project"
    item = "path"

    def from_text(self, text: str) -> object:
        if text.lower() in _NOTHING:
            return ()
        return self._checked(text.split(","))

    def merged(self, below: tuple[str, ...], above: tuple[str, ...]) -> tuple[str, ...]:
        """Returns the paths of two layers."""
        return tuple(dict.fromkeys((*below, *above)))

    def _checked(self, words: list[str]) -> tuple[str, ...]:
        paths: list[str] = []
        for word in words:
            path = posixpath.normpath(word.strip()) if word.strip() else "."
            if path.startswith("/") or path.split("/")[0] in (".", "..") or not path.isprintable():
                raise ConfigError(f"`{_short(word)}` is not a path below the project")
            paths.append(path)
        return tuple(dict.fromkeys(paths))


class Variables:
    """Environment variables as a mapping; from text, `NAME=value` pairs are given one by one."""

    expected = "a mapping of names to text"

    def from_text(self, text: str) -> object:
        raise ConfigError("environment variables are given one by one", hint="use `--env NAME=value`")

    def from_yaml(self, value: object) -> object:
        if not isinstance(value, Mapping):
            raise ConfigError("`env` is not a mapping", detail=f"expected {self.expected}")
        variables: dict[str, str] = {}
        for name, content in cast("Mapping[object, object]", value).items():
            if not isinstance(content, str):
                raise ConfigError(f"the value of `{_short(name)}` is not text", hint="put it in quotes")
            variables[check_variable_name(str(name))] = check_variable_value(content)
        return variables

    def show(self, value: object) -> object:
        return value


def check_variable_name(name: str) -> str:
    """Returns the name if a run may have a variable of that name.

    Raises:
        ConfigError: It is no valid name, or it is one that fetchml, the dynamic loader or the GPU runtime reads.
    """
    if _VARIABLE.fullmatch(name) is None:
        raise ConfigError(
            f"`{name[:60]}` is not the name of an environment variable",
            detail="expected letters, digits and underscores, not starting with a digit",
        )
    if name.startswith(_RESERVED_PREFIXES):
        raise ConfigError(
            f"the variable `{name}` is reserved", detail="fetchml sets it, or it would change how the run is isolated"
        )
    return name


def check_variable_value(value: str) -> str:
    """Returns the value if a process can be given a variable of that value.

    Raises:
        ConfigError: It holds a NUL, or half of a surrogate pair.
    """
    if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        raise ConfigError("the value of an environment variable holds what no process can be given: a NUL, or no text")
    return value


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
