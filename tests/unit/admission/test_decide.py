import random
from datetime import timedelta
from itertools import chain, combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fetchml.admission.decide import (
    Admit,
    Holding,
    Pending,
    Reason,
    Refuse,
    Resource,
    Wait,
    decide,
    fits_never,
)
from fetchml.models.resources import Device, GpuVendor, HostCapacity, ResourceRequest
from fetchml.models.units import GIB
from fetchml.testing.builders import MOMENT


def card(name: str, memory_gib: int | None = 24, vendor: GpuVendor = GpuVendor.NVIDIA) -> Device:
    return Device(id=name, vendor=vendor, memory_bytes=None if memory_gib is None else memory_gib * GIB)


def host(*devices: Device, cpus: float = 8, memory_gib: int = 32) -> HostCapacity:
    return HostCapacity(host="h", cpus=cpus, memory_bytes=memory_gib * GIB, devices=devices)


def pending(run_id: str, priority: int = 5, minute: int = 0, **request: object) -> Pending:
    fields = {"cpus": 1, "memory_bytes": GIB, **request}
    return Pending(run_id, priority, MOMENT + timedelta(minutes=minute), ResourceRequest(**fields))


def holding(run_id: str, *devices: str, cpus: float = 1, memory_gib: int = 1) -> Holding:
    return Holding(run_id, cpus, memory_gib * GIB, devices)


# Examples


def test_an_empty_queue_needs_no_decision():
    assert decide([], [], host()) == []


def test_a_run_that_fits_is_admitted():
    assert decide([pending("a")], [], host()) == [Admit("a", ())]


def test_higher_priority_goes_first_then_who_came_first_then_the_id():
    queue = [pending("d", 5, 1), pending("c", 5, 0), pending("b", 5, 0), pending("a", 9, 9), pending("e", 0, 0)]
    assert [decision.run_id for decision in decide(queue, [], host())] == ["a", "b", "c", "d", "e"]


def test_a_run_waits_for_each_thing_that_is_missing_in_numbers():
    queue = [pending("a", cpus=8, memory_bytes=32 * GIB, gpus=1)]
    held = [holding("x", "GPU-a", cpus=2, memory_gib=4)]
    assert decide(queue, held, host(card("GPU-a"))) == [
        Wait(
            "a",
            1,
            (
                Reason(Resource.CPUS, 8, 6),
                Reason(Resource.MEMORY, 32 * GIB, 28 * GIB),
                Reason(Resource.GPUS, 1, 0),
            ),
        )
    ]


def test_what_waits_keeps_what_it_needs():
    queue = [pending("big", cpus=8), pending("small", minute=1, cpus=1)]
    assert decide(queue, [holding("x", cpus=1)], host()) == [
        Wait("big", 1, (Reason(Resource.CPUS, 8, 7),)),
        Wait("small", 2, (Reason(Resource.CPUS, 1, 0, "big"),)),
    ]


def test_a_later_run_uses_what_is_left_over():
    queue = [pending("gpu", gpus=1), pending("cpu", minute=1)]
    decisions = decide(queue, [holding("x", "GPU-a")], host(card("GPU-a")))
    assert decisions[0] == Wait("gpu", 1, (Reason(Resource.GPUS, 1, 0),))
    assert decisions[1] == Admit("cpu", ())


def test_a_free_card_is_kept_for_a_run_that_waits_for_two():
    queue = [pending("two", gpus=2), pending("one", minute=1, gpus=1)]
    decisions = decide(queue, [holding("x", "GPU-a")], host(card("GPU-a"), card("GPU-b")))
    assert [type(decision) for decision in decisions] == [Wait, Wait]
    assert decisions[1].reasons == (Reason(Resource.GPUS, 1, 0, "two"),)


def test_the_smallest_card_that_fits_is_taken():
    cards = [card("GPU-80", 80), card("GPU-24", 24), card("GPU-40", 40)]
    queue = [pending("a", gpus=1, gpu_memory_bytes=30 * GIB), pending("b", minute=1, gpus=1)]
    assert decide(queue, [], host(*cards)) == [Admit("a", ("GPU-40",)), Admit("b", ("GPU-24",))]


def test_cards_of_one_size_are_taken_in_order_of_their_ids():
    queue = [pending("a", gpus=2)]
    assert decide(queue, [], host(card("GPU-c"), card("GPU-a"), card("GPU-b"))) == [Admit("a", ("GPU-a", "GPU-b"))]


