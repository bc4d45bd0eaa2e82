import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fetchml.errors import Conflict, Corrupt
from fetchml.models.manifest import (
    EDITABLE_SECTIONS,
    Annotation,
    Diagnosis,
    Metadata,
    MetricSummary,
    Narrative,
    RunManifest,
    SealSignature,
    Times,
)
from fetchml.models.status import (
    Cancelled,
    Completed,
    EndReason,
    Failed,
    Finalizing,
    Preparing,
    Queued,
    RefusedStatus,
    Running,
    State,
)
from fetchml.testing.builders import MOMENT, make_manifest

SAMPLES = Path(__file__).parents[2] / "data" / "manifests" / "1.0"
STARTED = MOMENT + timedelta(seconds=5)
ENDED = MOMENT + timedelta(seconds=65)


def sample(name: str) -> RunManifest:
    return RunManifest.model_validate_json((SAMPLES / f"{name}.json").read_bytes())


def document(name: str) -> dict[str, Any]:
    return json.loads((SAMPLES / f"{name}.json").read_bytes())


def running() -> RunManifest:
    preparing = make_manifest().with_status(Preparing(since=MOMENT, attempt=1, host="h"))
    return preparing.with_status(Running(started_at=STARTED, attempt=1, host="h", container="c"))


def finalizing(exit_code: int = 0) -> RunManifest:
    status = Finalizing(since=ENDED, started_at=STARTED, ended_at=ENDED, attempt=1, exit_code=exit_code)
    return running().with_status(status)


def completed() -> RunManifest:
    return finalizing().with_status(Completed(started_at=STARTED, ended_at=ENDED, attempt=1))


# Saved samples


@pytest.mark.parametrize(
    ("name", "state", "sealed"),
    [
        ("queued", State.QUEUED, False),
        ("running", State.RUNNING, False),
        ("completed", State.COMPLETED, True),
        ("completed-signed", State.COMPLETED, True),
        ("completed-datasets", State.COMPLETED, True),
        ("completed-drifted", State.COMPLETED, True),
        ("completed-facts", State.COMPLETED, True),
        ("refused", State.REFUSED, True),
    ],
)
def test_a_saved_manifest_of_version_1_0_is_read_for_ever(name, state, sealed):
    manifest = sample(name)
    assert manifest.status.state is state
    assert (manifest.seal is not None) is sealed
    manifest.check_seal(document(name))


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("completed", "81b54b64b1771ed12f97f3f113934cffaad82c7e8ecb627f14aee9f086e10e52"),
        ("completed-signed", "e9c665a3bade89d701213129e5aaafd2472b7173c8f3bf64a14c6236cfec8337"),
        ("completed-datasets", "1f4cc1ecba084bf3c248e891df69fa9577c5760d6459c06d87194dcdcd7335a7"),
        ("completed-drifted", "3028abf8c9f5bca86ff192b3177a303e59cfa250aaaf634d73cccf8cbe0002c3"),
        ("completed-facts", "4d8086e0d592ccc968d900e4b157937d120a3313f47228a585bea1ba774ecf91"),
        ("refused", "311cdf36752d11d63a948c3764001d102fcd47533450ed430e02ef602593fbfa"),
    ],
)
def test_the_seal_of_a_saved_manifest_holds_for_ever(name, digest):
    assert sample(name).sealed_digest(document(name)) == digest == sample(name).seal.digest


def test_facts_that_a_saved_manifest_lacks_are_not_added_to_it():
    before, written = document("completed"), sample("completed").model_dump(mode="json")
    assert written["environment"].keys() == before["environment"].keys()
    assert written["hardware"].keys() == before["hardware"].keys()


@pytest.mark.parametrize("name", sorted(path.stem for path in SAMPLES.glob("*.json")))
def test_a_saved_manifest_keeps_all_it_had(name):
    written = sample(name).model_dump(mode="json")

    def holds(new: Any, old: Any) -> bool:
        if isinstance(old, dict):
            return all(key in new and holds(new[key], value) for key, value in old.items())
        if isinstance(old, list):
            return len(new) == len(old) and all(map(holds, new, old))
        return new == old

    assert holds(written, document(name))


