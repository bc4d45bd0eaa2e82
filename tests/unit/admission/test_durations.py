from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchml.admission.durations import Bursts, Durations, Traits
from fetchml.admission.usage import DecayedUsage
from fetchml.testing.builders import MOMENT


def taught(*runs: tuple[Traits, float]) -> Durations:
    durations = Durations()
    for traits, seconds in runs:
        durations.observe(traits, seconds)
    return durations


ADA = Traits("ada", 1)


def test_nothing_is_known_at_first():
    assert Durations().forecast(ADA) is None
    assert taught((ADA, 1), (ADA, 2)).forecast(ADA) is None


def test_a_limit_is_a_forecast_and_caps_others():
    alone = Durations().forecast(ADA, max_runtime_s=60)
    assert (alone.expected_s, alone.upper_s, alone.basis) == (60, 60, "its own limit")
    capped = taught(*[(ADA, 100)] * 3).forecast(ADA, max_runtime_s=60)
    assert (capped.expected_s, capped.upper_s) == (60, 60)


def test_the_mean_is_expected_and_nine_in_ten_stay_below_the_upper_end():
    found = taught(*((ADA, float(seconds)) for seconds in range(1, 11))).forecast(ADA)
    assert (found.expected_s, found.upper_s) == (5.5, 9)
    assert found.basis == "10 runs of ada with 1 GPU"


@pytest.mark.parametrize(
    ("known", "basis"),
    [
        (Traits("ada", 1, "train"), "3 runs of ada called train with 1 GPU"),
        (Traits("ada", 1, "other"), "3 runs of ada with 1 GPU"),
        (Traits("ada", 8, "train"), "3 runs of ada"),
        (Traits("bob", 1, "train"), "3 runs with 1 GPU"),
        (Traits("bob", 8, "train"), "3 runs"),
    ],
)
def test_the_narrowest_circle_that_is_known_decides(known, basis):
    everybody = [Traits("ada", 1, "train"), known]
    found = taught((everybody[1], 7), (everybody[1], 7), (everybody[1], 7)).forecast(everybody[0])
    assert (found.expected_s, found.basis) == (7, basis)


def test_two_that_were_queued_together_tell_more_than_all_others():
    sweep = Traits("ada", 1, "train", 7)
    found = taught(*[(Traits("ada", 1, "train", 6), 1000)] * 20, (sweep, 10), (sweep, 10)).forecast(sweep)
    assert (found.expected_s, found.basis) == (10, "2 runs of ada queued together with it")


def test_a_burst_is_what_one_queues_for_the_same_gpus_without_a_pause():
    bursts = Bursts()
    calls = [("ada", 1, 0), ("bob", 1, 1), ("ada", 1, 50), ("ada", 8, 55), ("ada", 1, 110), ("ada", 1, 171)]
    first, bobs, second, wide, third, later = (bursts.of(*call) for call in calls)
    assert first == second == third
    assert len({first, bobs, wide, later}) == 4


def test_only_longer_runs_tell_something_of_one_that_is_still_going():
    durations = taught(*((ADA, seconds) for seconds in (10, 10, 10, 100, 300)))
    assert durations.forecast(ADA, elapsed_s=50).expected_s == 200
    assert durations.forecast(ADA, elapsed_s=50).upper_s == 300
    late = durations.forecast(ADA, elapsed_s=400)
    assert (late.expected_s, late.upper_s) == (800, 800)


def test_what_is_long_ago_is_forgotten():
    durations = taught(*[(ADA, 1000)] * 5, *[(ADA, 10)] * 100)
    assert durations.forecast(ADA).expected_s == 10
    assert durations.forecast(ADA).upper_s == 10


@given(st.lists(st.floats(0, 1e6), min_size=3, max_size=150), st.floats(0, 1e6))
def test_a_forecast_lies_within_what_was_seen_and_after_now(seen, elapsed_s):
    found = taught(*((ADA, seconds) for seconds in seen)).forecast(ADA, elapsed_s=elapsed_s)
    assert found.expected_s <= max(*seen, 2 * elapsed_s) * (1 + 1e-9)
    assert found.expected_s >= elapsed_s * (1 - 1e-9) or elapsed_s == 0
    assert min(seen) <= found.upper_s <= max(*seen, 2 * elapsed_s)


def test_usage_halves_with_every_half_life():
    usage = DecayedUsage(half_life_s=3600)
    usage.add("ada", 100, MOMENT)
    usage.add("ada", 100, MOMENT + timedelta(hours=1))
    assert usage.at(MOMENT + timedelta(hours=1)) == {"ada": 150}
    assert usage.at(MOMENT + timedelta(hours=2)) == {"ada": 75}


def test_usage_that_is_told_late_has_faded_already():
    first, second = DecayedUsage(3600), DecayedUsage(3600)
    for hour, amount in ((0, 100), (2, 40)):
        first.add("ada", amount, MOMENT + timedelta(hours=hour))
    for hour, amount in ((2, 40), (0, 100)):
        second.add("ada", amount, MOMENT + timedelta(hours=hour))
    assert first.at(MOMENT + timedelta(hours=3)) == second.at(MOMENT + timedelta(hours=3))
