"""A real Prefect server for the tests of this tier."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchml.daemons.server import PrivateServer
from fetchml.prefect_api.client import PrefectClient
from stack import Stack


@pytest.fixture(scope="session")
def server_stack(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Iterator[Stack]:
    """A private server without a worker, shared by the tests of this tier."""
    made = Stack(tmp_path_factory.mktemp("server"), migrated_database)
    made.home.create()
    PrivateServer(made.home.settings).start(lambda _: None)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def api_url(server_stack: Stack) -> str:
    """Address of the server's API."""
    url = PrivateServer(server_stack.home.settings).api_url
    assert url is not None
    return url


@pytest.fixture
def client(api_url: str) -> Iterator[PrefectClient]:
    """A client of the server."""
    made = PrefectClient(api_url)
    yield made
    made.close()


@pytest.fixture
def pool(request: pytest.FixtureRequest) -> str:
    """A pool name of the test's own."""
    return "pool-" + request.node.name.replace("_", "-").replace("[", "-").strip("]")[:40]
