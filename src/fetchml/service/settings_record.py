"""The settings a record keeps: those that can change what a run computes, or how it is fenced in."""

from collections.abc import Mapping
from typing import cast

from fetchml.config.layers import Configuration
from fetchml.config.settings import by_key
from fetchml.models.software import SettingRecord

RECORDED = (
    "engine",
    "image",
    "execution_mode",
    "repro_policy",
    "network",
    "resources.gpus",
    "resources.gpu_memory",
    "resources.gpu_vendor",
    "resources.gpu_model",
    "resources.cpus",
    "resources.memory",
    "resources.disk",
    "resources.arch",
    "resources.host",
    "resources.shm",
    "resources.max_runtime",
    "retries.max",
    "retries.on",
    "retries.backoff",
    "environment.mode",
    "environment.manifest",
    "environment.python",
    "env",
    "dataset_specs",
    "snapshot.allow_secrets",
    "snapshot.other_file_systems",
    "stop_grace",
    "output.max_size",
)


def settings_record(configuration: Configuration) -> tuple[SettingRecord, ...]:
    """Returns the settings that matter, each with its layer; of variables the names alone, as a value may be secret."""
    known = by_key()
    return tuple(
        SettingRecord(
            key=key,
            value=_text(known[key].metadata["kind"].show(getattr(configuration.settings, known[key].name))),
            layer=configuration.origins[key].layer,
        )
        for key in RECORDED
    )


def _text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return ", ".join(sorted(cast("Mapping[str, object]", value))) or None
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in cast("list[object]", value)) or None
    return f"{value:g}" if isinstance(value, float) else str(value)
