"""`fetchml explain`."""

from typing import TYPE_CHECKING, Any

import typer

from fetchml.cli import session
from fetchml.cli.options import AllowSecret, Json, Quiet, command_app
from fetchml.cli.request import (
    EPILOG,
    Arch,
    CommandWords,
    Cpus,
    Data,
    Disk,
    Engine,
    Env,
    GpuMemory,
    GpuModel,
    Gpus,
    GpuVendor,
    Group,
    Host,
    Image,
    MaxRetries,
    MaxRuntime,
    Memory,
    Name,
    Note,
    PassThrough,
    Priority,
    ReproPolicy,
    Sign,
    Tag,
    requested,
)
from fetchml.errors import Refused

if TYPE_CHECKING:
    from fetchml.service.explain import DataWay, Explanation

app = command_app()


@app.command(
    cls=PassThrough,
    context_settings={"allow_interspersed_args": False},
    options_metavar="[OPTIONS]",
    epilog=EPILOG,
)
def explain(
    ctx: typer.Context,
    words: CommandWords,
    name: Name = None,
    priority: Priority = None,
    gpus: Gpus = None,
    gpu_memory: GpuMemory = None,
    gpu_vendor: GpuVendor = None,
    gpu_model: GpuModel = None,
    cpus: Cpus = None,
    memory: Memory = None,
    disk: Disk = None,
    arch: Arch = None,
    host: Host = None,
    max_runtime: MaxRuntime = None,
    max_retries: MaxRetries = None,
    engine: Engine = None,
    image: Image = None,
    repro_policy: ReproPolicy = None,
    env: Env = None,
    data: Data = None,
    allow_secret: AllowSecret = None,
    note: Note = None,
    tag: Tag = None,
    group: Group = None,
    sign: Sign = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Show what a command would be queued as, and everything that is wrong with it; queue nothing.

    Exit 5 if it would be refused.
    """
    asked = requested(ctx, locals())
    from fetchml.service.explain import explain as look

    found = look(asked.request, asked.configuration)
    if json:
        session.print_json(_as_json(found))
    else:
        _show(found)
    return Refused.exit_code if found.examined.faults else 0


def _show(found: "Explanation") -> None:
    from fetchml.cli.plan_text import show_plan, show_rows

    examined = found.examined
    if examined.plan is not None and examined.engine is not None:
        show_plan(examined.plan, examined.engine.why, found.priority)
        show_rows(*(("data", _data_text(item)) for item in found.data))
        show_rows(("position", _position(found)))
    if examined.trust is not None:
        session.print_line()
        _show_trust(found)
    for text in examined.notes:
        session.note(text)
    if examined.faults:
        count = len(examined.faults)
        head = f"it would be refused, for {count} reasons" if count > 1 else "it would be refused"
        session.print_line(("\n" if examined.plan is not None else "") + session.style(head, "red", "bold"))
        for fault in examined.faults:
            session.print_line(f"- {session.style(fault.check, 'bold')}: expected {session.safe(fault.expected)}")
            session.print_line("  found " + session.safe(fault.actual, keep_newlines=True).replace("\n", "\n  "))
            if fault.hint:
                session.print_line("  " + session.safe(fault.hint))


def _position(found: "Explanation") -> str:
    """Returns what would be decided about it now, in words."""
    from fetchml.admission.decide import Admit, Wait

    match found.decision:
        case Admit(parts=parts):
            devices = [share.device_id for part in parts for share in part.shares]
            on = f"on {', '.join(part.host for part in parts)}{' with ' if devices else ''}{', '.join(devices)}"
            return f"would start now, {on}"
        case Wait(position=position, reasons=reasons):
            return f"{position} of {found.waiting + 1} that wait: {'; '.join(str(reason) for reason in reasons)}"
        case _:
            return "next" if not found.waiting else f"behind {found.waiting} that wait at most"


def _data_text(item: "DataWay") -> str:
    from fetchml.models.units import format_size

    entry = item.dataset
    how = {
        "in-place": f"is read at {entry.place}",
        "copy": f"would be copied from {entry.place}, {format_size(entry.size_bytes)}",
        "download": f"would be downloaded from {entry.place}, {format_size(entry.size_bytes)}",
        "cache": f"is on this host already, from {entry.place}",
    }
    return f"{entry} {how[item.way]}"


def _show_trust(found: "Explanation") -> None:
    from fetchml.cli.plan_text import show_rows

    trust = found.examined.trust
    assert trust is not None  # noqa: S101  # the caller has looked
    show_rows(("trust", f"{trust.level}, under the policy {found.examined.policy}"))
    rows = [(item.rung, item.field, item.state.value, session.safe(item.detail)) for item in trust.evidence]
    session.print_line(session.table(("RUNG", "STANDS ON", "STATE", "FOUND"), rows))
    if trust.next_level is not None:
        show_rows((f"for {trust.next_level}", "; ".join(trust.next_needs)))


def _as_json(found: "Explanation") -> dict[str, Any]:
    examined, trust = found.examined, found.examined.trust
    return {
        "schema_version": 1,
        "ok": not examined.faults,
        "name": found.name,
        "priority": found.priority,
        "position": getattr(found.decision, "position", None),
        "waiting": found.waiting,
        "reasons": [str(reason) for reason in getattr(found.decision, "reasons", ())],
        "repro_policy": examined.policy,
        "plan": examined.plan.model_dump(mode="json") if examined.plan else None,
        "plan_sha256": examined.plan.sha256 if examined.plan else None,
        "engine_reason": examined.engine.why if examined.engine else None,
        "trust": {
            "level": trust.level,
            "evidence": [item.model_dump(mode="json") for item in trust.evidence],
            "next_level": trust.next_level,
            "next_needs": list(trust.next_needs),
        }
        if trust
        else None,
        "faults": [
            {"check": item.check, "expected": item.expected, "actual": item.actual, "hint": item.hint}
            for item in examined.faults
        ],
        "data": [
            {
                "name": item.dataset.name,
                "version": item.dataset.version,
                "uri": item.dataset.uri,
                "fetched_via": item.way,
                "size_bytes": item.dataset.size_bytes,
            }
            for item in found.data
        ],
        "notes": list(examined.notes),
    }
