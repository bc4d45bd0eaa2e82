"""The figures of a worker: what is counted, what is looked at, and that the pages and rules name what there is."""

import json
import re
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from fetchml.admission.decide import Wait
from fetchml.admission.reasons import Blocker, Reason
from fetchml.errors import ConfigError, Unavailable
from fetchml.gpus.readings import DeviceReading
from fetchml.models.queueing import AttemptRecord
from fetchml.models.resources import DeviceShare
from fetchml.models.status import EndReason
from fetchml.testing.builders import MOMENT, make_claim, make_manifest
from fetchml.worker.figures import Figures

ROOT = Path(__file__).parents[3]
CARD = DeviceReading(
    "GPU-1", "nvidia", memory_bytes=100, used_bytes=25, utilisation_percent=50, temperature_c=60, power_w=200
)


@pytest.fixture
def figures() -> Iterator[Figures]:
    claim = make_claim(shares=(DeviceShare(device_id="GPU-1", share=0.5),))
    made = Figures(lambda: [claim], lambda: [CARD, DeviceReading("GPU-2", "amd")], list)
    yield made
    made.close()


def values(figures: Figures) -> dict[str, float]:
    """Returns what a scrape finds, by name and labels."""
    port = figures.serve("127.0.0.1:0")
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    figures.close()
    return {
        sample.name + "".join(f",{value}" for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_waits_is_counted_by_the_first_of_its_reasons(figures: Figures) -> None:
    gpus, memory = Reason(Blocker.GPUS, 1), Reason(Blocker.MEMORY, 1)
    figures.decided([Wait("a", 1, (gpus, memory)), Wait("b", 2, (gpus,)), Wait("c", 3, (memory,))])
    found = values(figures)
    assert (found["fetchml_queue_depth,gpus"], found["fetchml_queue_depth,memory"]) == (2, 1)
    figures.decided([])
    assert not any(name.startswith("fetchml_queue_depth,") for name in values(figures))


def test_devices_are_shown_as_far_as_they_say_something(figures: Figures) -> None:
    found = values(figures)
    assert found["fetchml_device_held_ratio,GPU-1"] == 0.5
    assert found["fetchml_device_held_ratio,GPU-2"] == 0
    assert found["fetchml_device_utilisation_ratio,GPU-1"] == 0.5
    assert found["fetchml_device_memory_used_bytes,GPU-1"] == 25
    assert "fetchml_device_memory_used_bytes,GPU-2" not in found


def test_waits_and_dispatch_are_measured_and_ends_counted(figures: Figures) -> None:
    claim = make_claim(claimed_at=MOMENT + timedelta(seconds=20))
    figures.claimed(claim, MOMENT)
    first = AttemptRecord(
        attempt=1,
        host="here",
        started_at=MOMENT + timedelta(seconds=23),
        ended_at=MOMENT + timedelta(minutes=1),
        exit_code=137,
        end_reason=EndReason.INFRASTRUCTURE,
        summary="killed",
    )
    figures.ended(claim, make_manifest(attempts=(first,)))
    found = values(figures)
    assert (found["fetchml_queue_wait_seconds_sum"], found["fetchml_dispatch_seconds_sum"]) == (20, 3)
    assert found["fetchml_retries_total,infrastructure"] == found["fetchml_attempts_ended_total,infrastructure"] == 1
    assert found["fetchml_admissions_total"] == 1


def test_an_address_that_makes_no_sense_or_is_taken_is_told(figures: Figures) -> None:
    for address in ("nonsense", "127.0.0.1:x", "127.0.0.1:99999", ":9"):
        with pytest.raises(ConfigError):
            figures.serve(address)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(Unavailable):
        figures.serve(f"127.0.0.1:{taken.getsockname()[1]}")


def test_the_page_the_dashboard_and_the_rules_name_what_is_served(figures: Figures) -> None:
    names = {name for item in figures.registry.collect() for name in _names(item)}
    page = set(re.findall(r"^\| `(fetchml_\w+)`", (ROOT / "docs/how-to/monitor.md").read_text(), re.MULTILINE))
    assert page == names
    folder = ROOT / "deployments/monitoring"
    dashboard: dict[str, Any] = json.loads((folder / "grafana-dashboard.json").read_text())
    rules = yaml.safe_load((folder / "alerts.yml").read_text())
    texts = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    texts += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    used = {name.removesuffix("_bucket") for text in texts for name in re.findall(r"fetchml_\w+", text)}
    assert used <= names
    assert len(used) > 8


def _names(family: Any) -> set[str]:
    return {f"{family.name}_total"} if family.type == "counter" else {family.name}
