"""The rungs of trust: each stands on evidence, and the first thing that is missing ends the climb."""

from typing import Any

import pytest

from fetchml.models.manifest import TRUST_LEVELS, EvidenceState
from fetchml.models.plan import DatasetPlan, DependencyManifest, EngineKind, EnvironmentMode, EnvironmentPlan, Plan
from fetchml.preflight.trust import Trust, TrustFacts, lowered, trust
from fetchml.testing.builders import make_container_plan, make_plan

LOCKED = EnvironmentPlan(mode=EnvironmentMode.LOCKED, dependencies=DependencyManifest(name="uv.lock", sha256="a" * 64))
EVERYTHING: dict[str, Any] = {
    "snapshot_verified": True,
    "environment_key": "b" * 64,
    "unpinned": (),
    "git_commit": "c" * 40,
    "git_dirty": False,
    "signed_by": "d" * 16,
    "reproduced_by": "2026-11-21_k3f9q2",
}


def climbed(plan: Plan, **facts: Any) -> Trust:
    return trust(plan, TrustFacts(**{**EVERYTHING, **facts}))


def test_with_everything_the_top_is_reached() -> None:
    found = climbed(make_container_plan(environment=LOCKED))
    assert (found.level, found.next_level, found.next_needs) == ("L4", None, ())
    assert {item.state for item in found.evidence} == {EvidenceState.VERIFIED, EvidenceState.DECLARED}
    assert {item.rung for item in found.evidence} == set(TRUST_LEVELS[1:])


@pytest.mark.parametrize(
    ("plan", "facts", "level", "need"),
    [
        (make_plan(), {}, "L1", "dependency manifest"),
        (make_container_plan(), {}, "L1", "dependency manifest"),
        (make_plan(environment=LOCKED), {}, "L2", "container"),
        (make_container_plan(environment=LOCKED), {"unpinned": ("numpy",)}, "L2", "pin every version"),
        (make_container_plan(environment=LOCKED), {"unpinned": None}, "L2", "pin every version"),
        (make_container_plan(environment=LOCKED), {"git_commit": None}, "L3", "commit all"),
        (make_container_plan(environment=LOCKED), {"git_dirty": True}, "L3", "commit all"),
        (make_container_plan(environment=LOCKED), {"git_dirty": None}, "L3", "commit all"),
        (make_container_plan(environment=LOCKED), {"signed_by": None}, "L3", "sign"),
        (make_container_plan(environment=LOCKED), {"reproduced_by": None}, "L3", "repeat"),
        (make_container_plan(environment=LOCKED, engine=EngineKind.PODMAN), {"signed_by": None}, "L3", "sign"),
    ],
)
def test_the_first_thing_that_is_missing_ends_the_climb(
    plan: Plan, facts: dict[str, Any], level: str, need: str
) -> None:
    found = climbed(plan, **facts)
    assert found.level == level
    assert found.next_level == TRUST_LEVELS[TRUST_LEVELS.index(found.level) + 1]
    assert len(found.next_needs) == 1
    assert need in found.next_needs[0]


def test_what_lies_ahead_is_declared_and_what_was_compared_is_verified() -> None:
    plan = make_container_plan(environment=LOCKED)
    queued = climbed(plan, environment_key=None)
    built = climbed(plan)
    assert queued.level == built.level
    states = [{item.field: item.state for item in found.evidence}["environment.key"] for found in (queued, built)]
    assert states == [EvidenceState.DECLARED, EvidenceState.VERIFIED]


def test_everything_the_next_rung_lacks_is_named() -> None:
    found = climbed(make_plan(environment=LOCKED), unpinned=("a", "b", "c", "d", "e"))
    assert len(found.next_needs) == 2
    assert "a, b, c and 2 more" in next(item.detail for item in found.evidence if item.field == "environment.pins")


def test_datasets_are_declared_until_they_were_compared() -> None:
    item = DatasetPlan(name="mnist", checksum="sha256:" + "a" * 64, mount="/data/mnist")
    for plan, verified, state, detail in (
        (make_container_plan(datasets=(item,)), False, EvidenceState.DECLARED, "mnist sha256:aaaaaaaaaaaa"),
        (make_container_plan(datasets=(item,)), True, EvidenceState.VERIFIED, "mnist sha256:aaaaaaaaaaaa"),
        (make_container_plan(), False, EvidenceState.VERIFIED, "none are used"),
    ):
        evidence = {found.field: found for found in climbed(plan, datasets_verified=verified).evidence}
        assert (evidence["datasets"].state, evidence["datasets"].detail) == (state, detail)


def test_what_turns_out_not_to_hold_lowers_the_level_to_the_rung_below() -> None:
    found = climbed(make_container_plan())
    for level, expected in (("L0", "L0"), ("L1", "L1"), ("L2", "L2"), ("L3", "L2"), ("L4", "L2")):
        reached, evidence = lowered(level, found.evidence, "datasets", "changed during the run: mnist")
        assert reached == expected
        (changed,) = [item for item in evidence if item not in found.evidence]
        assert (changed.field, changed.state, changed.holds) == ("datasets", EvidenceState.MISSING, False)
    assert lowered("L3", found.evidence, "no such field", "") == ("L3", found.evidence)
