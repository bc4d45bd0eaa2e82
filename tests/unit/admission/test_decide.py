from dataclasses import replace
from datetime import timedelta

import pytest

from fetchml.admission.decide import Admit, Part, Refuse, Wait, decide, fits_never
from fetchml.admission.lab import Forecast, Holding, HostState, Lab, Limits, Stranger
from fetchml.admission.needs import Needs
from fetchml.admission.policy import EASY, STRICT_FIFO, Passing, Policy
from fetchml.admission.reasons import Blocker, Reason
from fetchml.models.resources import Arch, Device, DeviceShare, GpuVendor, HostCapacity, MemoryKind, ResourceRequest
from fetchml.models.units import GIB
from fetchml.testing.builders import MOMENT
from unit.admission.nodes import HOUR_S, host_of, run, words_of


def card(name: str, memory_gib: int | None = 24, vendor: GpuVendor = GpuVendor.NVIDIA, **fields: object) -> Device:
    return Device(id=name, vendor=vendor, memory_bytes=None if memory_gib is None else memory_gib * GIB, **fields)


def host(*devices: Device, name: str = "h", cpus: float = 8, memory_gib: int = 32, **state: object) -> HostState:
    return HostState(HostCapacity(host=name, cpus=cpus, memory_bytes=memory_gib * GIB, devices=devices), **state)


def cards(count: int, name: str = "h", **fields: object) -> HostState:
    return host(*(card(f"{name}-{number}") for number in range(count)), name=name, **fields)


def holding(run_id: str, *devices: str, where: str = "h", hours: float | None = None, **fields: object) -> Holding:
    shares = tuple(DeviceShare(device_id=name, share=1, memory_bytes=24 * GIB) for name in devices)
    forecast = None if hours is None else Forecast(hours * HOUR_S, hours * HOUR_S, "a test")
    return Holding(
        run_id,
        where,
        **{"cpus": 1, "memory_bytes": GIB, **fields},
        shares=shares,
        started_at=MOMENT,
        forecast=forecast,
    )


def decisions(queue, *hosts, held=(), policy=EASY, **fields):
    return decide(queue, Lab(hosts, tuple(held), **fields), policy, MOMENT)


def devices_of(decision):
    assert isinstance(decision, Admit), decision
    return [share.device_id for part in decision.parts for share in part.shares]


# Order


def test_an_empty_queue_needs_no_decision():
    assert decisions([], host()) == []


def test_a_run_that_fits_is_admitted():
    assert decisions([run("a")], host()) == [Admit("a", (Part("h"),))]


def test_higher_priority_goes_first_then_who_came_first_then_the_id():
    queue = [run("d", 1), run("c"), run("b"), run("a", 9, priority=9), run("e", priority=0)]
    assert [item.run_id for item in decisions(queue, host())] == ["a", "b", "c", "d", "e"]


def test_who_was_moved_up_last_goes_first_whatever_its_priority():
    queue = [
        run("a", priority=10),
        run("b", priority=0, moved_up_at=MOMENT),
        run("c", priority=0, moved_up_at=MOMENT + timedelta(1)),
    ]
    assert [item.run_id for item in decisions(queue, host())] == ["c", "b", "a"]


def test_who_waits_for_days_rises_to_the_highest_priority_that_waits_but_not_above_it():
    queue = [run("new", priority=7), run("old", -3 * 24 * 60, priority=5), run("older", -4 * 24 * 60, priority=5)]
    assert [item.run_id for item in decisions(queue, host())] == ["older", "old", "new"]
    queue[1] = run("old", -24 * 60 - 1, priority=5)
    assert [item.run_id for item in decisions(queue, host())] == ["older", "new", "old"]


def test_short_and_narrow_runs_go_first_until_others_have_waited_long():
    queue = [run("long", hours=40), run("wide", hours=2, gpus=4), run("short", hours=2, gpus=1)]
    assert [item.run_id for item in decisions(queue, cards(4), policy=Policy())] == ["short", "wide", "long"]
    queue[0] = run("long", -10 * 24 * 60, hours=40)
    assert next(item.run_id for item in decisions(queue, cards(4), policy=Policy())) == "long"


