from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from fetchml.config.layers import RUN_VARIABLES, variable_of
from fetchml.config.settings import Scope, Settings, by_key
from fetchml.errors import ConfigError


def test_every_setting_has_a_key_a_kind_and_a_meaning():
    for key, item in by_key().items():
        assert item.metadata["kind"].expected
        assert item.metadata["description"].strip(" .") == item.metadata["description"] != "", key
    assert len(by_key()) == len(fields(Settings))


_IN_SECONDS = (
    "stop_grace",
    "worker.poll",
    "objects.s3.timeout",
    "datasets.check_limit",
    "datasets.timeout",
    "datasets.cache.ttl",
    "retries.backoff",
    "sampling.interval",
    "worker.heartbeat",
    "worker.lease",
)


@pytest.mark.parametrize(
    "key", [key for key in by_key() if key not in ("env", "dataset_specs", "snapshot.allow_secrets")]
)
def test_every_default_is_a_value_of_its_kind(key):
    item = by_key()[key]
    kind = item.metadata["kind"]
    if item.default is None:
        assert kind.from_text("none") is None
    elif isinstance(item.default, tuple):
        assert kind.from_text(",".join(item.default)) == item.default
    elif isinstance(item.default, int) and key in _IN_SECONDS:
        assert kind.from_text(f"{item.default}s") == item.default
    else:
        assert kind.from_text(str(item.default)) == item.default


def test_every_setting_has_a_variable_of_its_own():
    variables = {variable_of(key) for key in by_key()}
    assert len(variables) == len(by_key())
    assert not variables & RUN_VARIABLES


@pytest.mark.parametrize(
    "key",
    [
        "home",
        "stop_grace",
        "output.max_size",
        "prefect.api_url",
        "prefect.port",
        "docker.host",
        "worker.poll",
        "objects.url",
    ],
)
def test_what_the_one_worker_of_a_machine_obeys_is_no_matter_of_a_project(key):
    assert by_key()[key].metadata["scope"] is Scope.HOST


@pytest.mark.parametrize(
    ("key", "low", "high", "refused"),
    [
        ("priority", "0", "10", ["-1", "11", "0.5"]),
        ("prefect.port", "0", "65535", ["65536", "-1"]),
        ("resources.gpus", "0", "64", ["64.5", "-1"]),
        ("resources.cpus", "0.01", "4096", ["0", "4097"]),
        ("snapshot.max_files", "1", "1000000", ["0", "1000001"]),
    ],
)
def test_numbers_have_stated_ranges(key, low, high, refused):
    kind = by_key()[key].metadata["kind"]
    assert (kind.from_text(low), kind.from_text(high)) == (float(low), float(high))
    for text in refused:
        with pytest.raises(ConfigError, match="out of range"):
            kind.from_text(text)


def test_settings_are_frozen_and_know_their_folders():
    settings = Settings(home=Path("/h"))
    assert (settings.store, settings.services) == (Path("/h/store"), Path("/h/services"))
    with pytest.raises(FrozenInstanceError):
        settings.priority = 1
    assert Settings().env is not Settings().env
