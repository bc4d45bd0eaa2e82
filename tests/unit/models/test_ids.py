from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchml.models.ids import container_name, idempotency_key, is_digest, is_run_id, new_run_id

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def test_a_run_id_is_the_day_and_six_characters():
    run_id = new_run_id(NOON)
    assert run_id.startswith("2026-11-20_")
    assert len(run_id) == 17
    assert is_run_id(run_id)


def test_characters_that_are_mistaken_for_each_other_do_not_occur():
    drawn = {character for _ in range(300) for character in new_run_id(NOON)[11:]}
    assert len(drawn) == 32
    assert not drawn & set("l01o")


@given(st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31)))  # noqa: DTZ001  # made aware below
def test_every_new_id_has_the_form_of_one(moment):
    assert is_run_id(new_run_id(moment.replace(tzinfo=UTC)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-20",
        "2026-11-20_k3f9q",
        "2026-11-20_k3f9q22",
        "2026-11-20_k3f9q2\n",
        " 2026-11-20_k3f9q2",
        "2026-11-20_K3F9Q2",
        "2026-11-20_k3f9l2",
        "2026-11-20_k3f9o2",
        "2026-11-20_k3f9q0",
        "2026-02-30_k3f9q2",
        "0000-11-20_k3f9q2",
        "2026-13-01_k3f9q2",
        "２０２６-11-20_k3f9q2",  # noqa: RUF001  # full-width digits
        "../../../etc/pass",
        "2026-11-20/k3f9q2",
        "2026-11-20_k3f9q\0",
    ],
)
def test_what_is_no_run_id_is_told_apart(text):
    assert not is_run_id(text)


def test_a_leap_day_counts_only_in_a_leap_year():
    assert is_run_id("2028-02-29_k3f9q2")
    assert not is_run_id("2026-02-29_k3f9q2")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a" * 64, True),
        ("0123456789abcdef" * 4, True),
        ("A" * 64, False),
        ("a" * 63, False),
        ("a" * 65, False),
        ("g" * 64, False),
        ("a" * 64 + "\n", False),
        ("sha256:" + "a" * 57, False),
        ("１" * 64, False),  # noqa: RUF001  # full-width digits
        ("", False),
    ],
)
def test_a_digest_is_64_lower_case_hexadecimal_digits(text, expected):
    assert is_digest(text) is expected


def test_an_attempt_has_one_container_name_and_one_key():
    assert container_name("2026-11-20_k3f9q2", 2) == "fetchml-2026-11-20_k3f9q2-2"
    assert idempotency_key("2026-11-20_k3f9q2", 2) == "2026-11-20_k3f9q2:2"
