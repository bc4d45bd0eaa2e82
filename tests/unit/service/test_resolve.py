"""From what a user typed to a plan: the project, the command, the environment, the resources; or why not."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fetchml.config.layers import load
from fetchml.engine.choose import Chosen
from fetchml.engine.memory_engine import MemoryEngine
from fetchml.engine.port import ImageFacts
from fetchml.errors import ConfigError, FetchmlError, Refused
from fetchml.home import Home
from fetchml.models.plan import EngineKind, EnvironmentMode, Network
from fetchml.models.resources import Arch, Device, GpuVendor, HostCapacity
from fetchml.models.units import GIB
from fetchml.objects.memory import MemoryObjects
from fetchml.service.command import Words
from fetchml.service.resolve import Offer, Resolved, resolve

CAPACITY = HostCapacity(host="here", cpus=8, memory_bytes=32 * GIB)
Resolve = Callable[..., Resolved]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "sub").mkdir(parents=True)
    for name in ("train.py", "run.sh", "sub/eval.py", "-odd.py", "tool", "plain"):
        (folder / name).write_text("x")
    (folder / "tool").chmod(0o755)
    return folder


@pytest.fixture
def resolved(project: Path, tmp_path: Path) -> Resolve:
    """Resolves a script or a command typed in the project, for the process engine."""

    def call(
        script: str | None, *argv: str, cwd: Path = project, capacity: HostCapacity = CAPACITY, **flags: Any
    ) -> Resolved:
        settings = {
            "engine": "process",
            "repro_policy": "best-effort",
            **{name.replace("__", "."): value for name, value in flags.items()},
        }
        configuration = load(settings, environ={"FETCHML_HOME": str(tmp_path / "home")}, cwd=cwd)
        home = Home(configuration.settings)
        return resolve(Words(script, argv), configuration, home, MemoryObjects(), Offer(capacity), cwd)

    return call


# The command


@pytest.mark.parametrize(
    ("typed", "argv"),
    [
        ("train.py", ("python", "train.py")),
        ("./train.py", ("python", "train.py")),
        ("sub/../train.py", ("python", "train.py")),
        ("sub/eval.py", ("python", "sub/eval.py")),
        ("run.sh", ("bash", "run.sh")),
        ("tool", ("./tool",)),
        ("-odd.py", ("python", "./-odd.py")),
    ],
)
def test_a_script_is_run_by_what_its_name_says(resolved: Resolve, typed: str, argv: tuple[str, ...]) -> None:
    plan = resolved(typed, "--lr", "0.1", "a b").plan
    assert plan.command.argv == (*argv, "--lr", "0.1", "a b")
    assert plan.command.script == os.path.normpath(typed)


def test_an_absolute_path_of_a_script_means_the_same(resolved: Resolve, project: Path) -> None:
    assert resolved(str(project / "train.py")).plan == resolved("train.py").plan


def test_a_command_is_taken_word_by_word(resolved: Resolve) -> None:
    command = resolved(None, "python", "-m", "package", "", "$HOME", "*").plan.command
    assert command.argv == ("python", "-m", "package", "", "$HOME", "*")
    assert command.script is None


def test_the_current_folder_is_the_working_folder(resolved: Resolve, project: Path) -> None:
    (project / "fetchml.yaml").write_text("")
    plan = resolved("eval.py", cwd=project / "sub").plan
    assert (plan.command.workdir, plan.command.argv, plan.command.script) == (
        "sub",
        ("python", "eval.py"),
        "sub/eval.py",
    )
    outside = resolved("../train.py", cwd=project / "sub").plan
    assert (outside.command.workdir, outside.command.argv) == ("sub", ("python", "../train.py"))


def test_without_a_project_file_or_a_repository_the_current_folder_is_the_project(
    resolved: Resolve, project: Path
) -> None:
    found = resolved("eval.py", cwd=project / "sub")
    assert found.plan.command.workdir == ""
    assert [entry.path for entry in found.snapshot.tree.entries] == [b"eval.py"]


@pytest.mark.parametrize(
    ("typed", "summary"),
    [
        ("missing.py", "there is no script `missing.py`"),
        ("sub", "`sub` is a folder, not a script"),
        ("plain", "it is not clear how to run `plain`"),
        ("pipe", "`pipe` is not a regular file"),
        ("train.py/x", "the script `train.py/x` cannot be read"),
        ("../outside.py", "the script `../outside.py` is outside the project"),
        ("x" * 300, "the script `xxx"),
        ("\udcff.py", "an argument is not valid UTF-8"),
    ],
)
def test_a_script_that_makes_no_sense_is_refused(resolved: Resolve, project: Path, typed: str, summary: str) -> None:
    os.mkfifo(project / "pipe")
    (project.parent / "outside.py").touch()
    with pytest.raises(ConfigError) as caught:
        resolved(typed)
    assert caught.value.summary.startswith(summary)


@pytest.mark.parametrize(
    ("argv", "fault"),
    [
        (("echo", "a\0b"), "NUL"),
        (("echo", "\udcff"), "UTF-8"),
        (("echo", *("x" for _ in range(1024))), "1024"),
        (("echo", "x" * (128 * 1024)), "131078"),
    ],
)
def test_a_command_that_cannot_be_run_is_refused(resolved: Resolve, argv: tuple[str, ...], fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolved(None, *argv)
    assert fault in str(caught.value)


def test_a_script_that_is_ignored_is_refused(resolved: Resolve, project: Path) -> None:
    (project / ".fetchmlignore").write_text("train.py\n")
    with pytest.raises(Refused) as caught:
        resolved("train.py")
    assert caught.value.code == "preflight-refused"
    assert "script: expected `train.py` in the snapshot" in str(caught.value)


def test_a_working_folder_without_code_is_refused(resolved: Resolve, project: Path) -> None:
    (project / "fetchml.yaml").write_text("")
    (project / "empty").mkdir()
    with pytest.raises(Refused) as caught:
        resolved(None, "ls", cwd=project / "empty")
    assert "workdir: expected `empty` in the snapshot" in str(caught.value)


# The environment


def test_without_a_manifest_the_python_of_the_host_is_used_and_said(resolved: Resolve) -> None:
    found = resolved("train.py")
    assert found.plan.environment.mode is EnvironmentMode.AS_IS
    assert found.plan.environment.python is not None
    assert os.path.isabs(found.plan.environment.python)
    assert found.notes == ("no dependency manifest found: the Python of the image or host is used as it is",)


def test_a_manifest_that_cannot_be_built_from_is_named(resolved: Resolve, project: Path) -> None:
    (project / "environment.yml").touch()
    note = resolved("train.py").notes[0]
    assert "`environment.yml` was passed over: it is not built from; in the activated environment" in note


def test_a_manifest_makes_a_locked_environment(resolved: Resolve, project: Path) -> None:
    (project / "requirements.txt").write_text("numpy==2.0.0\n")
    found = resolved("train.py")
    environment = found.plan.environment
    assert environment.mode is EnvironmentMode.LOCKED
    assert environment.dependencies is not None
    entry = found.snapshot.tree.find("requirements.txt")
    assert entry is not None
    assert environment.dependencies.model_dump() == {"name": "requirements.txt", "sha256": getattr(entry, "sha256", "")}
    assert found.notes == ()
    as_is = resolved("train.py", environment__mode="as-is")
    assert as_is.plan.environment.mode is EnvironmentMode.AS_IS
    assert as_is.notes == ()


def test_a_python_can_be_asked_for(resolved: Resolve, project: Path) -> None:
    assert resolved("train.py", environment__python=sys.executable).plan.environment.python == sys.executable
    (project / "requirements.txt").write_text("numpy==2.0.0\n")
    assert resolved("train.py", environment__python="3.11").plan.environment.python == "3.11"


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        ({"environment__mode": "locked"}, Refused),
        ({"environment__python": "/no/such/python"}, ConfigError),
        ({"image": "other"}, ConfigError),
        ({"network": "none"}, Refused),
        ({"resources__gpus": 1.0}, Refused),
        ({"resources__gpus": 1.5}, ConfigError),
        ({"resources__cpus": 9.0}, Refused),
        ({"resources__memory": 33 * GIB}, Refused),
        ({"resources__memory": 1}, ConfigError),
        ({"resources__gpu_memory": (GIB, None)}, Refused),
        ({"resources__gpu_model": "A100"}, Refused),
        ({"resources__gpus": 1.0, "resources__gpu_vendor": "amd"}, Refused),
        ({"snapshot__max_size": 3}, Refused),
    ],
)
def test_what_cannot_be_had_is_refused(resolved: Resolve, flags: dict[str, Any], error: type[FetchmlError]) -> None:
    with pytest.raises(error) as caught:
        resolved("train.py", **flags)
    assert type(caught.value) is error


def test_all_faults_are_named_at_once(resolved: Resolve) -> None:
    with pytest.raises(Refused) as caught:
        resolved("train.py", network="none", resources__cpus=9.0, resources__gpus=1.0)
    assert caught.value.summary == "preflight refused the run: 3 faults"
    assert caught.value.detail is not None
    assert [line[2:].partition(":")[0] for line in caught.value.detail.splitlines() if line.startswith("- ")] == [
        *("resources.cpus", "resources.gpus", "network"),
    ]


# The plan


@pytest.mark.parametrize(
    ("cpus", "memory_bytes", "expected"),
    [
        (8, 32 * GIB, (2, 8 * GIB)),
        (1, 4 * GIB, (1, 2 * GIB)),
        (64, 16 * GIB, (2, 8 * GIB)),
        (2, 15 * GIB, (2, 15 * GIB // 2)),
    ],
)
def test_defaults_shrink_to_a_small_host(
    resolved: Resolve, cpus: float, memory_bytes: int, expected: tuple[float, int]
) -> None:
    capacity = HostCapacity(host="here", cpus=cpus, memory_bytes=memory_bytes)
    found = resolved("train.py", capacity=capacity).plan.resources
    assert (found.cpus, found.memory_bytes) == expected


def test_settings_become_the_plan(resolved: Resolve) -> None:
    plan = resolved("train.py", resources__max_runtime=90, env={"B": "2", "A": "1"}, resources__shm=2 * GIB).plan
    assert (plan.engine, plan.image, plan.network) == (EngineKind.PROCESS, None, Network.BRIDGE)
    assert list(plan.env.items()) == [("A", "1"), ("B", "2")]
    assert (plan.resources.max_runtime_s, plan.resources.shm_bytes) == (90, 2 * GIB)


def test_the_devices_asked_for_are_in_the_plan(resolved: Resolve) -> None:
    capacity = lab_host(GpuVendor.NVIDIA)
    found = resolved(
        "train.py",
        capacity=capacity,
        resources__gpus=1.0,
        resources__gpu_memory=(GIB, 80 * GIB),
        resources__gpu_model="a100",
        resources__disk=GIB,
        resources__arch="amd64",
    ).plan.resources
    assert (found.gpu_memory_bytes, found.gpu_memory_max_bytes, found.gpu_model) == (GIB, 80 * GIB, "a100")
    assert (found.gpu_vendor, found.disk_bytes, found.arch) == (GpuVendor.NVIDIA, GIB, Arch.AMD64)


def test_the_maker_of_the_devices_is_that_of_the_lab_and_chosen_where_there_are_several(resolved: Resolve) -> None:
    def vendor(choice: str, *makers: GpuVendor) -> GpuVendor | None:
        flags = {"resources__gpus": 1.0, "resources__gpu_vendor": choice}
        return resolved("train.py", capacity=lab_host(*makers), **flags).plan.resources.gpu_vendor

    assert vendor("auto", GpuVendor.AMD) is GpuVendor.AMD
    assert vendor("any", GpuVendor.AMD) is None
    assert vendor("nvidia", GpuVendor.AMD, GpuVendor.NVIDIA) is GpuVendor.NVIDIA
    with pytest.raises(ConfigError, match="GPUs of amd and nvidia") as caught:
        vendor("auto", GpuVendor.NVIDIA, GpuVendor.AMD)
    assert "--gpu-vendor" in (caught.value.hint or "")


class ArmEngine(MemoryEngine):
    """Has images for arm64."""

    def image(self, reference: str) -> ImageFacts:
        return replace(super().image(reference), architecture="arm64")


def test_a_run_is_bound_to_the_instruction_set_of_its_image(resolved: Resolve, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ArmEngine()
    monkeypatch.setattr("fetchml.service.resolve.choose", lambda *_: Chosen(engine, engine.facts(), "asked for"))
    assert resolved("train.py", image="base").archs == ("arm64",)


def test_a_plain_process_is_bound_to_none(resolved: Resolve) -> None:
    assert resolved("train.py").archs == ()


def test_a_run_without_a_gpu_names_no_maker(resolved: Resolve) -> None:
    assert resolved("train.py", capacity=lab_host(GpuVendor.NVIDIA)).plan.resources.gpu_vendor is None


def lab_host(*makers: GpuVendor) -> HostCapacity:
    devices = tuple(
        Device(id=f"GPU-{n}", vendor=maker, model="NVIDIA A100-SXM4-80GB", memory_bytes=80 * GIB)
        for n, maker in enumerate(makers)
    )
    return HostCapacity(
        host="here", cpus=8, memory_bytes=32 * GIB, devices=devices, arch=Arch.AMD64, disk_bytes=100 * GIB
    )


def test_the_same_words_make_the_same_plan(resolved: Resolve, project: Path) -> None:
    first = resolved("train.py", "--lr", "0.1", env={"A": "1", "B": "2"}).plan
    os.utime(project / "train.py", (1, 1))
    assert resolved("train.py", "--lr", "0.1", env={"B": "2", "A": "1"}).plan.sha256 == first.sha256
    assert resolved("train.py", "--lr", "0.2", env={"A": "1", "B": "2"}).plan.sha256 != first.sha256


def test_what_cannot_change_the_result_is_not_in_the_plan(resolved: Resolve) -> None:
    assert resolved("train.py", priority=9).plan == resolved("train.py", priority=1).plan
