"""GPUs through the whole stack, with a stand-in for NVIDIA's driver."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import nvml
from fetchml.models.claim import Claim
from stack import Stack, until

pytestmark = pytest.mark.e2e

TRAIN = """
import json, os, sys, time
from pathlib import Path

driver, uuid = Path(sys.argv[1]), os.environ["CUDA_VISIBLE_DEVICES"]
print(f"sees {uuid}, {os.environ['FETCHML_GPU_COUNT']}, {os.environ['ROCR_VISIBLE_DEVICES']!r}", flush=True)
with driver.open("a") as file:
    file.write(f"process of={uuid} pid={os.getpid()} used={6 << 30}\\n")
samples = Path(os.environ["FETCHML_RESULTS"]).parent / f"attempts/{os.environ['FETCHML_ATTEMPT']}/resources.jsonl"
deadline = time.monotonic() + 120
def rows():
    lines = samples.read_text().splitlines() if samples.exists() else []
    return [row for line in lines for row in json.loads(line).get("gpus", ())]
def seen():
    return [row for row in rows() if row.get("memory_of") == "run"]
while len(seen()) < 2:
    assert time.monotonic() < deadline, rows()
    time.sleep(0.05)
if "--lose" in sys.argv:
    driver.write_text(f"device uuid={uuid} name=Fake\\nfail call=memory of={uuid} code=15\\n")
    while not any("error" in row for row in rows()):
        assert time.monotonic() < deadline, rows()
        time.sleep(0.05)
    raise RuntimeError("CUDA error: unspecified launch failure")
"""


@pytest.fixture
def driver(tmp_path: Path) -> nvml.Driver:
    """A driver with two devices."""
    (tmp_path / "library").mkdir()
    made = nvml.Driver(nvml.build(tmp_path / "library"), tmp_path / "nvml")
    for uuid in ("GPU-0a", "GPU-0b"):
        made.device(uuid, total=24 * nvml.GIB, used=7 * nvml.GIB, busy=80, temp=66, mw=250_000)
    return made


@pytest.fixture
def host(tmp_path: Path, driver: nvml.Driver) -> Iterator[Stack]:
    """A host with these devices, where runs start at once."""
    found = {name: driver.environ[name] for name in ("LD_LIBRARY_PATH", "FAKE_NVML_FILE")}
    made = Stack(tmp_path / "stack")
    made.extra_env |= {
        **found,
        "FETCHML_EXECUTION_MODE": "direct",
        "FETCHML_SAMPLING_INTERVAL": "1s",
        "FETCHML_RETRIES_MAX": "0",
    }
    (made.project / "train.py").write_text(TRAIN)
    try:
        yield made
    finally:
        made.close()


def train(host: Stack, driver: nvml.Driver, *words: str) -> str:
    """Runs the script and returns the id of the run."""
    options = ("--engine", "process", "--gpus", "1", "--gpu-memory", "5G")
    done = host.run("queue", "--json", *options, "train.py", str(driver.file), *words, check=False)
    return str(json.loads(done.stdout)["run_id"])


def test_a_run_sees_its_gpu_and_what_it_used_of_it_is_recorded(host: Stack, driver: nvml.Driver) -> None:
    run_id = train(host, driver)
    manifest = host.manifest(run_id)
    assert (manifest.status.state, manifest.warnings[0][:30]) == ("completed", "more GPU memory than declared:")
    assert "sees GPU-0a, 1, ''" in host.run("logs", run_id).stdout
    assert manifest.hardware is not None
    assert [item.id for item in manifest.hardware.gpus] == ["GPU-0a", "GPU-0b"]
    assert (manifest.hardware.gpu_detection, manifest.hardware.driver_version) == ("nvml", "550.54.15")
    used = manifest.resources.actual
    assert used is not None
    assert used.gpu_memory_peak_bytes == {"GPU-0a": 6 * nvml.GIB}
    assert (used.gpu_memory_of, used.gpu_utilisation_percent, used.gpu_temperature_max_c) == ("run", 80, 66)
    assert (used.samples or 0) >= 2
    assert 0 < (used.energy_wh or 0) < 10
    assert used.disk_written_bytes is not None
    assert "busy 80 % of the time, 6G memory at most" in host.run("info", run_id).stdout
    assert "all passed" in host.run("validate", run_id).stdout


def test_a_run_whose_gpu_falls_off_the_bus_is_not_to_blame(host: Stack, driver: nvml.Driver) -> None:
    manifest = host.manifest(train(host, driver, "--lose"))
    assert manifest.end_reason == "infrastructure"
    assert manifest.diagnosis is not None
    assert "GPU is lost" in (manifest.diagnosis.detail or "")


def test_the_doctor_tells_of_devices_and_of_what_is_wrong_with_them(host: Stack, driver: nvml.Driver) -> None:
    driver.says("fail", call="memory", of="GPU-0b", code=15)
    said = host.run("doctor", check=False).stdout
    assert "1 found by nvml: Fake H100 (GPU-0a)" in said
    assert "GPU-0b is left out: GPU is lost" in said


def test_a_driver_that_hangs_leaves_every_command_working(host: Stack, driver: nvml.Driver) -> None:
    driver.says("hang", call="count")
    assert "have not answered for 5 s" in host.run("doctor", check=False).stdout
    done = host.run("queue", "--engine", "process", "--", "true")
    assert done.returncode == 0


HOLD = """
import os, sys, time
from pathlib import Path
results = Path(os.environ["FETCHML_RESULTS"])
uuid = os.environ["CUDA_VISIBLE_DEVICES"]
with Path(sys.argv[1]).open("a") as file:
    file.write(f"process of={uuid} pid={os.getpid()} used={6 << 30}\\n")
