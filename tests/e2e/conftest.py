"""What the tests of whole runs share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import PODMAN_SOCKET
from stack import Stack


@pytest.fixture(scope="module")
def podman_stack(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Iterator[Stack]:
    """A stack whose worker knows the Podman service of the tests."""
    made = Stack(
        tmp_path_factory.mktemp("stack"),
        migrated_database,
        {"FETCHML_PODMAN_SOCKET": str(PODMAN_SOCKET)},
    )
    try:
        made.run("up")
        yield made
    finally:
        made.close()