def test_the_datasets_of_saved_manifests_say_what_was_found_of_them():
    before, after = sample("completed-datasets").datasets, sample("completed-drifted").datasets
    assert [(item.name, item.version, item.after, item.drifted) for item in before] == [
        ("mnist", "1", None, False),
        ("labels", "v1.2", None, False),
    ]
    assert [(item.name, item.checksum.partition(":")[0], item.drifted) for item in after] == [
        ("mnist", "sha256", False),
        ("images", "blake3", True),
    ]
    assert sample("completed-drifted").plan.trust_level == "L2"


# Sections that repeat the status


@pytest.mark.parametrize(
    "changes",
    [
        {"exit_code": 0},
        {"end_reason": EndReason.OK},
        {"times": Times(queued_at=MOMENT, started_at=MOMENT)},
        {"times": Times(queued_at=MOMENT, ended_at=MOMENT)},
    ],
)
def test_sections_that_contradict_the_status_are_refused(changes):
    with pytest.raises(ValidationError, match="must repeat what status says"):
        make_manifest(**changes)


def test_a_transition_keeps_the_sections_in_step():
    manifest = completed()
    assert manifest.times == Times(queued_at=MOMENT, started_at=STARTED, ended_at=ENDED)
    assert (manifest.exit_code, manifest.end_reason) == (0, EndReason.OK)


def test_a_transition_may_replace_other_sections_at_the_same_moment():
    diagnosis = Diagnosis(category=EndReason.CODE_ERROR, summary="the program exited with code 1")
    failed = Failed(started_at=STARTED, ended_at=ENDED, attempt=1, exit_code=1, end_reason=EndReason.CODE_ERROR)
    manifest = finalizing(exit_code=1).with_status(failed, diagnosis=diagnosis)
    assert (manifest.diagnosis, manifest.exit_code) == (diagnosis, 1)


def test_a_refused_run_has_an_end_and_no_start():
    preparing = make_manifest().with_status(Preparing(since=MOMENT, attempt=1, host="h"))
    manifest = preparing.with_status(RefusedStatus(ended_at=ENDED, attempt=1, faults=("no image",)))
    assert (manifest.times.started_at, manifest.times.ended_at) == (None, ENDED)
    assert manifest.end_reason is EndReason.PREFLIGHT_REFUSED


def test_a_transition_the_life_cycle_lacks_changes_nothing():
    manifest = make_manifest()
    with pytest.raises(Conflict):
        manifest.with_status(Completed(started_at=STARTED, ended_at=ENDED, attempt=1))
    assert manifest == make_manifest()


def test_a_section_that_does_not_exist_is_refused():
    with pytest.raises(ValidationError):
        make_manifest().with_sections(colour="red")


# The seal


@pytest.mark.parametrize(
    "manifest", [make_manifest(), running(), finalizing()], ids=["queued", "running", "finalizing"]
)
def test_a_run_that_has_not_ended_cannot_be_sealed(manifest):
    with pytest.raises(Conflict) as caught:
        manifest.sealed(ENDED)
    assert caught.value.code == "not-ended"
    manifest.check_seal()


def test_a_run_that_has_ended_needs_a_seal():
    with pytest.raises(Corrupt) as caught:
        completed().check_seal()
    assert caught.value.code == "seal-missing"


def test_a_sealed_manifest_cannot_be_sealed_again_or_moved_on():
    sealed = completed().sealed(ENDED)
    with pytest.raises(Conflict):
        sealed.sealed(ENDED)
    with pytest.raises(Conflict):
        sealed.with_status(Preparing(since=ENDED, attempt=2, host="h"))


SEALED_SECTIONS = sorted(RunManifest.model_fields.keys() - EDITABLE_SECTIONS)


@pytest.mark.parametrize("section", SEALED_SECTIONS)
def test_no_sealed_section_can_be_replaced(section):
    sealed = sample("completed")
    with pytest.raises(Conflict, match="is sealed"):
        sealed.with_sections(**{section: getattr(sealed, section)})


