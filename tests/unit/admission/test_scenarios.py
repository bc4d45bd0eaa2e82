"""The 14 scheduling scenarios of `requirements.md` §13, on its node table, with the present load."""

from dataclasses import replace
from datetime import timedelta

import pytest

from fetchml.admission.decide import Admit, Part, Refuse, Wait, decide, fits_never
from fetchml.admission.lab import Forecast, Limits
from fetchml.admission.needs import Needs
from fetchml.admission.policy import EASY, Policy
from fetchml.admission.reasons import Blocker
from fetchml.models.resources import Arch, DeviceShare, GpuVendor, MemoryKind
from fetchml.models.units import GIB
from fetchml.testing.builders import MOMENT
from unit.admission.nodes import (
    NODES,
    PRESENT,
    host_of,
    kept,
    lab,
    node,
    outcome,
    run,
    using,
    words_of,
)


def blockers(decision):
    assert isinstance(decision, Wait | Refuse)
    return [reason.blocker for reason in decision.reasons]


def test_01_half_a_cuda_card_waits_for_the_only_one_and_goes_nowhere_else():
    wanted = run(gpus=0.5, gpu_memory_bytes=3 * GIB, gpu_vendor=GpuVendor.NVIDIA)
    decision = outcome(wanted, lab(*PRESENT))
    assert isinstance(decision, Wait)
    assert words_of(decision) == ["needs 0.5 of one gpu, at most 0 of one free on elminster"]
    assert host_of(outcome(wanted, lab(*PRESENT[1:]))) == "elminster"


def test_02_a_share_alone_is_not_enough_where_nobody_knows_how_much_memory_is_left():
    wanted = run(gpus=0.2, gpu_memory_bytes=10 * GIB)
    decision = outcome(wanted, lab(*PRESENT))
    assert isinstance(decision, Wait)
    assert blockers(decision) == [Blocker.GPU_MEMORY_UNKNOWN]
    measured = (*PRESENT[:3], using("drizzt", 0.8, 3), using("danilo", 0.8, 5))
    assert host_of(outcome(wanted, lab(*measured))) == "danilo"  # 9 GB are left on drizzt, 11 on danilo
    measured = (*PRESENT[:3], using("drizzt", 0.8, 3), using("danilo", 0.8, 7))
    assert words_of(outcome(wanted, lab(*measured))) == ["needs 10G gpu memory, 9G free on danilo"]


def test_03_what_fits_only_a_dedicated_host_waits_for_its_end_or_is_impossible():
    wanted = run(gpus=1, gpu_memory_bytes=24 * GIB)
    decision = outcome(wanted, lab(khelben=kept("khelben", days=2)))
    assert isinstance(decision, Wait)
    assert words_of(decision) == ["host khelben is kept for ops until 2026-11-22 12:00 UTC"]
    decision = outcome(wanted, lab(khelben=kept("khelben")))
    assert isinstance(decision, Refuse)
    assert "host khelben is kept for ops" in words_of(decision)
    assert host_of(outcome(replace(wanted, user="ops"), lab(khelben=kept("khelben")))) == "khelben"
    assert host_of(outcome(wanted, lab(khelben=kept("khelben", days=-1)))) == "khelben"


def test_04_more_memory_than_any_card_has_is_impossible():
    wanted = run(gpus=1, gpu_memory_bytes=40 * GIB)
    reasons = fits_never(wanted.needs, list(NODES.values()))
    assert [str(reason) for reason in reasons] == ["needs 40G gpu memory, 32G free on khelben"]
    assert outcome(wanted, lab(*PRESENT)) == Refuse("run", reasons)


def test_05_what_is_left_on_two_cards_is_never_summed():
    wanted = run(gpus=0.5, gpu_vendor=GpuVendor.AMD)
    decision = outcome(wanted, lab(*PRESENT))
    assert isinstance(decision, Wait)
    assert words_of(decision) == ["needs 0.5 of one gpu, at most 0.2 of one free on drizzt"]


def test_06_a_gang_over_two_hosts_takes_both_or_nothing():
    wanted = run(gpus=1, nodes=2, gpu_vendor=GpuVendor.AMD)
    decision = outcome(wanted, lab())
    assert isinstance(decision, Admit)
    assert {part.host for part in decision.parts} == {"khelben", "drizzt"}
    half = lab(using("khelben", 1, 32, "training", forecast=Forecast(1, 7200, "a test"), started_at=MOMENT))
    other = run("other", 1, gpus=1, gpu_vendor=GpuVendor.AMD, hours=1)
    first, second = decide([wanted, other], half, EASY, MOMENT)
    assert isinstance(first, Wait)
    assert Blocker.NO_HOST in blockers(first)
    assert first.starts_by == MOMENT + timedelta(hours=2)
    assert host_of(second) == "drizzt"  # the gang holds nothing of it meanwhile


def test_07_a_cuda_gang_of_two_is_impossible_with_one_cuda_card():
    for wanted in (run(gpus=2, gpu_vendor=GpuVendor.NVIDIA), run(gpus=1, nodes=2, gpu_vendor=GpuVendor.NVIDIA)):
        assert isinstance(outcome(wanted, lab()), Refuse)
    assert words_of(outcome(run(gpus=2, gpu_vendor=GpuVendor.NVIDIA), lab())) == ["needs 2 gpus, 1 free on elminster"]


