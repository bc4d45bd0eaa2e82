"""What no decision may ever do, whatever the lab and the queue."""

import random
from collections import defaultdict
from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from fetchml.admission.decide import Admit, Refuse, Wait, decide, fits_never
from fetchml.admission.lab import Forecast, Holding, HostState, Lab, Limits, Pending, Stranger
from fetchml.admission.policy import EASY, STRICT_FIFO, Passing, Policy
from fetchml.admission.reserve import ends_at, reserve
from fetchml.admission.room import Room
from fetchml.models.resources import Device, GpuVendor, HostCapacity, MemoryKind, ResourceRequest
from fetchml.models.units import GIB
from fetchml.testing.builders import MOMENT
from unit.admission.nodes import run

POLICIES = st.sampled_from(
    [Policy(), EASY, STRICT_FIFO, replace(EASY, passing=Passing.ANY), Policy(user_limit=Limits(gpus=2, runs=3))]
)
FORECASTS = st.none() | st.integers(1, 6).map(lambda hours: Forecast(hours * 1800, hours * 3600, "a test"))
REQUESTS = st.builds(
    ResourceRequest,
    gpus=st.sampled_from([0, 0, 0.3, 0.5, 1, 1, 2, 3]),
    gpu_memory_bytes=st.sampled_from([None, None, 6 * GIB, 20 * GIB]),
    gpu_vendor=st.sampled_from([None, None, GpuVendor.NVIDIA, GpuVendor.AMD]),
    cpus=st.integers(1, 6),
    memory_bytes=st.integers(1, 12).map(lambda gib: gib * GIB),
)


@st.composite
def hosts(draw: st.DrawFn, name: str) -> HostState:
    devices = tuple(
        Device(
            id=f"{name}-{number}",
            vendor=draw(st.sampled_from([GpuVendor.NVIDIA, GpuVendor.NVIDIA, GpuVendor.AMD])),
            memory_bytes=draw(st.sampled_from([None, 8 * GIB, 24 * GIB, 24 * GIB])),
            memory_kind=draw(st.sampled_from([MemoryKind.DEDICATED, MemoryKind.DEDICATED, MemoryKind.SHARED])),
            slots=draw(st.sampled_from([None, None, 1, 2, 4])),
        )
        for number in range(draw(st.integers(0, 4)))
    )
    capacity = HostCapacity(
        host=name, cpus=draw(st.integers(1, 8)), memory_bytes=draw(st.integers(4, 32)) * GIB, devices=devices
    )
    strangers = tuple(Stranger(device.id, None) for device in devices[:1] if draw(st.integers(0, 5)) == 0)
    return HostState(capacity, is_drained=draw(st.integers(0, 7)) == 0, strangers=strangers)


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[Pending], Lab]:
    """Draws a lab in which something runs already, placed by decisions of its own, and a queue."""
    here = tuple(draw(hosts(name)) for name in "abc"[: draw(st.integers(1, 3))])
    older = [
        run(f"held{number}", -60, nodes=draw(st.sampled_from([1, 1, 1, 2])), user=draw(st.sampled_from("uv")))
        for number in range(draw(st.integers(0, 5)))
    ]
    older = [replace(item, request=draw(REQUESTS), forecast=draw(FORECASTS)) for item in older]
    started = MOMENT - timedelta(hours=draw(st.integers(0, 3)))
    lab = Lab(here, tuple(admitted(older, Lab(here), replace(EASY, passing=Passing.ANY), started)))
    queue = [
        Pending(
            f"run{number}",
            draw(st.integers(3, 6)),
            MOMENT - timedelta(minutes=draw(st.integers(0, 3))),
            request,
            user=draw(st.sampled_from("uv")),
            nodes=draw(st.sampled_from([1, 1, 1, 1, 2])),
            forecast=draw(FORECASTS),
        )
        for number, request in enumerate(draw(st.lists(REQUESTS, max_size=8)))
    ]
    return queue, lab


