import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fetchml.errors import ConfigError
from fetchml.models.plan import (
    MAX_ARGUMENTS,
    MAX_COMMAND_BYTES,
    Command,
    DatasetPlan,
    DependencyManifest,
    EngineKind,
    EnvironmentMode,
    EnvironmentPlan,
    ImagePlan,
    Network,
    Plan,
)
from fetchml.models.resources import ResourceRequest
from fetchml.models.units import GIB
from fetchml.testing.builders import IMAGE_DIGEST, make_container_plan, make_plan

DATA = Path(__file__).parents[2] / "data"

CANONICAL = (
    '{"command":{"argv":["python","train.py","--lr","0.1"],"script":"train.py","workdir":""},"engine":"process",'
    '"env":{},"environment":{"dependencies":null,"mode":"as-is","python":"/usr/bin/python3"},"image":null,'
    '"network":"bridge","resources":{"cpus":1,"gpu_memory_bytes":null,"gpu_vendor":null,"gpus":0,"max_runtime_s":null,'
    '"memory_bytes":1073741824,"shm_bytes":1073741824},"schema_version":1,'
    '"snapshot_id":"5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e"}'
)


def odd_plan() -> Plan:
    return make_plan(
        command=Command(argv=("python", "träin 🚂.py", "--name=$(x)", '"\\\n\t\x1f', ""), workdir="src/a b"),
        env={"a": "2", "Z": "1", "É": "3", "_": "€"},
        resources=ResourceRequest(cpus=0.1, memory_bytes=140_737_488_355_200, gpus=1 / 3),
    )


GOLDEN = [
    pytest.param(make_plan, "2061827035191ccad25b532dcaf77d0dd195900de7cddbb629ef3d7f6b1a5e39", id="process"),
    pytest.param(make_container_plan, "eb602a13a3b2b47ecda4dab7e7f005619d259d84d44ae6f9790dd4eb8307904a", id="docker"),
    pytest.param(odd_plan, "3e2fcbe6d5b5a4f6e0191d42ce18dfe39d6b61825437bece923ddae7fc7cbf26", id="odd text"),
]


@pytest.mark.parametrize(("make", "sha256"), GOLDEN)
def test_a_plan_has_the_same_hash_on_every_machine_and_python(make, sha256):
    assert make().sha256 == sha256


def test_a_saved_plan_of_version_1_is_read_for_ever_and_keeps_its_hash():
    plan = Plan.model_validate_json((DATA / "plans" / "1" / "container.json").read_bytes())
    assert plan.sha256 == "0214e9630838c98d912bea08c466d0ce5da54b413ad051d51066d62ae90abfba"
    assert (plan.engine, plan.resources.gpus, plan.env["GREETING"]) == (EngineKind.DOCKER, 1, "grüße")


@pytest.mark.parametrize(
    ("name", "sha256", "versions"),
    [
        ("datasets-with-versions", "205cf684e32746d7400ba140f475bbaee66148ff5cda37057cd409240f53804b", ["1", "v1.2"]),
        ("datasets", "8cf4dbd390f287e240a2555c8c61cdb5b680610bcedd5e19cb5cb7734cee2b2a", [None, None]),
    ],
)
def test_saved_plans_with_datasets_are_read_for_ever_and_keep_their_hash(name, sha256, versions):
    content = (DATA / "plans" / "1" / f"{name}.json").read_bytes()
    plan = Plan.model_validate_json(content)
    assert plan.sha256 == sha256
    assert [item.version for item in plan.datasets] == versions
    assert plan.model_dump(mode="json") == json.loads(content)


