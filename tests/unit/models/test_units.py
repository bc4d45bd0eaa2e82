import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchml.errors import ConfigError
from fetchml.models.units import (
    GIB,
    KIB,
    MAX_DURATION_S,
    MAX_SIZE_BYTES,
    MIB,
    TIB,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)

UNITS = {"": 1, "K": KIB, "M": MIB, "G": GIB, "T": TIB}


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("7b", 7),
        ("512K", 512 * KIB),
        ("512M", 512 * MIB),
        ("8G", 8 * GIB),
        ("8GB", 8 * GIB),
        ("8gib", 8 * GIB),
        ("1.5GiB", 3 * GIB // 2),
        ("0.5k", 512),
        ("1 g", GIB),
        (" 8G\n", 8 * GIB),
        ("1024T", MAX_SIZE_BYTES),
        ("0.000001T", 1_099_511),
    ],
)
def test_a_size_is_read_with_binary_multiples(text, size):
    assert parse_size(text) == size


HOSTILE_NUMBERS = [
    "",
    " ",
    "-1",
    "+1",
    "1,5",
    "1e3",
    "0x10",
    "NaN",
    "inf",
    "8\0",
    "8;reboot",
    "８",  # noqa: RUF001  # full-width digit
    "٨",
    "²",
    "\u200b8",
    pytest.param("9" * 5000, id="5000 digits"),
    pytest.param("x" * 1_000_000, id="a megabyte"),
]


@pytest.mark.parametrize("number", HOSTILE_NUMBERS)
def test_what_is_no_number_is_no_size(number):
    with pytest.raises(ConfigError):
        parse_size(number + "G")


@pytest.mark.parametrize(
    "text",
    ["G", "8GG", "8 G B", "1.G", ".5G", "8P", "8\u212a", "8\u041a", "1.1234567G", "1025T", "1024.1T", "9" * 16 + "T"],
)
def test_a_malformed_or_impossible_size_is_refused(text):
    with pytest.raises(ConfigError):
        parse_size(text)


@pytest.mark.parametrize(
    "text",
    ["5i", "5ib"],
)
def test_an_i_belongs_to_a_unit(text):
    with pytest.raises(ConfigError):
        parse_size(text)


def test_a_size_above_the_largest_says_which_is_the_largest():
    with pytest.raises(ConfigError) as caught:
        parse_size("2000T")
    assert caught.value.summary == "`2000T` is larger than any machine"
    assert "`1024T`" in str(caught.value)


@pytest.mark.parametrize("parse", [parse_size, parse_duration])
def test_an_error_shows_the_beginning_of_a_long_text_only(parse):
    with pytest.raises(ConfigError) as caught:
        parse("z" * 1_000_000)
    assert len(str(caught.value)) < 200


@given(st.text(max_size=30))
def test_any_text_is_a_size_in_range_or_refused(text):
    try:
        size = parse_size(text)
    except ConfigError:
        return
    assert 0 <= size <= MAX_SIZE_BYTES


@given(st.integers(0, MAX_SIZE_BYTES))
def test_a_number_of_bytes_is_that_many(size):
    assert parse_size(str(size)) == size


@given(st.integers(1, 1023), st.sampled_from(["K", "M", "G", "T"]))
def test_whole_units_survive_being_shown_and_read(count, unit):
    size = count * UNITS[unit]
    assert format_size(size) == f"{count}{unit}"
    assert parse_size(format_size(size)) == size


@given(st.integers(0, MAX_SIZE_BYTES))
def test_a_shown_size_is_within_five_percent(size):
    assert parse_size(format_size(size)) == pytest.approx(size, rel=0.05, abs=1)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (1023, "1023B"), (1024, "1K"), (3 * GIB // 2, "1.5G"), (100 * GIB + 1, "100G"), (-2 * GIB, "-2G")],
)
def test_a_size_is_shown_short(size, text):
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("90s", 90),
        ("45m", 2700),
        ("12h", 43_200),
        ("1h30m", 5400),
        ("2d", 172_800),
        ("1w", 604_800),
        ("366d", MAX_DURATION_S),
        ("1H", 3600),
        (" 90s ", 90),
        ("000000000090s", 90),
    ],
)
def test_a_duration_is_read_in_seconds(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("number", HOSTILE_NUMBERS)
def test_what_is_no_number_is_no_duration(number):
    with pytest.raises(ConfigError):
        parse_duration(number + "m")


@pytest.mark.parametrize(
    "text",
    [
        "5",
        "90",
        "1h30",
        "5 m",
        "1h 30m",
        "1.5h",
        "m",
        "h1",
        "1y",
        "1ms",
        "0s",
        "0h0m",
        "367d",
        "9" * 12 + "w",
        "1h\n30m",
    ],
)
def test_a_duration_needs_units_and_a_range(text):
    with pytest.raises(ConfigError):
        parse_duration(text)


@given(st.text(max_size=30))
def test_any_text_is_a_duration_in_range_or_refused(text):
    try:
        seconds = parse_duration(text)
    except ConfigError:
        return
    assert 0 < seconds <= MAX_DURATION_S


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0s"),
        (0, "0s"),
        (0.25, "0.2s"),
        (48, "48s"),
        (59.9, "59s"),
        (60, "1m"),
        (192, "3m12s"),
        (3600, "1h"),
        (3660, "1h1m"),
        (187_200, "2d4h"),
        (86_405, "1d"),
    ],
)
def test_a_duration_is_shown_in_two_units(seconds, text):
    assert format_duration(seconds) == text


@given(st.floats(0, 1e9))
def test_every_duration_can_be_shown(seconds):
    assert format_duration(seconds)[-1] in "smhd"