def admitted(queue: list[Pending], lab: Lab, policy: Policy, now=MOMENT) -> list[Holding]:
    """Returns what a decision hands out."""
    by_id = {item.run_id: item for item in queue}
    return [
        Holding(
            decision.run_id,
            part.host,
            by_id[decision.run_id].request.cpus,
            by_id[decision.run_id].request.memory_bytes,
            part.shares,
            user=by_id[decision.run_id].user,
            started_at=now,
            forecast=by_id[decision.run_id].forecast,
        )
        for decision in decide(queue, lab, policy, now)
        if isinstance(decision, Admit)
        for part in decision.parts
    ]


@given(situations(), POLICIES)
def test_nothing_is_ever_handed_out_twice(situation, policy):
    queue, lab = situation
    everything = [*lab.holding, *admitted(queue, lab, policy)]
    shares, device_memory = defaultdict[str, float](float), defaultdict[str, int](int)
    for item in everything:
        for share in item.shares:
            shares[share.device_id] += share.share
            device_memory[share.device_id] += share.memory_bytes or 0
    for state in lab.hosts:
        mine = [item for item in everything if item.host == state.name]
        from_host = sum(
            device_memory[device.id] for device in state.capacity.devices if device.memory_kind is MemoryKind.SHARED
        )
        assert sum(item.cpus for item in mine) <= state.capacity.cpus + 1e-6
        assert sum(item.memory_bytes for item in mine) + from_host <= state.capacity.memory_bytes
        for device in state.capacity.devices:
            assert shares[device.id] <= 1 + 1e-6
            assert device.memory_bytes is None or device_memory[device.id] <= device.memory_bytes


