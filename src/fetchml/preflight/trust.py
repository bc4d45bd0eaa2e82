"""How far a run can be trusted and repeated: the rungs L0 to L4, and the evidence each of them stands on.

A pure function, asked when a run is queued, where what lies ahead counts as declared, and again by the worker once the
environment is there. A rung holds when nothing it needs is missing or unknown and the rung below holds.
"""

from dataclasses import dataclass

from fetchml.models.manifest import TRUST_LEVELS, Evidence, EvidenceState, TrustLevel
from fetchml.models.plan import EngineKind, EnvironmentMode, Plan

_SHOWN_DIGITS = 16
_SHOWN_CHECKSUM = len("sha256:") + 12


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustFacts:
    """What is known about a run beside its plan."""

    snapshot_verified: bool = False
    """Whether every byte of the code was compared with its digest."""
    datasets_verified: bool = False
    """Whether every dataset was compared with its checksum."""
    environment_key: str | None = None
    """Key of the environment that was built from the manifest; None before that."""
    unpinned: tuple[str, ...] | None = None
    """Packages the manifest names without an exact version; None if nobody looked."""
    git_commit: str | None = None
    git_dirty: bool | None = None
    signed_by: str | None = None
    """Id of the key that signs the record, if one will."""
    reproduced_by: str | None = None
    """A later run that gave the same metrics."""


@dataclass(frozen=True, slots=True)
class Trust:
    """The rung a run has reached, why, and what the next one needs."""

    level: TrustLevel
    evidence: tuple[Evidence, ...]
    next_level: TrustLevel | None
    next_needs: tuple[str, ...]
    """What the next rung needs, each as something to do; empty at the top."""


def trust(plan: Plan, facts: TrustFacts) -> Trust:
    """Returns how far a run of a plan can be trusted (DESIGN.md section 5)."""
    asked = (*_code(plan, facts), *_environment(plan, facts), *_inputs(plan, facts), *_history(facts))
    level: TrustLevel = "L0"
    for rung in TRUST_LEVELS[1:]:
        lacking = [need for item, need in asked if item.rung == rung and not item.holds]
        if lacking:
            return Trust(level, tuple(item for item, _ in asked), rung, tuple(lacking))
        level = rung
    return Trust(level, tuple(item for item, _ in asked), None, ())


def lowered(
    level: TrustLevel, evidence: tuple[Evidence, ...], field: str, detail: str
) -> tuple[TrustLevel, tuple[Evidence, ...]]:
    """Returns a level and its evidence after a piece of it turned out not to hold.

    Args:
        level: The rung that was reached.
        evidence: What each rung stands on.
        field: What does not hold.
        detail: What was found.
    """
    state = EvidenceState.MISSING
    found = tuple(
        item.model_copy(update={"state": state, "detail": detail}) if item.field == field else item for item in evidence
    )
    below = [TRUST_LEVELS.index(item.rung) - 1 for item in found if item.field == field]
    return TRUST_LEVELS[min([TRUST_LEVELS.index(level), *below])], found


_Asked = tuple[Evidence, str]
"""A piece of evidence, and what to do where it does not hold."""


def _code(plan: Plan, facts: TrustFacts) -> list[_Asked]:
    state = EvidenceState.VERIFIED if facts.snapshot_verified else EvidenceState.DECLARED
    return [(Evidence(rung="L1", field="snapshot_id", state=state, detail=plan.snapshot_id[:_SHOWN_DIGITS]), "")]


def _environment(plan: Plan, facts: TrustFacts) -> list[_Asked]:
    environment = plan.environment
    if environment.mode is not EnvironmentMode.LOCKED or environment.dependencies is None:
        missing = Evidence(
            rung="L2", field="environment.dependencies", state=EvidenceState.MISSING, detail="Python is used as it is"
        )
        return [(missing, "add a dependency manifest, best a lock file: `uv lock`")]
    manifest = environment.dependencies
    if facts.environment_key is None:
        built = Evidence(
            rung="L2", field="environment.key", state=EvidenceState.DECLARED, detail="built before the start"
        )
    else:
        key = facts.environment_key[:_SHOWN_DIGITS]
        built = Evidence(rung="L2", field="environment.key", state=EvidenceState.VERIFIED, detail=key)
    return [
        (
            Evidence(
                rung="L2",
                field="environment.dependencies",
                state=EvidenceState.VERIFIED,
                detail=f"{manifest.name} {manifest.sha256[:_SHOWN_DIGITS]}",
            ),
            "",
        ),
        (built, ""),
    ]


def _inputs(plan: Plan, facts: TrustFacts) -> list[_Asked]:
    found: list[_Asked] = []
    if plan.environment.mode is EnvironmentMode.LOCKED:
        found.append(_pins(facts))
    if plan.engine is EngineKind.PROCESS or plan.image is None:
        host = Evidence(rung="L3", field="image", state=EvidenceState.MISSING, detail="a process of the host itself")
        found.append((host, "run it in a container: `--engine docker` or `--engine podman`"))
    else:
        found.append(
            (Evidence(rung="L3", field="image", state=EvidenceState.VERIFIED, detail=plan.image.digest[:23]), "")
        )
    verified = facts.datasets_verified or not plan.datasets
    datasets = Evidence(
        rung="L3",
        field="datasets",
        state=EvidenceState.VERIFIED if verified else EvidenceState.DECLARED,
        detail=", ".join(f"{item.name} {item.checksum[:_SHOWN_CHECKSUM]}" for item in plan.datasets) or "none are used",
    )
    return [*found, (datasets, "")]


def _pins(facts: TrustFacts) -> _Asked:
    need = "pin every version: `uv lock`, or `uv pip compile -o requirements.txt`"
    if facts.unpinned is None:
        unknown = Evidence(rung="L3", field="environment.pins", state=EvidenceState.UNKNOWN, detail="not looked at")
        return unknown, need
    if facts.unpinned:
        more = f" and {len(facts.unpinned) - 3} more" if len(facts.unpinned) > 3 else ""
        detail = f"no exact version: {', '.join(facts.unpinned[:3])}{more}"
        return Evidence(rung="L3", field="environment.pins", state=EvidenceState.MISSING, detail=detail), need
    pinned = Evidence(
        rung="L3", field="environment.pins", state=EvidenceState.VERIFIED, detail="every version is exact"
    )
    return pinned, need


def _history(facts: TrustFacts) -> list[_Asked]:
    if facts.git_commit is None:
        git = Evidence(rung="L4", field="environment.git", state=EvidenceState.MISSING, detail="no commit")
    elif facts.git_dirty is not False:
        git = Evidence(rung="L4", field="environment.git", state=EvidenceState.MISSING, detail="not all is committed")
    else:
        commit = facts.git_commit[:_SHOWN_DIGITS]
        git = Evidence(rung="L4", field="environment.git", state=EvidenceState.VERIFIED, detail=commit)
    signed = Evidence(
        rung="L4",
        field="seal.signature",
        state=EvidenceState.DECLARED if facts.signed_by else EvidenceState.MISSING,
        detail=f"key {facts.signed_by}" if facts.signed_by else "the record is not to be signed",
    )
    again = Evidence(
        rung="L4",
        field="reproduced",
        state=EvidenceState.VERIFIED if facts.reproduced_by else EvidenceState.UNKNOWN,
        detail=facts.reproduced_by or "no later run has repeated it",
    )
    return [
        (git, "commit all changes before you queue"),
        (signed, "sign the record: `--sign`"),
        (again, "repeat the run, and compare"),
    ]
