"""The devices of a run, as they are found when it starts."""

import os
from collections.abc import Iterable
from contextlib import suppress

from fetchml.containers import Devices
from fetchml.errors import Unavailable
from fetchml.gpus.inventory import Inventory
from fetchml.models.claim import Claim


def given(claim: Claim, inventory: Inventory) -> Devices:
    """Returns what a run is given of the host's devices.

    Args:
        claim: What was reserved for it.
        inventory: The devices of the host.
    """
    by_id = {device.id: device for device in inventory.devices}
    shares = claim.held
    devices = [by_id[share.device_id] for share in shares if share.device_id in by_id]
    if not devices:
        return Devices()
    nodes = tuple(dict.fromkeys(node for device in devices for node in device.nodes))
    return Devices(
        ids=tuple(device.id for device in devices),
        vendor=devices[0].vendor,
        ordinals=tuple(device.ordinal for device in devices),
        nodes=nodes,
        groups=_groups(nodes),
        share=min((share.share for share in shares), default=1),
        memory_bytes=_least(share.memory_bytes for share in shares),
        total_bytes=_least(device.memory_bytes for device in devices),
    )


def fault_of(claim: Claim, inventory: Inventory) -> str | None:
    """Returns what is wrong with the devices that were reserved; None if all are there.

    Raises:
        Unavailable: Nothing can be said, as the drivers do not answer.
    """
    known = {device.id for device in inventory.devices}
    missing = [share.device_id for share in claim.held if share.device_id not in known]
    if not missing:
        return None
    if not known and inventory.faults:
        raise Unavailable(
            "the GPUs of the run cannot be looked at now", detail="; ".join(inventory.faults), code="gpus-silent"
        )
    gone = "; ".join((f"the GPU {', '.join(missing)} is not there any more", *inventory.faults))
    return f"{gone}; it was reserved for the run"


def _groups(nodes: tuple[str, ...]) -> tuple[int, ...]:
    """Returns the groups of device files; an engine says itself if one is not there."""
    found: dict[int, None] = {}
    for node in nodes:
        with suppress(OSError):
            found[os.stat(node).st_gid] = None
    return tuple(found)


def _least(sizes: Iterable[int | None]) -> int | None:
    """Returns the smallest size; None if one is not known."""
    known = list(sizes)
    return None if not known or None in known else min(size for size in known if size is not None)
