"""`fetchml why`."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fetchml.cli import session
from fetchml.cli.options import Json, Quiet, RunArgument, command_app, configuration
from fetchml.cli.progress import state_word

if TYPE_CHECKING:
    from fetchml.admission.outlook import Start
    from fetchml.service.why import Why

app = command_app()


@app.command()
def why(run: RunArgument, json: Json = False, quiet: Quiet = False) -> None:
    """Say why a run is where it is: what it waits for, when it may start, what would start now."""
    from fetchml.service.why import why as ask

    found = ask(configuration().settings, run)
    if json:
        session.print_json(_as_json(found))
        return
    for line in _lines(found):
        session.print_line(line)
    for text in found.notes:
        session.note(text)


def _lines(found: "Why") -> list[str]:
    manifest = found.manifest
    run_id = session.style(manifest.identity.run_id, "bold")
    name, state = session.safe(manifest.identity.name), manifest.status.state
    if state != "queued":
        return [f"{run_id}  {name}  {state_word(state)}", *_why_not_waiting(found)]
    if found.due is not None:
        last = manifest.attempts[-1] if manifest.attempts else None
        after = f" after `{last.end_reason}`: {session.safe(last.summary)}" if last else ""
        return [
            f"{run_id}  {name}  waits for its next attempt",
            f"  attempt {manifest.attempt} is due in {_until(found.due)}{after}",
        ]
    if found.is_impossible:
        lines = [f"{run_id}  {name}  can never start: no host of the lab can run it"]
    elif found.position is None:
        return [f"{run_id}  {name}  starts as soon as its worker looks"]
    else:
        lines = [f"{run_id}  {name}  waits at place {found.position} of {found.waiting}"]
    lines += [f"  {session.safe(str(reason))}" for reason in found.reasons]
    if found.start is not None:
        lines.append(f"  {_start_words(found.start)}")
    elif not found.is_impossible:
        lines.append("  when it starts cannot be told: nothing is known of how long what is in its way takes")
    if found.smaller:
        lines.append(f"  would start now with: {'; or '.join(found.smaller)}")
    return lines


def _why_not_waiting(found: "Why") -> list[str]:
    manifest = found.manifest
    if found.stall is not None:
        return [f"  cannot go on now: {session.safe(found.stall)}"]
    if manifest.diagnosis is not None:
        lines = [f"  {session.safe(manifest.diagnosis.summary)}"]
        if manifest.diagnosis.resolution:
            lines.append(f"  next: {session.safe(manifest.diagnosis.resolution)}")
        return lines
    placement = manifest.placement
    if placement is None:
        return []
    waited = f" after {_span(placement.waited_s)}" if placement.waited_s else ""
    devices = f" with {', '.join(placement.device_ids)}" if placement.device_ids else ""
    lines = [f"  on {session.safe(placement.host)}{devices}{waited}"]
    lines += [f"  it had waited: {session.safe(reason)}" for reason in placement.waited_for]
    if manifest.status.state == "unreachable":
        lines.append("  its host is silent; it is not started elsewhere, since silence is no proof that it has ended")
    return lines


def _start_words(start: "Start") -> str:
    latest = f"to {_until(start.latest)}" if start.latest is not None else "on"
    basis = f" (from {session.safe(', '.join(start.basis))})" if start.basis else ""
    return f"starts in about {_until(start.earliest)} {latest}{basis}"


def _until(moment: datetime) -> str:
    return _span((moment - datetime.now(UTC)).total_seconds())


def _span(seconds: float) -> str:
    from fetchml.models.units import format_duration

    return format_duration(max(0.0, seconds))


def _as_json(found: "Why") -> dict[str, object]:
    manifest, start = found.manifest, found.start
    return {
        "schema_version": 1,
        "run_id": manifest.identity.run_id,
        "state": manifest.status.state.value,
        "attempt": manifest.attempt,
        "position": found.position,
        "waiting": found.waiting,
        "is_impossible": found.is_impossible,
        "reasons": [
            {
                "blocker": reason.blocker.value,
                "needed": reason.needed,
                "available": reason.available,
                "where": reason.where,
                "kept_for": reason.kept_for,
                "who": list(reason.who),
                "text": str(reason),
            }
            for reason in found.reasons
        ],
        "due": _text(found.due),
        "starts": None
        if start is None
        else {"earliest": _text(start.earliest), "latest": _text(start.latest), "basis": list(start.basis)},
        "smaller": list(found.smaller),
        "stall": found.stall,
        "notes": list(found.notes),
    }


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")