def test_who_used_less_goes_first_by_weight_where_usage_counts():
    queue = [run("adas", user="ada"), run("bobs", 1, user="bob")]
    policy = Policy(fair_share_power=1)
    usage = {"ada": 1000.0, "bob": 100.0}
    assert [item.run_id for item in decisions(queue, host(), policy=policy, usage=usage)] == ["bobs", "adas"]
    weighed = replace(policy, weights={"ada": 20})
    assert [item.run_id for item in decisions(queue, host(), policy=weighed, usage=usage)] == ["adas", "bobs"]
    nothing = {"ada": 0.0, "bob": 0.0}
    assert [item.run_id for item in decisions(queue, host(), policy=policy, usage=nothing)] == ["adas", "bobs"]


# What is missing


def test_a_run_waits_for_each_thing_that_is_missing_in_numbers():
    queue = [run("a", cpus=8, memory_bytes=32 * GIB, gpus=1, disk_bytes=2 * GIB)]
    here = HostState(cards(1).capacity.model_copy(update={"disk_bytes": 3 * GIB}))
    held = [holding("x", "h-0", cpus=2, memory_bytes=4 * GIB, disk_bytes=2 * GIB)]
    assert decisions(queue, here, held=held) == [
        Wait(
            "a",
            1,
            (
                Reason(Blocker.CPUS, 8, 6),
                Reason(Blocker.MEMORY, 32 * GIB, 28 * GIB),
                Reason(Blocker.DISK, 2 * GIB, GIB),
                Reason(Blocker.GPUS, 1, 0),
            ),
        )
    ]


def test_the_reasons_are_those_of_the_closest_host_and_shut_ones_are_counted():
    near, far = cards(8, "near"), cards(8, "far")
    shut = [cards(8, f"shut{number}", is_drained=True) for number in range(3)]
    held = [holding("x", "near-0", where="near"), holding("y", *(f"far-{n}" for n in range(5)), where="far")]
    (decision,) = decisions([run("a", gpus=8)], near, far, *shut, cards(8, "quiet", is_silent=True), held=held)
    assert words_of(decision) == ["needs 8 gpus, 7 free on near", "3 hosts are drained", "host quiet is silent"]


def test_a_lab_without_hosts_keeps_everybody_waiting():
    (decision,) = decisions([run("a")])
    assert decision == Wait("a", 1, (Reason(Blocker.NO_HOST, 1),))
    assert words_of(decision) == ["no host is in the lab"]


def test_a_device_in_use_by_a_stranger_is_not_handed_out_and_the_stranger_is_named():
    stranger = Stranger("h-0", 22 * GIB, ("python of bob (pid 4711), 22 GB",))
    (decision,) = decisions([run("a", gpus=1)], cards(1, strangers=(stranger,)))
    assert words_of(decision) == [
        "needs 1 gpus, 0 free",
        "h-0 on h is in use by python of bob (pid 4711), 22 GB",
    ]
    (decision,) = decisions([run("a", gpus=0.1)], cards(1, strangers=(stranger,)))
    assert words_of(decision) == ["h-0 on h is in use by python of bob (pid 4711), 22 GB"]
    assert devices_of(decisions([run("a", gpus=1)], cards(2, strangers=(stranger,)))[0]) == ["h-1"]


def test_a_device_that_does_not_answer_is_not_handed_out():
    (decision,) = decisions([run("a", gpus=2)], cards(2, suspended={"h-1": "GPU is lost"}))
    assert words_of(decision) == ["needs 2 gpus, 1 free", "h-1 on h does not answer: GPU is lost"]


