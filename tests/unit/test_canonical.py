import functools
import inspect
import json
import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchml.canonical import MAX_DEPTH, canonical_bytes, canonical_sha256, plain_canonical_bytes
from fetchml.errors import ConfigError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "{}"),
        ({"b": 1, "a": [True, None, "x"]}, '{"a":[true,null,"x"],"b":1}'),
        # RFC 8785 section 3.2.3: keys are sorted by UTF-16 code units, not by code points.
        ({"\U0001f600": 1, "\ufb33": 2, "\u20ac": 3, "\r": 4, "1": 5}, '{"\\r":4,"1":5,"€":3,"😀":1,"\ufb33":2}'),
        # Section 3.2.2.2: only what must be escaped is.
        ({"s": '\x00\x1f"\\/\b\t\n\f\r\x7f\u2028é'}, '{"s":"\\u0000\\u001f\\"\\\\/\\b\\t\\n\\f\\r\x7f\u2028é"}'),
        # Appendix B: numbers as ECMAScript writes them.
        ({"n": 1.0}, '{"n":1}'),
        ({"n": -0.0}, '{"n":0}'),
        ({"n": 1e21}, '{"n":1e+21}'),
        ({"n": 333333333.33333329}, '{"n":333333333.3333333}'),
        ({"n": 5e-324}, '{"n":5e-324}'),
        ({"n": 1.7976931348623157e308}, '{"n":1.7976931348623157e+308}'),
        ({"n": 1e-7}, '{"n":1e-7}'),
        ({"n": 0.000001}, '{"n":0.000001}'),
        ({"n": 2**53 - 1}, '{"n":9007199254740991}'),
    ],
)
def test_a_value_has_one_form(value, text):
    assert canonical_bytes(value) == text.encode()


def test_the_digest_is_of_the_form():
    assert canonical_sha256({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@pytest.mark.parametrize(
    "value",
    [
        {"n": math.nan},
        {"n": math.inf},
        {"n": -math.inf},
        {"n": 2**53},
        {"n": -(2**53)},
        {"n": 10**5000},
        {"s": "\ud800"},
        {"\udfff": 1},
        {"o": object()},
        {"b": b"bytes"},
        {"s": {1, 2}},
        {1: "a key that is no text"},
    ],
    ids=[
        "nan",
        "inf",
        "-inf",
        "2^53",
        "-2^53",
        "huge",
        "surrogate",
        "key",
        "object",
        "bytes",
        "set",
        "int key",
    ],
)
def test_what_json_cannot_hold_is_refused(value):
    with pytest.raises(ConfigError, match="canonical JSON"):
        canonical_bytes(value)


def nested(wrap, levels):
    """Returns an object of that many levels, itself among them."""
    value = None
    for _ in range(levels - 1):
        value = wrap(value)
    return {"a": value}


def holding_itself():
    value = {}
    value["a"] = [value, value]
    return value


def with_frames_left(count, call):
    def deeper(frames):
        return deeper(frames - 1) if frames else call()

    return deeper(sys.getrecursionlimit() - len(inspect.stack(0)) - count)


each_wrap = pytest.mark.parametrize(
    "wrap",
    [lambda value: {"a": value}, lambda value: [0, value], lambda value: (value,)],
    ids=["dict", "list", "tuple"],
)


@each_wrap
def test_depth_is_counted_up_to_its_cap(wrap):
    assert canonical_bytes(nested(wrap, MAX_DEPTH))
    with pytest.raises(ConfigError, match=f"canonical JSON\nit is nested deeper than {MAX_DEPTH} levels"):
        canonical_bytes(nested(wrap, MAX_DEPTH + 1))


@each_wrap
def test_the_cap_is_the_same_where_little_of_the_stack_is_left(wrap):
    frames = 2 * MAX_DEPTH
    assert with_frames_left(frames, functools.partial(canonical_bytes, nested(wrap, MAX_DEPTH)))
    for deep in (nested(wrap, MAX_DEPTH + 1), nested(wrap, 100_000)):
        with pytest.raises(ConfigError, match="nested deeper"):
            with_frames_left(frames, functools.partial(canonical_bytes, deep))


def test_a_value_that_holds_itself_is_refused():
    with pytest.raises(ConfigError, match="nested deeper"):
        canonical_bytes(holding_itself())


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), JSON, max_size=4))
def test_the_form_is_json_of_the_same_value_whatever_the_order_of_keys(value):
    form = canonical_bytes(value)
    # JSON has one kind of number: 2e+16 is written without its exponent.
    read = json.loads(form, parse_int=float)
    assert read == value
    assert canonical_bytes(dict(reversed(value.items()))) == form
    assert canonical_bytes(read) == form


ASCII = st.characters(max_codepoint=0x7F)
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(ASCII, max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(ASCII, max_size=4), PLAIN, max_size=4))
def test_a_plain_value_has_the_same_form_by_the_fast_way(value):
    assert plain_canonical_bytes(value) == canonical_bytes(value)