@pytest.mark.parametrize(
    "checksum",
    [
        *(
            "",
            "a" * 64,
            "sha256:",
            "sha256:" + "a" * 63,
            "sha256:" + "A" * 64,
            " sha256:" + "a" * 64,
            "sha1:" + "a" * 40,
        ),
        *(
            "md5:" + "a" * 32,
            "md5:" + "a" * 64,
            "blake2:" + "a" * 64,
            "blake3:" + "a" * 65,
            "sha256:" + "a" * 64 + "\n",
        ),
    ],
)
def test_a_dataset_of_a_plan_has_a_checksum(checksum):
    with pytest.raises(ValidationError):
        DatasetPlan(name="mnist", checksum=checksum)
    with pytest.raises(ValidationError):
        DatasetPlan.model_validate({"name": "mnist"})


def test_what_a_catalogue_calls_a_version_is_not_in_the_hash():
    item = DatasetPlan(name="mnist", checksum="blake3:" + "a" * 64)
    assert b"version" not in make_plan(datasets=(item,)).canonical.replace(b"schema_version", b"")
    others = (item.model_copy(update=change) for change in ({"checksum": "sha256:" + "a" * 64}, {"name": "other"}))
    hashes = {make_plan(datasets=(other,)).sha256 for other in (item, *others)}
    assert len(hashes) == 3


def test_the_hash_does_not_depend_on_locale_hash_seed_or_time_zone():
    code = r"from fetchml.testing.builders import make_plan; print(make_plan(env={'\u00c9': '\u20ac', 'a': ''}).sha256)"
    changes = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONHASHSEED": "7", "TZ": "Pacific/Kiritimati"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env={**os.environ, **changes}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == make_plan(env={"É": "€", "a": ""}).sha256


def test_the_canonical_form_is_rfc_8785():
    assert make_plan().canonical.decode() == CANONICAL


def test_the_order_of_variables_and_the_type_of_a_number_do_not_matter():
    one = make_plan(env={"A": "1", "B": "2"}, resources=ResourceRequest(gpus=1, cpus=2))
    other = make_plan(env={"B": "2", "A": "1"}, resources=ResourceRequest(gpus=1.0, cpus=2.0))
    assert one.sha256 == other.sha256


LOCKED = EnvironmentPlan(
    mode=EnvironmentMode.LOCKED, dependencies=DependencyManifest(name="requirements.txt", sha256="a" * 64)
)


@pytest.mark.parametrize(
    "changes",
    [
        {"snapshot_id": "0" * 64},
        {"command": Command(argv=("python", "train.py", "--lr", "0.10"), script="train.py")},
        {"command": Command(argv=("python", "train.py", "--lr 0.1"), script="train.py")},
        {"command": Command(argv=("python", "train.py", "--lr", "0.1"))},
        {"command": Command(argv=("python", "train.py", "--lr", "0.1"), script="train.py", workdir="src")},
        {"environment": LOCKED},
        {"environment": EnvironmentPlan(mode=EnvironmentMode.AS_IS)},
        {"resources": ResourceRequest(cpus=1, memory_bytes=GIB, gpus=1)},
        {"resources": ResourceRequest(cpus=1, memory_bytes=GIB, max_runtime_s=60)},
        {"network": Network.NONE},
        {"env": {"A": ""}},
    ],
)
def test_whatever_can_change_the_result_changes_the_hash(changes):
    assert make_plan(**changes).sha256 != make_plan().sha256


def test_the_image_counts_by_its_digest_too():
    other = ImagePlan(reference="base", digest="sha256:" + "2b" * 32)
    assert make_container_plan(image=other).sha256 != make_container_plan().sha256


@given(
    st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1, max_size=5),
    st.dictionaries(
        st.text(st.characters(exclude_characters="\0=", exclude_categories=["Cs"]), min_size=1),
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    ),
)
def test_a_plan_survives_being_written_and_read(argv, env):
    plan = make_plan(command=Command(argv=tuple(argv)), env=env)
    read = Plan.model_validate_json(plan.model_dump_json())
    assert read == plan
    assert read.sha256 == plan.sha256
    assert json.loads(plan.canonical) == plan.model_dump(mode="json")