def test_nobody_waits_behind_a_run_that_only_a_stranger_or_a_shut_host_keeps_from_starting():
    stranger = Stranger("h-0", None)
    queue = [run("all", gpus=8), run("one", 1, gpus=1)]
    assert [type(item) for item in decisions(queue, cards(8, strangers=(stranger,)))] == [Wait, Admit]
    queue = [run("there", host="b"), run("one", 1, gpus=1)]
    assert [type(item) for item in decisions(queue, cards(1), host(name="b", is_drained=True))] == [Wait, Admit]


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"cpus": 9}, Reason(Blocker.CPUS, 9, 8)),
        ({"memory_bytes": 33 * GIB}, Reason(Blocker.MEMORY, 33 * GIB, 32 * GIB)),
        ({"gpus": 2}, Reason(Blocker.GPUS, 2, 1)),
        ({"gpus": 1, "gpu_memory_bytes": 40 * GIB}, Reason(Blocker.GPU_MEMORY, 40 * GIB, 24 * GIB)),
        ({"gpus": 1, "gpu_memory_max_bytes": 10 * GIB}, Reason(Blocker.GPUS, 1, 0)),
        ({"gpus": 1, "gpu_vendor": GpuVendor.AMD}, Reason(Blocker.GPU_VENDOR, 1, 0, "h", who=("amd", "nvidia"))),
        ({"gpus": 1, "gpu_model": "H200"}, Reason(Blocker.GPU_MODEL, 1, 0, "h", who=("h200", "A100"))),
        ({"host": "moon"}, Reason(Blocker.HOST, where="moon")),
    ],
)
def test_what_no_host_can_ever_give_is_refused_and_keeps_nothing(asked, reason):
    here = host(card("h-0", model="A100"))
    if reason.where == "h" and reason.blocker is not Blocker.HOST:
        reason = replace(reason, where=None)
    queue = [run("never", -1, priority=9, **asked), run("b", cpus=8, gpus=1)]
    assert decisions(queue, here) == [Refuse("never", (reason,)), Admit("b", decisions(queue, here)[1].parts)]
    assert fits_never(queue[0].needs, [here]) == (reason,)
    assert str(reason)


@pytest.mark.parametrize("state", [{"is_drained": True}, {"is_silent": True}, {"suspended": {"h-0": "lost"}}])
def test_what_a_host_could_run_in_another_state_waits(state):
    assert fits_never(run("a", gpus=1).needs, [cards(1, **state)]) == ()
    assert isinstance(decisions([run("a", gpus=1)], cards(1, **state))[0], Wait)


def test_a_card_of_unknown_size_suits_a_run_that_asks_for_none():
    here = host(card("h-0", None))
    assert devices_of(decisions([run("a", gpus=1)], here)[0]) == ["h-0"]
    assert [type(item) for item in decisions([run("a", gpus=0.5), run("b", 1, gpus=0.5)], here)] == [Admit, Admit]
    assert isinstance(decisions([run("a", gpus=1, gpu_memory_bytes=GIB)], here)[0], Refuse)


def test_a_host_that_is_over_full_says_that_nothing_is_free():
    (decision,) = decisions([run("a")], host(), held=[holding("x", cpus=12, memory_bytes=64 * GIB)])
    assert decision.reasons == (Reason(Blocker.CPUS, 1, 0), Reason(Blocker.MEMORY, GIB, 0))


def test_fractions_that_fit_exactly_are_admitted():
    assert isinstance(decisions([run("b", cpus=0.1)], host(cpus=1), held=[holding("a", cpus=0.9)])[0], Admit)
    thirds = [run(f"r{number}", number, gpus=1 / 3) for number in range(4)]
    assert [type(item) for item in decisions(thirds, cards(1))] == [Admit, Admit, Admit, Wait]


def test_an_arch_that_was_asked_for_and_is_not_the_images_is_nowhere():
    request = ResourceRequest(arch=Arch.ARM64)
    assert Needs.of(request, archs=("amd64",)).archs not in ((), ("amd64",), ("arm64",))
    assert Needs.of(request, archs=("amd64", "arm64")).archs == ("arm64",)


# Where a run goes


def test_the_smallest_card_that_fits_is_taken():
    here = host(card("h-80", 80), card("h-24", 24), card("h-40", 40))
    queue = [run("a", gpus=1, gpu_memory_bytes=30 * GIB), run("b", 1, gpus=1)]
    assert [devices_of(item) for item in decisions(queue, here)] == [["h-40"], ["h-24"]]
    there = host(card("i-16", 16), name="i")
    assert host_of(decisions([queue[1]], here, there)[0]) == "i"


def test_the_fullest_host_and_the_fullest_card_are_taken():
    held = [holding("x", "b-0", "b-1", where="b"), holding("y", "c-0", where="c")]
    assert host_of(decisions([run("a", gpus=2)], cards(8, "a"), cards(8, "b"), cards(8, "c"), held=held)[0]) == "b"
    half = Holding("x", "h", 1, GIB, (DeviceShare(device_id="h-1", share=0.5, memory_bytes=GIB),))
    assert devices_of(decisions([run("a", gpus=0.5)], cards(3), held=[half])[0]) == ["h-1"]