@pytest.mark.parametrize(
    "sections",
    [
        {"narrative": Narrative(hypothesis="it was the loader")},
        {"annotations": (Annotation(timestamp=ENDED, author="bob", note="see run 14"),)},
        {"narrative": Narrative(), "annotations": ()},
    ],
)
def test_editable_sections_change_without_breaking_the_seal(sections):
    edited = sample("completed").with_sections(**sections)
    edited.check_seal(document("completed"))
    assert edited != sample("completed")
    assert edited.seal == sample("completed").seal


def test_an_editable_section_cannot_take_a_sealed_one_along():
    with pytest.raises(Conflict):
        sample("completed").with_sections(narrative=Narrative(), metadata=Metadata(note="other"))


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields the path of every value in a JSON tree that is no object or list."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, (*path, key))
    else:
        yield path


def changed(tree: dict[str, Any], path: tuple[Any, ...]) -> Iterator[dict[str, Any]]:
    """Yields copies of a JSON tree with another value at a path."""
    found: Any = tree
    for key in path:
        found = found[key]
    if isinstance(found, str):
        others = [found + "x", "f" * 64, "2026-11-20T11:00:00Z", None, "L0", "strict", "as-is", "podman", "none", "env"]
        others += ["amd"]
    elif isinstance(found, bool):
        others = [not found]
    else:
        others = [0, 1, 2, 17 * 1024 * 1024, "x", "f" * 64, "2026-11-20T11:00:00Z", 2.5]
    for other in others:
        if other == found:
            continue
        copy = json.loads(json.dumps(tree))
        place: Any = copy
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = other
        yield copy


SEALED_LEAVES = [
    path for path in leaves(json.loads((SAMPLES / "completed.json").read_bytes())) if path[0] not in EDITABLE_SECTIONS
]
FIXED = ("schema_version", "seal", "status", "times", "exit_code", "end_reason")
"""What cannot be changed alone: the shape's version, the seal itself, and the sections that repeat one another."""


@pytest.mark.parametrize("path", [p for p in SEALED_LEAVES if p[0] not in FIXED], ids=lambda p: ".".join(map(str, p)))
def test_any_change_of_a_sealed_value_breaks_the_seal(path):
    tree = json.loads((SAMPLES / "completed.json").read_bytes())
    found = 0
    for copy in changed(tree, path):
        try:
            manifest = RunManifest.model_validate_json(json.dumps(copy))
        except ValidationError:
            continue
        found += 1
        with pytest.raises(Corrupt) as caught:
            manifest.check_seal(copy)
        assert caught.value.code == "seal-broken"
    assert found or path[-1] in ("mode", "category"), "no other value was accepted there"


def test_a_change_of_the_end_breaks_the_seal():
    tree = json.loads((SAMPLES / "completed.json").read_bytes())
    for section in ("status", "times"):
        tree[section]["ended_at"] = "2026-11-20T13:00:00Z"
    with pytest.raises(Corrupt):
        RunManifest.model_validate_json(json.dumps(tree)).check_seal(tree)


def test_removing_the_seal_is_noticed():
    tree = json.loads((SAMPLES / "completed.json").read_bytes())
    with pytest.raises(Corrupt) as caught:
        RunManifest.model_validate_json(json.dumps({**tree, "seal": None})).check_seal()
    assert caught.value.code == "seal-missing"


def test_the_time_of_a_seal_is_covered_too():
    """The digest leaves the seal out, so its time stands a second time where the digest covers it."""
    tree = document("completed-signed")
    for moment in ("2026-11-20T12:01:12Z", "2026-11-20T12:01:11z", "2026-11-20T12:01:11.000Z"):
        copy = {**tree, "seal": {**tree["seal"], "sealed_at": moment}}
        with pytest.raises(Corrupt) as caught:
            RunManifest.model_validate_json(json.dumps(copy)).check_seal(copy)
        assert caught.value.code == "seal-broken"
    copy = {**tree, "times": {**tree["times"], "sealed_at": None}}
    with pytest.raises(Corrupt):
        RunManifest.model_validate_json(json.dumps(copy)).check_seal(copy)