@pytest.mark.parametrize("text", ["\ud800", "a\udcff"])
def test_text_that_is_not_unicode_has_no_canonical_form(text):
    with pytest.raises(ConfigError, match="canonical JSON"):
        _ = make_plan(env={"A": text}).canonical


@pytest.mark.parametrize(
    "fields",
    [
        {"argv": ()},
        {"argv": ("x",) * (MAX_ARGUMENTS + 1)},
        {"argv": ("x" * MAX_COMMAND_BYTES,)},
        {"argv": ("é" * (MAX_COMMAND_BYTES // 2),)},
        {"argv": ("python", "a\0b")},
        {"argv": "python train.py"},
        {"argv": ["python"]},
        {"argv": ("python",), "shell": True},
    ],
    ids=["none", "too many", "too long", "too long in bytes", "NUL", "a line", "a list", "shell"],
)
def test_a_command_beyond_its_caps_is_refused(fields):
    with pytest.raises(ValidationError):
        Command(**fields)


def test_a_command_may_be_as_long_as_its_caps():
    Command(argv=("x",) * MAX_ARGUMENTS)
    Command(argv=("x" * (MAX_COMMAND_BYTES - 1),))


def test_what_looks_like_shell_or_options_is_kept_as_it_is():
    argv = ("-rf", "--privileged", "; rm -rf ~", "$(id)", "`id`", "a\nb", "*", "'", '"', "")
    assert Command(argv=argv).argv == argv


@pytest.mark.parametrize(
    "changes",
    [
        {"snapshot_id": "A" * 64},
        {"snapshot_id": "a" * 63},
        {"snapshot_id": "a" * 65},
        {"snapshot_id": "１" * 64},  # noqa: RUF001  # full-width digits
        {"engine": "process"},
        {"engine": EngineKind.DOCKER},
        {"image": ImagePlan(reference="base", digest=IMAGE_DIGEST)},
        {"schema_version": 2},
        {"env": {"A": 1}},
        {"priority": 5},
        {"user": "ada"},
    ],
)
def test_a_plan_that_contradicts_itself_or_holds_what_it_must_not_is_refused(changes):
    with pytest.raises(ValidationError):
        make_plan(**changes)


def test_a_container_needs_an_image():
    with pytest.raises(ValidationError, match="needs an image"):
        make_container_plan(image=None)


@pytest.mark.parametrize(
    "fields",
    [
        {"mode": EnvironmentMode.LOCKED},
        {"mode": EnvironmentMode.AS_IS, "dependencies": DependencyManifest(name="r", sha256="a" * 64)},
    ],
)
def test_an_environment_is_locked_exactly_when_it_has_a_manifest(fields):
    with pytest.raises(ValidationError, match="dependency manifest"):
        EnvironmentPlan(**fields)


def test_a_variable_with_a_nul_is_refused():
    with pytest.raises(ValidationError):
        make_plan(env={"A": "a\0b"})


@pytest.mark.parametrize("digest", ["", "latest", "sha256:", "sha256:" + "a" * 63, "md5:" + "a" * 32])
def test_a_digest_of_an_image_is_a_digest(digest):
    with pytest.raises(ValidationError):
        ImagePlan(reference="base", digest=digest)


@pytest.mark.parametrize("fields", [{"workdir": "../.."}, {"workdir": "/etc"}, {"script": "../x.py"}, {"script": "/x"}])
def test_a_command_stays_inside_its_snapshot(fields):
    with pytest.raises(ValidationError):
        Command(argv=("python",), **fields)


def test_a_plan_without_datasets_is_hashed_as_before_there_were_any():
    plan = make_plan()
    assert b"datasets" not in plan.canonical
    item = DatasetPlan(name="mnist", checksum="sha256:" + "a" * 64)
    with_data = make_plan(datasets=(item,))
    assert with_data.sha256 != plan.sha256
    assert Plan.model_validate_json(with_data.model_dump_json()) == with_data
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    with pytest.raises(ValidationError, match="there twice"):
        make_plan(datasets=(item, item))