def test_08_an_image_runs_only_where_its_instruction_set_is():
    assert host_of(outcome(run(archs=("arm64",), memory_bytes=6 * GIB), lab(*PRESENT))) == "elaith"
    assert isinstance(outcome(run(archs=("arm64",), memory_bytes=9 * GIB), lab()), Refuse)
    pis = lab(without=[name for name, state in NODES.items() if state.capacity.arch is Arch.AMD64])
    refused = outcome(run(archs=("amd64",)), pis)
    assert isinstance(refused, Refuse)
    assert blockers(refused) == [Blocker.ARCH]
    light = run(archs=("amd64", "arm64"), memory_bytes=2 * GIB)
    assert host_of(outcome(light, lab(*PRESENT))) in ("durnan", "jarlaxle", "mirt", "volo")


def test_09_a_job_without_gpus_leaves_the_gpu_hosts_alone():
    wanted = run(memory_bytes=24 * GIB)
    assert host_of(outcome(wanted, lab(*PRESENT))) == "wulfgar"
    assert host_of(outcome(wanted, lab(*PRESENT, without=["wulfgar"]))) == "drizzt"  # the smallest that is left


@pytest.mark.parametrize(
    ("name", "kind", "gpu_gib", "left_gib"),
    [("danilo", MemoryKind.SHARED, 16, 46), ("danilo", MemoryKind.DEDICATED, 16, 62), ("khelben", None, 24, 94)],
)
def test_10_memory_that_is_the_hosts_is_counted_once(name, kind, gpu_gib, left_gib):
    state = NODES[name]
    if kind is not None:
        state = node("danilo", 22, 62, vendor=GpuVendor.INTEL, gpu_gib=16, kind=kind)
    alone = lab(without=[other for other in NODES if other != name], **{name: state})
    training = outcome(run(gpus=1, gpu_memory_bytes=gpu_gib * GIB, memory_bytes=GIB), alone)
    assert isinstance(training, Admit)
    held = using(name, 1, gpu_gib, memory_bytes=0)
    busy = replace(alone, holding=(held,))
    assert isinstance(outcome(run(memory_bytes=left_gib * GIB), busy), Admit)
    assert isinstance(outcome(run(memory_bytes=left_gib * GIB + GIB), busy), Wait | Refuse)


def test_11_a_task_of_a_drained_host_goes_elsewhere_only_if_its_maker_is_there():
    drained = replace(NODES["danilo"], is_drained=True)
    wanted = run(gpus=0.5, gpu_vendor=GpuVendor.INTEL)
    decision = outcome(wanted, lab(danilo=drained))
    assert isinstance(decision, Wait)
    assert words_of(decision) == ["host danilo is drained"]
    assert host_of(outcome(run(gpus=0.5), lab(danilo=drained))) == "elminster"


def test_12_two_slots_make_two_halves_and_one_slot_makes_the_second_wait():
    queue = [run("whisper", gpus=0.5), run("xtts", 1, gpus=0.5)]
    others = [name for name in NODES if name != "elminster"]
    for slots, shares in ((2, [0.5, 0.5]), (1, [1.0])):
        elminster = node("elminster", 16, 62, vendor=GpuVendor.NVIDIA, gpu_gib=8, slots=slots)
        decisions = decide(queue, lab(without=others, elminster=elminster), Policy(), MOMENT)
        taken = [share for item in decisions if isinstance(item, Admit) for part in item.parts for share in part.shares]
        assert [share.share for share in taken] == shares
        assert sum(share.memory_bytes for share in taken) == 8 * GIB
    assert words_of(decisions[1]) == ["needs 0.5 gpus, 0 free"]


def test_13_a_small_job_passes_a_waiting_gang_only_if_it_cannot_delay_it():
    gang = run("gang", gpus=1, nodes=2, gpu_vendor=GpuVendor.AMD, cpus=16, memory_bytes=20 * GIB)
    busy = lab(
        using("khelben", 1, 32, "training", forecast=Forecast(1, 7200, "a test"), started_at=MOMENT),
        without=[name for name in NODES if name not in ("khelben", "drizzt")],
    )
    for hours, passes in ((1, True), (3, False), (None, False)):
        small = run("small", 1, cpus=4, hours=hours, host="drizzt")
        first, second = decide([gang, small], busy, EASY, MOMENT)
        assert isinstance(first, Wait)
        assert isinstance(second, Admit) is passes
        if isinstance(second, Wait):
            assert words_of(second) == ["needs 4 cpus, 0 free on drizzt (kept for gang)"]
    # Beside the gang, as khelben has more cores than the gang needs there.
    assert decide([gang, run("light", 1, cpus=4)], busy, EASY, MOMENT)[1] == Admit("light", (Part("khelben"),))


def test_14_fractions_count_towards_a_users_limit():
    policy = Policy(user_limit=Limits(gpus=1))
    queue = [run(f"half{number}", number, gpus=0.5, user="ada") for number in range(3)]
    queue.append(run("bobs", 9, gpus=0.5, user="bob"))
    decisions = decide(queue, lab(), policy, MOMENT)
    assert [type(decision) for decision in decisions] == [Admit, Admit, Wait, Admit]
    assert words_of(decisions[2]) == ["the limit of user ada leaves 0 gpus, needs 0.5"]


def test_the_control_plane_never_gets_work():
    others = [name for name in NODES if name not in ("storm", "bruenor", "catti")]
    refused = outcome(run(), lab(without=others))
    assert isinstance(refused, Refuse)
    assert blockers(refused) == [Blocker.DEDICATED]
    assert Needs.of(run().request) == run().needs


def test_a_share_names_the_device_it_is_on():
    decision = outcome(run(gpus=0.25, gpu_vendor=GpuVendor.NVIDIA), lab())
    share = DeviceShare(device_id="elminster-gpu", share=0.25, memory_bytes=2 * GIB)
    assert decision == Admit("run", (Part("elminster", (share,)),))
