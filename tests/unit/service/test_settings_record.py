"""The settings that a record keeps."""

from pathlib import Path

from fetchml.config.layers import load
from fetchml.service.settings_record import RECORDED, settings_record


def test_each_setting_that_matters_is_kept_with_its_layer(tmp_path: Path) -> None:
    (tmp_path / "fetchml.yaml").write_text("network: none\nresources:\n  memory: 2G\n")
    environ = {"FETCHML_HOME": str(tmp_path / "home"), "FETCHML_REPRO_POLICY": "best-effort"}
    loaded = load({"engine": "process"}, environ=environ, cwd=tmp_path)
    found = {item.key: (item.value, item.layer) for item in settings_record(loaded)}
    assert tuple(found) == RECORDED
    assert found["network"] == ("none", "project")
    assert found["resources.memory"] == ("2G", "project")
    assert found["repro_policy"] == ("best-effort", "environment")
    assert found["engine"] == ("process", "flag")
    assert found["resources.gpus"] == ("0", "default")
    assert found["resources.max_runtime"] == found["env"] == found["dataset_specs"] == (None, "default")


def test_of_variables_the_names_alone_are_kept(tmp_path: Path) -> None:
    environ = {"FETCHML_HOME": str(tmp_path / "home"), "FETCHML_S3_SECRET_KEY": "canary"}
    loaded = load({"env": {"TOKEN": "canary", "A": "canary"}}, environ=environ, cwd=tmp_path)
    found = settings_record(loaded)
    assert next(item.value for item in found if item.key == "env") == "A, TOKEN"
    assert "canary" not in str(found)
