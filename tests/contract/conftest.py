"""What contract tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.engines import Bench, bench_of
from contract.s3_servers import S3Server, serving


@pytest.fixture
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """An engine of the kind a test asks for with `@on(...)`."""
    with bench_of(request.param, tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server in memory, shared; each test has a bucket of its own."""
    with serving("moto", tmp_path_factory.mktemp("moto")) as made:
        yield made


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server on a folder, shared; each test has a bucket of its own."""
    with serving("rclone", tmp_path_factory.mktemp("rclone")) as made:
        yield made