@given(situations(), POLICIES)
def test_what_is_handed_out_is_what_was_asked_for(situation, policy):
    queue, lab = situation
    by_id = {item.run_id: item for item in queue}
    devices = {device.id: device for state in lab.hosts for device in state.capacity.devices}
    closed = {stranger.device_id for state in lab.hosts for stranger in state.strangers}
    drained = {state.name for state in lab.hosts if state.is_drained}
    for decision in decide(queue, lab, policy, MOMENT):
        if not isinstance(decision, Admit):
            continue
        asked = by_id[decision.run_id]
        # A gang is all or nothing.
        assert len({part.host for part in decision.parts}) == len(decision.parts) == asked.nodes
        for part in decision.parts:
            assert part.host not in drained
            given_out = [devices[share.device_id] for share in part.shares]
            assert len({device.id for device in given_out}) == len(given_out) == -(-asked.request.gpus // 1)
            assert not closed & {device.id for device in given_out}
            for device, share in zip(given_out, part.shares, strict=True):
                assert asked.request.gpu_vendor in (None, device.vendor)
                assert (asked.request.gpu_memory_bytes or 0) <= (device.memory_bytes or 0)
                assert share.share >= min(asked.request.gpus, 1) - 1e-6
                assert device.slots is None or round(share.share * device.slots, 6) == int(share.share * device.slots)


@given(situations(), POLICIES)
def test_everybody_gets_one_answer_and_whoever_does_not_start_a_reason(situation, policy):
    queue, lab = situation
    decisions = decide(queue, lab, policy, MOMENT)
    assert sorted(item.run_id for item in queue) == sorted(item.run_id for item in decisions)
    waiting = [item for item in decisions if isinstance(item, Wait)]
    assert [item.position for item in waiting] == list(range(1, len(waiting) + 1))
    for decision in decisions:
        if not isinstance(decision, Admit):
            assert decision.reasons
            assert all(str(reason) for reason in decision.reasons)
            amounts = [reason for reason in decision.reasons if reason.needed and not reason.who and reason.where]
            assert all(
                reason.needed > reason.available >= 0 for reason in amounts if reason.blocker in ("cpus", "gpus")
            )


@given(situations(), POLICIES, st.randoms(use_true_random=False))
def test_the_same_situation_gives_the_same_decisions_in_whatever_order_it_is_told(situation, policy, chance):
    queue, lab = situation
    assert isinstance(chance, random.Random)
    other = replace(
        lab,
        hosts=tuple(chance.sample(lab.hosts, len(lab.hosts))),
        holding=tuple(chance.sample(lab.holding, len(lab.holding))),
    )
    assert decide(chance.sample(queue, len(queue)), other, policy, MOMENT) == decide(queue, lab, policy, MOMENT)


@given(situations())
def test_a_run_is_refused_exactly_when_the_idle_lab_could_not_take_it(situation):
    queue, lab = situation
    idle = Lab(tuple(HostState(state.capacity) for state in lab.hosts))
    for decision in decide(queue, lab, Policy(), MOMENT):
        alone = next(item for item in queue if item.run_id == decision.run_id)
        assert isinstance(decision, Refuse) is isinstance(decide([alone], idle, Policy(), MOMENT)[0], Refuse)
        assert isinstance(decision, Refuse) is bool(fits_never(alone.needs, lab.hosts))


@settings(max_examples=300)
@given(situations(), st.sampled_from([EASY, Policy()]))
def test_the_first_that_waits_is_never_delayed_by_those_that_pass_it(situation, policy):
    queue, lab = situation
    decisions = decide(queue, lab, policy, MOMENT)
    by_id = {item.run_id: item for item in queue}
    open_ = [state for state in lab.hosts if not state.is_drained]
    for place, decision in enumerate(decisions):
        if not isinstance(decision, Wait):
            continue
        head = by_id[decision.run_id]
        names = {item.run_id for item in decisions[place:]}
        given_out = admitted(queue, lab, policy)
        before = [*lab.holding, *(item for item in given_out if item.run_id not in names)]
        behind = [item for item in given_out if item.run_id in names]
        alone = starts(head, open_, before)
        if alone is None:  # a stranger or a shut host is in its way, and holds up nobody else
            continue
        assert starts(head, open_, [*before, *behind]) == alone
        return


def starts(head: Pending, open_: list[HostState], held: list[Holding]) -> float | None:
    """Returns when a run starts at the latest, by the forecasts of what is held."""
    rooms = [Room.of(state, [item for item in held if item.host == state.name]) for state in open_]
    ends = [(ends_at(item.started_at, item.forecast.upper_s if item.forecast else None, MOMENT), item) for item in held]
    found = reserve(head, rooms, ends, MOMENT)
    return None if found is None else found.starts_s


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 4), st.integers(1, 3), st.booleans(), st.randoms(use_true_random=False))
def test_a_wide_run_starts_in_the_end_however_many_narrow_ones_come(devices, length, known, chance):
    state = HostState(
        HostCapacity(
            host="h",
            cpus=100,
            memory_bytes=100 * GIB,
            devices=tuple(Device(id=f"d{n}", vendor=GpuVendor.NVIDIA, memory_bytes=GIB) for n in range(devices)),
        )
    )
    wide = run("wide", gpus=devices)
    held: list[Holding] = []
    narrow: list[Pending] = [run(f"n{number:05}", -1, gpus=1) for number in range(devices)]
    ends: dict[str, int] = {}
    for hour in range(24 * 30):
        now = MOMENT + timedelta(hours=hour)
        held = [item for item in held if ends[item.run_id] > hour]
        for _ in range(2 * devices):
            hours = length if known else None
            narrow.append(run(f"n{hour:05}{len(narrow):05}", 60 * hour, gpus=1, hours=hours, priority=6))
        queue = [wide, *narrow]
        started = admitted(queue, Lab((state,), tuple(held)), Policy(), now)
        names = {item.run_id for item in started}
        if "wide" in names:
            return
        ends |= {name: hour + chance.randint(1, length) for name in names}
        held += started
        narrow = [item for item in narrow if item.run_id not in names][-50:]
    raise AssertionError("the wide run waited for a month")
