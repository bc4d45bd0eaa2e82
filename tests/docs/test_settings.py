"""YAML in the pages is accepted as settings, and every setting is documented."""

from pathlib import Path

import pytest

from docs.markdown import Block, page, pages
from fetchml.config.layers import PROJECT_FILE, USER_FILE, Configuration, load, variable_of
from fetchml.config.settings import by_key
from fetchml.errors import ConfigError

BLOCKS = [block for source in pages() for block in source.blocks() if block.language in ("yaml", "yml")]


def load_as_settings(text: str, folder: Path) -> Configuration:
    """Loads the text of a block as the file that its first line names."""
    first = text.splitlines()[0].removeprefix("#").strip()
    assert first in (PROJECT_FILE, USER_FILE), f"the first line must be `# {PROJECT_FILE}` or `# {USER_FILE}`"
    home, project = folder / "home", folder / "project"
    home.mkdir()
    project.mkdir()
    target = project / PROJECT_FILE if first == PROJECT_FILE else home / USER_FILE
    target.write_text(text, encoding="utf-8")
    return load(environ={"FETCHML_HOME": str(home)}, cwd=project)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_yaml_block_is_accepted(block: Block, tmp_path: Path) -> None:
    loaded = load_as_settings(block.text, tmp_path)
    assert [key for key, origin in loaded.origins.items() if origin.layer in ("project", "user")]
    assert loaded.warnings == ()


@pytest.mark.parametrize(
    "text", ["# fetchml.yaml\nenginee: docker\n", "# fetchml.yaml\nstop_grace: 5s\n", "# config.yaml\nengine: warp\n"]
)
def test_a_wrong_block_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        load_as_settings(text, tmp_path)


@pytest.mark.parametrize("key", by_key())
def test_every_setting_is_documented(key: str) -> None:
    rows = [line for line in page("reference/settings.md").text.splitlines() if line.startswith(f"| `{key}` |")]
    assert len(rows) == 1
    if key != "env":
        assert f"`{variable_of(key)}`" in rows[0]