def test_a_seal_has_all_of_a_signature_or_nothing():
    tree = document("completed-signed")
    for part in ("signature", "key_id", "public_key"):
        with pytest.raises(ValidationError, match="belong together"):
            RunManifest.model_validate_json(json.dumps({**tree, "seal": {**tree["seal"], part: None}}))


@pytest.mark.parametrize("part", ["signature", "key_id", "public_key"])
@pytest.mark.parametrize("change", [str.upper, lambda text: text[1:], lambda text: text + "0", lambda _: ""])
def test_a_signature_has_one_spelling(part, change):
    tree = document("completed-signed")
    tree["seal"][part] = change(tree["seal"][part].replace("5", "a"))
    with pytest.raises(ValidationError):
        RunManifest.model_validate_json(json.dumps(tree))


def test_what_is_signed_is_the_digest_with_a_prefix():
    signed: list[bytes] = []

    def sign(message: bytes) -> SealSignature:
        signed.append(message)
        return SealSignature(signature="ab" * 64, key_id="cd" * 8, public_key="ef" * 32)

    manifest = completed().sealed(ENDED, sign)
    assert manifest.seal is not None
    assert signed == [b"fetchml-seal-v1\0" + manifest.seal.digest.encode()]
    assert (manifest.seal.signature, manifest.seal.key_id) == ("ab" * 64, "cd" * 8)
    manifest.check_seal()


def test_adding_or_dropping_an_entry_breaks_the_seal():
    tree = json.loads((SAMPLES / "completed.json").read_bytes())
    fewer = {**tree, "warnings": []}
    more = {**tree, "metrics": {**tree["metrics"], "acc": tree["metrics"]["loss"]}}
    other_order = {**tree, "identity": {**tree["identity"], "tags": tree["identity"]["tags"][::-1]}}
    for copy in (fewer, more, other_order):
        with pytest.raises(Corrupt):
            RunManifest.model_validate_json(json.dumps(copy)).check_seal(copy)


def test_the_seal_does_not_depend_on_white_space_or_order_of_keys():
    tree = json.loads((SAMPLES / "completed.json").read_bytes())
    turned = dict(reversed(tree.items()))
    RunManifest.model_validate_json(json.dumps(turned, separators=(",", ":"))).check_seal(turned)


# Reading


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": "2.0"},
        {"schema_version": None},
        {"colour": "red"},
        {"identity": None},
        {"status": {"state": "running"}},
        {"exit_code": "0"},
        {"metrics": {"loss": {}}},
    ],
    ids=str,
)
def test_a_manifest_that_is_none_is_refused(change):
    tree = json.loads((SAMPLES / "queued.json").read_bytes())
    with pytest.raises(ValidationError):
        RunManifest.model_validate_json(json.dumps({**tree, **change}))


@pytest.mark.parametrize("size", [0, 1, 100, -1])
def test_a_manifest_that_was_cut_off_is_refused(size):
    content = (SAMPLES / "completed.json").read_bytes()
    with pytest.raises(ValidationError):
        RunManifest.model_validate_json(content[:size].rstrip().removesuffix(b"}"))


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
SUMMARIES = st.builds(MetricSummary, last=NUMBERS, minimum=NUMBERS, maximum=NUMBERS, count=st.integers(1, 2**53 - 1))
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(st.dictionaries(TEXT, SUMMARIES, max_size=4), TEXT, st.lists(TEXT, max_size=3))
def test_a_sealed_manifest_survives_being_written_and_read(metrics, note, warnings):
    manifest = completed_with(metrics=metrics, metadata=Metadata(note=note), warnings=tuple(warnings))
    read = RunManifest.model_validate_json(manifest.model_dump_json(indent=2))
    assert read == manifest
    read.check_seal()


def completed_with(**sections: object) -> RunManifest:
    status = Completed(started_at=STARTED, ended_at=ENDED, attempt=1)
    return finalizing().with_status(status, **sections).sealed(ENDED)


def test_a_cancelled_run_that_never_started_can_be_sealed():
    status = Cancelled(started_at=None, ended_at=ENDED, attempt=None, exit_code=None, by="ada")
    make_manifest().with_status(status).sealed(ENDED).check_seal()


def test_a_queued_manifest_says_when():
    assert make_manifest().status == Queued(since=MOMENT)
