"""`fetchml validate --all` says how far it is when it takes long."""

import pytest

from fetchml.cli import session
from fetchml.cli.commands import validate
from fetchml.cli.main import main
from fetchml.home import Home
from fetchml.testing.builders import make_manifest, make_plan


@pytest.fixture
def stored(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A store with two runs, where every check takes long."""
    plan = make_plan()
    for run_id in ("2026-11-20_k3f9q2", "2026-11-20_k3f9q3"):
        home.store.create(plan, make_manifest(plan, run_id))
    monkeypatch.setattr(validate, "_PROGRESS_S", 0)
    for name in ("as_json", "quiet", "debug"):
        monkeypatch.setattr(session, name, False)
    return home


def test_progress_is_on_stderr(stored: Home, capsys: pytest.CaptureFixture[str]) -> None:
    main(["validate", "--all"])
    told = capsys.readouterr()
    assert "1 of 2 runs checked" in told.err
    assert "2 of 2 runs checked" in told.err
    assert "checked" not in told.out


@pytest.mark.parametrize("option", ["--json", "--quiet"])
def test_programs_are_told_nothing_on_stderr(stored: Home, capsys: pytest.CaptureFixture[str], option: str) -> None:
    main(["validate", "--all", option])
    assert capsys.readouterr().err == ""