def test_a_share_takes_memory_and_a_whole_card_takes_all_of_it():
    queue = [run("a", gpus=0.5, gpu_memory_bytes=20 * GIB), run("b", 1, gpus=0.5)]
    first, second = decisions(queue, cards(1))
    assert first.parts[0].shares == (DeviceShare(device_id="h-0", share=0.5, memory_bytes=20 * GIB),)
    assert words_of(second) == ["needs 12G gpu memory, 4G free"]


def test_the_memory_of_a_shared_device_is_missing_on_the_host():
    here = host(card("h-0", 16, memory_kind=MemoryKind.SHARED), memory_gib=20)
    first, second = decisions([run("a", gpus=1, gpu_memory_bytes=12 * GIB), run("b", 1, memory_bytes=8 * GIB)], here)
    assert isinstance(first, Admit)
    assert words_of(second) == ["needs 8G memory, 7G free"]
    soft = decisions([run("a", gpus=1, memory_bytes=8 * GIB)], here)[0]
    assert soft.parts[0].shares[0].memory_bytes == 12 * GIB  # what its own memory leaves
    (refused,) = decisions([run("a", gpus=1, gpu_memory_bytes=16 * GIB, memory_bytes=8 * GIB)], here)
    assert words_of(refused) == ["needs 24G memory, 20G free"]


def test_a_device_that_vanished_with_its_holder_is_no_error():
    assert isinstance(decisions([run("a", gpus=1)], cards(1), held=[holding("x", "gone")])[0], Admit)


# Who may pass whom


def test_a_free_card_is_kept_for_a_run_that_waits_for_two():
    queue = [run("two", gpus=2), run("one", 1, gpus=1)]
    first, second = decisions(queue, cards(2), held=[holding("x", "h-0")])
    assert isinstance(first, Wait)
    assert first.starts_by is None
    assert words_of(second) == ["needs 1 gpus, 0 free (kept for two)"]


def test_a_run_that_ends_before_the_first_starts_may_pass_it():
    queue = [run("two", gpus=2), run("long", 1, gpus=1, hours=3), run("short", 2, gpus=1, hours=2)]
    first, second, third = decisions(queue, cards(2), held=[holding("x", "h-0", hours=2)])
    assert first == Wait("two", 1, (Reason(Blocker.GPUS, 2, 1),), MOMENT + timedelta(hours=2))
    assert isinstance(second, Wait)
    assert devices_of(third) == ["h-1"]


def test_a_run_that_uses_only_what_is_left_beside_the_first_may_pass_it():
    queue = [run("two", gpus=2), run("long", 1, gpus=1), run("cpu", 2), run("next", 3, gpus=1)]
    first, second, third, fourth = decisions(queue, cards(4), held=[holding("x", "h-0", "h-1", "h-2", hours=2)])
    assert isinstance(first, Wait)
    assert devices_of(second) == ["h-3"]
    assert isinstance(third, Admit)
    assert isinstance(fourth, Wait)


def test_a_run_that_is_overdue_may_end_any_moment():
    queue = [run("two", gpus=2), run("short", 1, gpus=1, hours=0.1)]
    late = replace(holding("x", "h-0", hours=1), started_at=MOMENT - timedelta(hours=2))
    first, second = decisions(queue, cards(2), held=[late])
    assert first.starts_by == MOMENT
    assert isinstance(second, Wait)


def test_other_hosts_are_open_while_one_is_kept():
    queue = [run("all", gpus=8), *(run(f"r{number}", 1 + number, gpus=1) for number in range(3))]
    held = [
        holding("x", *(f"a-{n}" for n in range(7)), where="a", hours=1, cpus=0.1),
        holding("y", *(f"b-{n}" for n in range(6)), where="b", hours=2, cpus=0.1),
    ]
    found = decisions(queue, cards(8, "a"), cards(8, "b"), held=held)
    assert [type(item) for item in found] == [Wait, Admit, Admit, Wait]
    assert [host_of(item) for item in found[1:3]] == ["b", "b"]