def test_a_share_of_a_card_takes_the_whole_card():
    queue = [pending("a", gpus=0.5), pending("b", minute=1, gpus=0.5)]
    assert [type(decision) for decision in decide(queue, [], host(card("GPU-a")))] == [Admit, Wait]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"cpus": 9}, Reason(Resource.CPUS, 9, 8)),
        ({"memory_bytes": 33 * GIB}, Reason(Resource.MEMORY, 33 * GIB, 32 * GIB)),
        ({"gpus": 2}, Reason(Resource.GPUS, 2, 1)),
        ({"gpus": 1, "gpu_memory_bytes": 40 * GIB}, Reason(Resource.GPUS, 1, 0)),
        ({"gpus": 1, "gpu_vendor": GpuVendor.AMD}, Reason(Resource.GPUS, 1, 0)),
    ],
)
def test_what_the_host_can_never_give_is_refused_and_keeps_nothing(request_, reason):
    here = host(card("GPU-a"))
    decisions = decide([pending("never", 9, **request_), pending("b", cpus=8, gpus=1)], [], here)
    assert decisions == [Refuse("never", (reason,)), Admit("b", ("GPU-a",))]
    assert fits_never(pending("never", **request_).request, here) == (reason,)


def test_a_card_of_unknown_size_suits_a_run_that_asks_for_none():
    here = host(card("GPU-a", None))
    assert decide([pending("a", gpus=1)], [], here) == [Admit("a", ("GPU-a",))]
    assert isinstance(decide([pending("a", gpus=1, gpu_memory_bytes=GIB)], [], here)[0], Refuse)


def test_a_host_that_is_over_full_says_that_nothing_is_free():
    held = [holding("x", cpus=12, memory_gib=64)]
    assert decide([pending("a")], held, host()) == [
        Wait("a", 1, (Reason(Resource.CPUS, 1, 0), Reason(Resource.MEMORY, GIB, 0)))
    ]


def test_fractions_of_a_core_that_fit_exactly_are_admitted():
    assert decide([pending("b", cpus=0.1)], [holding("a", cpus=0.9)], host(cpus=1)) == [Admit("b", ())]


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (Reason(Resource.CPUS, 8, 2.5), "needs 8 cpus, 2.5 free"),
        (Reason(Resource.MEMORY, 8 * GIB, 0), "needs 8G memory, 0B free"),
        (Reason(Resource.GPUS, 2, 1, "2026-11-20_k3f9q2"), "needs 2 gpus, 1 free (kept for 2026-11-20_k3f9q2)"),
    ],
)
def test_a_reason_is_a_sentence_with_numbers(reason, text):
    assert str(reason) == text


# Properties

