"""A manifest as bytes: what fetchml wrote is told from what only means the same."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchml.errors import Corrupt
from fetchml.models.manifest import MetricSummary
from fetchml.store.document import is_as_written, read_document
from fetchml.testing.builders import make_manifest

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
SUMMARIES = st.builds(MetricSummary, last=NUMBERS, minimum=NUMBERS, maximum=NUMBERS, count=st.integers(1, 2**53 - 1))


@given(st.dictionaries(TEXT, SUMMARIES, max_size=4), st.lists(TEXT, max_size=3))
def test_both_ways_of_writing_a_manifest_are_known(metrics, warnings):
    manifest = make_manifest(metrics=metrics, warnings=tuple(warnings))
    sealed = manifest.model_dump_json(indent=2).encode() + b"\n"
    edited = json.dumps(json.loads(sealed), indent=2, ensure_ascii=False).encode() + b"\n"
    assert is_as_written(sealed)
    assert is_as_written(edited)
    assert read_document(sealed) == read_document(edited) == json.loads(sealed)


@pytest.mark.parametrize(
    "content",
    [
        b'{\n  "a": 1.50\n}\n',
        b'{\n  "a": 1E-7\n}\n',
        b'{\n  "a": 0.30000000000000005\n}\n',
        b'{\n  "a": -0\n}\n',
        b'{\n  "a": "\\u0041"\n}\n',
        b'{\n  "a": "\\u001B"\n}\n',
        b'{"a": 1}\n',
        b'{\n  "a": 1\n}',
        b'{\n  "a": 1,\n  "a": 1\n}\n',
        b"{",
    ],
    ids=repr,
)
def test_another_spelling_is_told(content):
    assert not is_as_written(content)


def test_a_key_that_is_there_twice_is_refused_wherever_it_is():
    for content in (b'{"a": 1, "a": 1}', b'{"b": [{"a": 1, "c": 2, "a": 3}]}'):
        with pytest.raises(Corrupt, match="the key `a` is there twice"):
            read_document(content)
