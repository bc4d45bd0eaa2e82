"""What the tests of the documentation share."""

import importlib.util
from types import ModuleType

import pytest

from docs.markdown import DOCS
from fetchml.cli import session


@pytest.fixture(autouse=True)
def _own_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Options that are read set flags of the command line's session; a test gives them back."""
    for name in ("as_json", "quiet", "debug"):
        monkeypatch.setattr(session, name, False)


@pytest.fixture(scope="session")
def generate() -> ModuleType:
    """`docs/generate.py`; it makes its own packages importable."""
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