REQUESTS = st.builds(
    ResourceRequest,
    gpus=st.sampled_from([0, 0, 0.5, 1, 2, 3]),
    gpu_memory_bytes=st.sampled_from([None, 20 * GIB, 40 * GIB]),
    gpu_vendor=st.sampled_from([None, None, GpuVendor.NVIDIA, GpuVendor.AMD]),
    cpus=st.integers(1, 9),
    memory_bytes=st.integers(1, 17).map(lambda gib: gib * GIB),
)
DEVICES = st.builds(
    Device,
    id=st.sampled_from([f"GPU-{letter}" for letter in "abcd"]),
    vendor=st.sampled_from([GpuVendor.NVIDIA, GpuVendor.NVIDIA, GpuVendor.AMD]),
    memory_bytes=st.sampled_from([None, 16 * GIB, 24 * GIB, 80 * GIB]),
)
HOSTS = st.builds(
    HostCapacity,
    host=st.just("h"),
    cpus=st.integers(1, 8),
    memory_bytes=st.integers(1, 16).map(lambda gib: gib * GIB),
    devices=st.lists(DEVICES, max_size=4, unique_by=lambda device: device.id).map(tuple),
)


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[Pending], list[Holding], HostCapacity]:
    """Draws a host, runs that fit on it together, and a queue."""
    here = draw(HOSTS)
    cpus, memory, free = here.cpus, here.memory_bytes, [device.id for device in here.devices]
    held: list[Holding] = []
    for number in range(draw(st.integers(0, 3))):
        taken = [free.pop() for _ in range(draw(st.integers(0, min(2, len(free)))))]
        some_cpus, some_memory = draw(st.integers(0, int(cpus))), draw(st.integers(0, memory // GIB)) * GIB
        cpus, memory = cpus - some_cpus, memory - some_memory
        held.append(Holding(f"held{number}", some_cpus, some_memory, tuple(taken)))
    queue = [
        Pending(f"run{number}", draw(st.integers(0, 3)), MOMENT + timedelta(minutes=draw(st.integers(0, 2))), request)
        for number, request in enumerate(draw(st.lists(REQUESTS, max_size=7)))
    ]
    return queue, held, here


def as_holding(decision: Admit, requests: dict[str, ResourceRequest]) -> Holding:
    request = requests[decision.run_id]
    return Holding(decision.run_id, request.cpus, request.memory_bytes, decision.device_ids)


@given(situations())
def test_every_run_gets_one_decision_in_order_of_priority_and_time(situation):
    queue, held, here = situation
    decisions = decide(queue, held, here)
    by_id = {run.run_id: run for run in queue}
    order = [(-by_id[d.run_id].priority, by_id[d.run_id].queued_at, d.run_id) for d in decisions]
    assert order == sorted(order)
    assert sorted(by_id) == sorted(decision.run_id for decision in decisions)


@given(situations(), st.randoms(use_true_random=False))
def test_the_same_situation_gives_the_same_decisions_in_whatever_order_it_is_told(situation, chance: random.Random):
    queue, held, here = situation
    other_queue, other_held = chance.sample(queue, len(queue)), chance.sample(held, len(held))
    assert decide(other_queue, other_held, here) == decide(queue, held, here)


@given(situations())
def test_no_device_is_given_twice_and_none_that_does_not_suit(situation):
    queue, held, here = situation
    requests = {run.run_id: run.request for run in queue}
    devices = {device.id: device for device in here.devices}
    given_out = [device for run in held for device in run.device_ids]
    for decision in decide(queue, held, here):
        if not isinstance(decision, Admit):
            continue
        request = requests[decision.run_id]
        given_out += decision.device_ids
        assert len(decision.device_ids) == -(-request.gpus // 1)
        for device in (devices[name] for name in decision.device_ids):
            assert request.gpu_vendor in (None, device.vendor)
            assert request.gpu_memory_bytes is None or request.gpu_memory_bytes <= (device.memory_bytes or 0)
    assert len(given_out) == len(set(given_out))


@given(situations())
def test_no_more_is_given_out_than_the_host_has(situation):
    queue, held, here = situation
    requests = {run.run_id: run.request for run in queue}
    admitted = [as_holding(d, requests) for d in decide(queue, held, here) if isinstance(d, Admit)]
    assert sum(run.cpus for run in (*held, *admitted)) <= here.cpus
    assert sum(run.memory_bytes for run in (*held, *admitted)) <= here.memory_bytes


@given(situations())
def test_whoever_waits_or_is_refused_is_told_why_in_numbers_that_say_so(situation):
    queue, held, here = situation
    decisions = decide(queue, held, here)
    waiting = [decision for decision in decisions if isinstance(decision, Wait)]
    assert [decision.position for decision in waiting] == list(range(1, len(waiting) + 1))
    for decision in decisions:
        if not isinstance(decision, Admit):
            assert decision.reasons
            assert all(reason.needed > reason.available >= 0 for reason in decision.reasons)
    for decision in waiting:
        ahead = None if decision.position == 1 else waiting[0].run_id
        assert {reason.reserved_for for reason in decision.reasons} == {ahead}


@given(situations())
def test_a_run_is_refused_exactly_when_the_empty_host_could_not_take_it(situation):
    queue, held, here = situation
    for decision in decide(queue, held, here):
        alone = next(run for run in queue if run.run_id == decision.run_id)
        assert isinstance(decision, Refuse) is isinstance(decide([alone], [], here)[0], Refuse)


@given(situations())
def test_of_two_equal_runs_the_one_with_less_priority_never_starts_alone(situation):
    queue, held, here = situation
    states = {decision.run_id: type(decision) for decision in decide(queue, held, here)}
    for run in queue:
        for other in queue:
            if run.request == other.request and run.priority > other.priority:
                assert (states[run.run_id], states[other.run_id]) != (Wait, Admit)


@settings(max_examples=150)
@given(situations())
def test_the_head_of_the_queue_is_never_delayed_by_a_run_behind_it(situation):
    queue, held, here = situation
    decisions = decide(queue, held, here)
    head = next((decision for decision in decisions if isinstance(decision, Wait)), None)
    if head is None:
        return
    requests = {run.run_id: run.request for run in queue}
    place = decisions.index(head)
    before = [*held, *(as_holding(d, requests) for d in decisions[:place] if isinstance(d, Admit))]
    behind = [as_holding(d, requests) for d in decisions[place:] if isinstance(d, Admit)]
    queue_of_one = [Pending(head.run_id, 5, MOMENT, requests[head.run_id])]
    # Whichever of the runs ahead end first: where the head could start without those behind it, it can with them.
    for still_there in chain.from_iterable(combinations(before, count) for count in range(len(before) + 1)):
        if isinstance(decide(queue_of_one, still_there, here)[0], Admit):
            assert isinstance(decide(queue_of_one, [*still_there, *behind], here)[0], Admit)
