"""`fetchml hosts`."""

from typing import TYPE_CHECKING

from fetchml.cli import session
from fetchml.cli.options import Json, Quiet, command_app, configuration

if TYPE_CHECKING:
    from fetchml.models.resources import Device
    from fetchml.service.hosts import LabHost

app = command_app()


@app.command()
def hosts(json: Json = False, quiet: Quiet = False) -> None:
    """Show the hosts of the lab: what they have, who holds it, what others use."""
    from fetchml.service.hosts import hosts as look

    found = look(configuration().settings)
    if json:
        session.print_json({"schema_version": 1, "hosts": [_as_json(item) for item in found]})
        return
    if not found:
        session.note("no host is known yet; `fetchml up` starts the worker of this one")
        return
    rows = [row for item in found for row in _rows(item)]
    session.print_line(session.table(("HOST", "STATE", "CPUS", "MEMORY", "DEVICE", "FREE", "HELD BY"), rows))


def _rows(item: "LabHost") -> list[tuple[str, ...]]:
    from fetchml.models.units import format_size

    name, state = session.safe(item.known.name), item.state
    if state is None:
        return [(name, _state(item), "-", "-", "-", "-", "-")]
    capacity = state.capacity
    cpus = capacity.cpus - sum(held.cpus for held in item.holding)
    memory = capacity.memory_bytes - sum(held.memory_bytes for held in item.holding)
    without_gpu = [held.run_id for held in item.holding if not held.shares]
    first = (
        name,
        _state(item),
        f"{max(0.0, round(cpus, 3)):g}/{capacity.cpus:g}",
        f"{format_size(max(0, memory))}/{format_size(capacity.memory_bytes)}",
    )
    devices = [(session.safe(_name(device)), *_device(item, device)) for device in capacity.devices]
    if not devices:
        return [(*first, "-", "-", ", ".join(without_gpu) or "-")]
    rows = [(*(first if place == 0 else ("", "", "", "")), *row) for place, row in enumerate(devices)]
    if without_gpu:
        rows.append(("", "", "", "", "(no GPU)", "-", ", ".join(without_gpu)))
    return rows


def _name(device: "Device") -> str:
    return f"{device.model or device.vendor} {device.id[:12]}"


def _device(item: "LabHost", device: "Device") -> tuple[str, str]:
    """Returns what is free of a device, and who holds the rest."""
    from fetchml.models.units import format_size

    state = item.state
    assert state is not None  # its devices are listed  # noqa: S101
    held = [(held.run_id, share) for held in item.holding for share in held.shares if share.device_id == device.id]
    holders = [f"{run_id} ({share.share:g})" if share.share < 1 else run_id for run_id, share in held]
    strangers = [found for found in state.strangers if found.device_id == device.id]
    holders += [session.safe(who) for found in strangers for who in found.processes or ("processes of others",)]
    if device.id in state.suspended:
        return session.style("silent", "red"), session.safe(state.suspended[device.id])
    share = round(1 - sum(part.share for _, part in held), 6)
    taken = [part.memory_bytes for _, part in held]
    free = "0" if strangers else f"{max(0.0, share):g}"
    if device.memory_bytes is not None and not strangers:
        known = sum(size or 0 for size in taken) + state.memory_taken.get(device.id, 0)
        free += f", {'?' if None in taken else format_size(max(0, device.memory_bytes - known))}"
    return free, ", ".join(holders) or "-"


def _state(item: "LabHost") -> str:
    marks = item.known.marks
    words: list[str] = []
    if item.state is None:
        words.append("never seen")
    elif item.state.is_silent:
        from fetchml.models.units import format_duration

        words.append(session.style(f"silent for {format_duration(item.known.silent_s)}", "red"))
    if marks.is_drained:
        words.append(
            session.style("drained", "yellow")
            + (f" ({session.safe(marks.drain_reason)})" if marks.drain_reason else "")
        )
    if marks.dedication is not None:
        whom = ", ".join((*marks.dedication.users, *marks.dedication.groups))
        until = f" until {marks.dedication.until:%Y-%m-%d %H:%M}" if marks.dedication.until else ""
        words.append(f"kept for {session.safe(whom)}{until}")
    return "; ".join(words) or session.style("ok", "green")


def _as_json(item: "LabHost") -> dict[str, object]:
    state, marks = item.state, item.known.marks
    return {
        "name": item.known.name,
        "silent_s": None if item.known.state is None else round(item.known.silent_s, 3),
        "is_silent": state.is_silent if state else True,
        "marks": marks.model_dump(mode="json"),
        "published": item.known.state.model_dump(mode="json") if item.known.state else None,
        "holding": [
            {
                "run_id": held.run_id,
                "user": held.user,
                "cpus": held.cpus,
                "memory_bytes": held.memory_bytes,
                "disk_bytes": held.disk_bytes,
                "shares": [share.model_dump(mode="json") for share in held.shares],
            }
            for held in item.holding
        ],
    }