def test_strict_fifo_lets_nobody_pass_and_any_lets_everybody():
    queue = [run("two", gpus=2), run("one", 1, gpus=1), run("again", 2, gpus=2)]
    held = [holding("x", "h-0")]
    first, second, third = decisions(queue, cards(2), held=held, policy=STRICT_FIFO)
    assert isinstance(first, Wait)
    assert words_of(second) == words_of(third) == ["waits for its turn (kept for two)"]
    passing = replace(EASY, passing=Passing.ANY)
    assert [type(item) for item in decisions(queue, cards(2), held=held, policy=passing)] == [Wait, Admit, Wait]


def test_positions_count_those_that_wait():
    queue = [run("a", cpus=9), run("b", 1, cpus=8), run("c", 2), run("d", 3)]
    assert [item.position for item in decisions(queue, host(cpus=8)) if isinstance(item, Wait)] == [1, 2]


# Limits


@pytest.mark.parametrize(
    ("fields", "policy", "text"),
    [
        ({"run_limit": 2}, EASY, "the limit of the pool leaves 0 runs, needs 1"),
        ({"queue_limits": {5: 2}}, EASY, "the limit of priority 5 leaves 0 runs, needs 1"),
        ({}, replace(EASY, user_limit=Limits(runs=2)), "the limit of user ada leaves 0 runs, needs 1"),
        ({}, replace(EASY, user_limit=Limits(gpus=2)), "the limit of user ada leaves 0 gpus, needs 1"),
        ({}, replace(EASY, user_limits={"ada": Limits(gpus=2.5)}), "the limit of user ada leaves 0.5 gpus, needs 1"),
        ({}, replace(EASY, group_limits={"g": Limits(gpus=2)}), "the limit of group g leaves 0 gpus, needs 1"),
    ],
)
def test_a_limit_holds_back_whom_it_is_for_and_nobody_else(fields, policy, text):
    if "queue_limits" in fields:
        fields = {**fields, "started_by_priority": {5: 1}}
    queue = [run(f"r{number}", number, gpus=1, user="ada", group="g") for number in range(3)]
    queue.append(run("bobs", 9, gpus=1, user="bob", priority=4))
    held = [holding("x", "h-0", user="ada", group="g")]
    found = decisions(queue, cards(8), held=held, policy=policy, **fields)
    assert [type(item) for item in found[:3]] == [Admit, Wait, Wait]
    assert words_of(found[1]) == [text]
    assert all(reason.blocker.is_limit for reason in found[1].reasons)
    assert isinstance(found[3], Wait if "run_limit" in fields else Admit)


def test_a_run_on_two_hosts_counts_as_one_run():
    held = [holding("x", "a-0", where="a", user="u"), holding("x", "b-0", where="b", user="u")]
    lab_limit = Lab((cards(2, "a"), cards(2, "b")), tuple(held), run_limit=2)
    policy = replace(EASY, user_limit=Limits(runs=2))
    assert isinstance(decide([run("a", user="u")], lab_limit, policy, MOMENT)[0], Admit)


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (Reason(Blocker.CPUS, 8, 2.5), "needs 8 cpus, 2.5 free"),
        (Reason(Blocker.MEMORY, 8 * GIB, 0), "needs 8G memory, 0B free"),
        (Reason(Blocker.GPUS, 2, 1, kept_for="2026-11-20_k3f9q2"), "needs 2 gpus, 1 free (kept for 2026-11-20_k3f9q2)"),
        (
            Reason(Blocker.GPU_MEMORY_UNKNOWN, GIB, where="a"),
            "needs 1G gpu memory, and what others use is not known on a",
        ),
        (Reason(Blocker.DEDICATED, where="a"), "host a is kept for nobody"),
        (Reason(Blocker.STRANGERS, where="GPU-1 on a"), "GPU-1 on a is in use by processes that fetchml did not start"),
        (Reason(Blocker.NO_HOST, 3, 1), "needs 3 hosts together, only 1 that could run it"),
        (Reason(Blocker.NO_HOST, 3, 0), "needs 3 hosts together, none that could run it"),
        (Reason(Blocker.ARCH, where="a", who=("arm64", "amd64")), "needs a host of arm64, a has amd64"),
    ],
)
def test_a_reason_is_a_sentence_with_numbers(reason, text):
    assert str(reason) == text


@pytest.mark.parametrize("blocker", list(Blocker))
def test_every_reason_has_words(blocker):
    assert str(Reason(blocker, 1, 0, where="here", who=("one", "two"))) != str(blocker)
