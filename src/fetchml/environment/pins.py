"""Which packages of a dependency manifest have no exact version, so that another day may install others."""

import re

from fetchml.environment.detect import Dependencies, DependencyKind
from fetchml.objects.port import ObjectStore

_LOCKS = (DependencyKind.UV_LOCK, DependencyKind.PYLOCK, DependencyKind.POETRY_LOCK)
_OPTION = re.compile(r"\s(--hash|--config-settings|--global-option)[ =]")
_COMMENT = re.compile(r"(^|\s)#.*$")


def unpinned(dependencies: Dependencies, objects: ObjectStore) -> tuple[str, ...]:
    """Returns the requirements without an exact version, as the manifest writes them; empty for a lock file.

    Args:
        dependencies: The dependency manifest.
        objects: Where its bytes are.
    """
    if dependencies.kind in _LOCKS:
        return ()
    if dependencies.kind is DependencyKind.PYPROJECT:
        return (dependencies.name,)  # it names what a project can work with, never what was installed
    digests = [dependencies.sha256, *(digest for _, digest in dependencies.included)]
    lines = [line for digest in digests for line in _lines(objects.read(digest))]
    constrained = {_name(line) for line in lines if _is_exact(line)}
    return tuple(line for line in lines if not _is_exact(line) and _name(line) not in constrained)


def _lines(content: bytes) -> list[str]:
    """Returns the requirements of a file, without options, comments and continuations."""
    text = content.decode("utf-8", "replace").replace("\\\r\n", " ").replace("\\\n", " ")
    lines = (_OPTION.split(_COMMENT.sub("", line), maxsplit=1)[0].strip() for line in text.splitlines())
    return [line for line in lines if line and (not line.startswith("-") or line.startswith(("-e", "--editable")))]


def _is_exact(line: str) -> bool:
    """Tells whether a requirement can mean one release only."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(line)
    except InvalidRequirement:
        return False  # a path, an address without a name, an editable install
    if requirement.url is not None:
        return "#sha256=" in requirement.url or re.search(r"@[0-9a-f]{40}\b", requirement.url) is not None
    return any(
        item.operator == "===" or (item.operator == "==" and not item.version.endswith(".*"))
        for item in requirement.specifier
    )


def _name(line: str) -> str:
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    try:
        return canonicalize_name(Requirement(line).name)
    except InvalidRequirement:
        return line
