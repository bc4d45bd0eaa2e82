"""What contract tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.engines import Bench, bench_of


@pytest.fixture
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """An engine of the kind a test asks for with `@on(...)`."""
    with bench_of(request.param, tmp_path) as made:
        yield made