print(f"sees {uuid}", flush=True)
deadline = time.monotonic() + 200
while not (results / "go").exists():
    assert time.monotonic() < deadline
    time.sleep(0.05)
"""


def test_the_queue_keeps_runs_off_devices_of_strangers_and_off_those_that_fail(
    tmp_path: Path, driver: nvml.Driver, migrated_database: Path
) -> None:
    """One device has a stranger on it; the other is taken, and gives an error later."""
    found = {name: driver.environ[name] for name in ("LD_LIBRARY_PATH", "FAKE_NVML_FILE")}
    host = Stack(tmp_path / "stack", migrated_database, found)
    (host.project / "hold.py").write_text(HOLD)
    asked = ("--engine", "process", "--gpus", "1", "--cpus", "0.1", "--memory", "200M", "hold.py", str(driver.file))
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as stranger:
        driver.says("process", of="GPU-0a", pid=stranger.pid, used=22 * nvml.GIB)
        try:
            host.run("up")
            first = host.queue(*asked)
            host.is_state(first, "running")
            assert [item.device_id for item in claim_of(host, first).held] == ["GPU-0b"]
            second = host.queue(*asked)
            said = until(lambda: reason(host, second, "pid"), "a reason that names the stranger", 120)
            assert f"(pid {stranger.pid}), 22G" in said
            stranger.communicate()
            host.is_state(second, "running")
            assert [item.device_id for item in claim_of(host, second).held] == ["GPU-0a"]
            driver.says("fail", call="memory", of="GPU-0b", code=15)
            until(lambda: "GPU is lost" in host.run("hosts").stdout, "the fault to be seen", 120)
            (host.home_path / "store/runs" / first / "results/go").touch()
            assert host.ended(first)[0].status.state == "completed"
            third = host.queue(*asked)
            assert "GPU is lost" in until(lambda: reason(host, third, "lost"), "a reason that names the fault", 120)
            driver.forget("fail")
            host.is_state(third, "running")
            for run_id in (second, third):
                (host.home_path / "store/runs" / run_id / "results/go").touch()
            ended = host.ended(second, third)
            assert [item.status.state for item in ended] == ["completed", "completed"]
            used = ended[0].resources.actual
            assert used is not None
            assert used.gpu_memory_peak_bytes.keys() == {"GPU-0a"}
        finally:
            host.close()


def claim_of(host: Stack, run_id: str) -> Claim:
    """Returns the claim of the first attempt of a run."""
    found = host.home.store.read_claim(run_id, 1)
    assert found is not None
    return found


def reason(host: Stack, run_id: str, word: str) -> str | None:
    """Returns why a run waits, once it says a word."""
    rows = {row["run_id"]: row for row in host.json("status")["runs"]}
    text = json.dumps(rows[run_id])
    return text if word in text else None
