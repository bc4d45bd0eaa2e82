"""Rows 18 to 28 and 32 of the hostile inputs; the row is in the name of the test."""

import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fetchml.config.yaml_file import MAX_BYTES, MAX_DEPTH, load_yaml
from fetchml.errors import ConfigError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def read(file: Path, content: str | bytes) -> dict[str, object]:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load_yaml(file)


def refused(file: Path, content: str | bytes) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read(file, content)
    assert len(str(caught.value)) < 2048
    return caught.value


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def test_bad_018_an_alias_bomb_is_refused_before_anything_is_built(file):
    assert "anchors or aliases" in refused(file, BOMB).summary


@pytest.mark.parametrize("text", ["a: &x 1", "a: *x", "&x a: 1", "a: &x [1, *x]", "<<: *x"])
def test_bad_018_any_anchor_or_alias_is_refused(file, text):
    assert "anchors or aliases" in refused(file, text).summary


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system [true]",
        "a: !!python/name:os.system",
        "a: !!binary aGk=",
        "a: !!set {x}",
        "a: !!str 1",
        "a: !custom 1",
        "a: ! 1",
        "!!map {a: 1}",
        "!!python/object/new:os.system [true]: 1",
    ],
)
def test_bad_019_any_tag_is_refused(file, text):
    assert "YAML tag" in refused(file, text).summary


@pytest.mark.parametrize(
    "text",
    ["a: " + "[" * 3000 + "]" * 3000, "a: " + "{b: " * 3000, "- " * 3000, "a: " * 3000, "? " * 3000, "[" * 500_000],
    ids=["lists", "mappings", "block lists", "block mappings", "keys", "a megabyte of brackets"],
)
def test_bad_020_depth_is_refused_without_a_recursion_error(file, text):
    refused(file, text)


def test_bad_020_depth_is_counted_up_to_its_cap(file):
    inside = MAX_DEPTH - 1
    read(file, "a: " + "[" * inside + "]" * inside)
    refused(file, "a: " + "[" * (inside + 1) + "]" * (inside + 1))


@pytest.mark.parametrize(
    "text", ["a: 1\na: 2\n", "a: 1\na: 1\n", '{a: 1, "a": 2}', "x:\n  'a': 1\n  a: 2\n", "x: [{a: 1, a: 2}]"]
)
def test_bad_021_a_key_that_is_set_twice_is_refused(file, text):
    assert "`a` is set twice" in refused(file, text).summary


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("0", 0),
        ("-5", -5),
        ("12.50", 12.5),
        ("-0.5", -0.5),
        ("999999999999999999", 999999999999999999),
    ],
)
def test_bad_023_only_the_plain_words_and_numbers_have_a_type(file, text, value):
    found = read(file, f"a: {text}")["a"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "no",
        "NO",
        "yes",
        "on",
        "Off",
        "y",
        "True",
        "TRUE",
        "Null",
        "010",
        "0777",
        "0o10",
        "0x1F",
        "0b11",
        "1:30",
        "1_000",
        "+1",
        "1.",
        ".5",
        "2026-11-20",
        "2026-11-20 12:00:00",
        "1e3",
        "=",
        "<<",
    ],
)
def test_bad_023_norway_octal_sexagesimal_and_dates_are_text(file, text):
    assert read(file, f"a: {text}") == {"a": text}


@pytest.mark.parametrize("text", ["9101", "true", "null", "1.5"])
def test_bad_023_what_is_quoted_is_text(file, text):
    assert read(file, f"a: \"{text}\"\nb: '{text}'\n") == {"a": text, "b": text}


def test_bad_023_keys_are_text_whatever_they_look_like(file):
    assert read(file, "no: 1\n1: 2\ntrue: 3\n2026-11-20: 4\n") == {"no": 1, "1": 2, "true": 3, "2026-11-20": 4}


@pytest.mark.parametrize("text", ["NaN", ".nan", ".NaN", "Infinity", ".inf", "-.inf", "1e999"])
def test_bad_024_there_is_no_number_beyond_numbers(file, text):
    assert read(file, f"a: {text}") == {"a": text}


@pytest.mark.parametrize("digits", [19, 5000])
def test_bad_025_a_huge_integer_is_text_and_fits_no_setting(file, digits):
    assert read(file, "a: " + "9" * digits) == {"a": "9" * digits}


@pytest.mark.parametrize(
    "content",
    [
        b'a: "\\ud800"',
        b'a: "\\UFFFFFFFF"',
        b'a: "\\U00110000"',
        b"a: \xed\xa0\x80",
        b"a: \x00",
        b"a: \x07",
        b"a: \x1b[2J",
    ],
)
def test_bad_026_what_is_no_text_is_refused_or_kept_escaped(file, content):
    try:
        found = read(file, content)
    except ConfigError:
        return
    assert not str(found["a"]).isprintable(), "and is refused where a setting takes text"


@pytest.mark.parametrize(
    "content", [b"\xef\xbb\xbfa: 1\nb: 2\n", b"a: 1\r\nb: 2\r\n", b"---\na: 1\nb: 2\n", b"a: 1\nb: 2\n...\n"]
)
def test_bad_027_a_byte_order_mark_crlf_and_markers_are_fine(file, content):
    assert read(file, content) == {"a": 1, "b": 2}


@pytest.mark.parametrize("content", [b"", b"\n\n", b"# nothing yet\n", b"---\n", b"null\n", b"\xef\xbb\xbf"])
def test_bad_027_an_empty_file_is_an_empty_mapping(file, content):
    assert read(file, content) == {}


@pytest.mark.parametrize(
    "content",
    [
        "a: 1".encode("utf-16"),
        "a: 1".encode("utf-16-le"),
        "a: 1".encode("utf-32"),
        b"a: \xff\xfe",
        b"a: 1\n...\ngarbage",
        b"a: 1\n]",
        b"a: 'open",
        b"a:\n\tb: 1",
        b"a: b: c",
        b"- a\n- b",
        b"word",
        b"5",
        b"[a: 1]",
        b"? [a]\n: 1",
        b"? {a: 1}\n: 1",
        b"%YAML 2.0\n---\na: 1",
        b"%YAML 1\n---\na: 1",
        pytest.param(
            b"%YAML 1." + b"9" * 5000 + b"\n---\na: 1",
            id="long version",
        ),
    ],
)
def test_bad_027_what_is_no_settings_file_is_refused(file, content):
    refused(file, content)


@pytest.mark.parametrize("text", ["a: 1\n---\nb: 2\n", "a: 1\n---\n", "---\n---\na: 1\n", "a: 1\n...\n---\na: 2\n"])
def test_bad_028_several_documents_are_refused(file, text):
    assert "several YAML documents" in refused(file, text).summary


def test_a_syntax_error_names_file_line_and_column(file):
    error = refused(file, "a: 1\nb: [1, 2\nc: 3\n")
    assert error.summary.startswith(f"`{file}` line 3, column ")
    assert error.code == "bad-yaml"


# Row 32: what is no file


def test_bad_032_a_fifo_is_refused_and_does_not_block(file):
    os.mkfifo(file)
    with pytest.raises(ConfigError, match="not a regular file"):
        load_yaml(file)


def test_bad_032_a_folder_and_a_device_are_refused(tmp_path):
    for path in (tmp_path, Path("/dev/null"), Path("/dev/zero")):
        with pytest.raises(ConfigError, match=r"not a regular file|cannot read"):
            load_yaml(path)


@pytest.mark.parametrize("size", [MAX_BYTES + 1, 2 * 1024 * 1024, 2 * 1024**3])
def test_bad_032_a_file_above_the_cap_is_refused_unread(file, size):
    file.touch()
    os.truncate(file, size)
    with pytest.raises(ConfigError, match="larger than 1 MB"):
        load_yaml(file)


def test_bad_032_a_missing_file_and_a_dangling_link_are_named(file, tmp_path):
    link = tmp_path / "link"
    link.symlink_to("nowhere")
    for path in (file, link):
        with pytest.raises(ConfigError, match=f"cannot read `{path}`") as caught:
            load_yaml(path)
        assert caught.value.detail == "No such file or directory"


def test_bad_032_a_file_that_may_not_be_read_is_named(file, mode_bits_count):
    file.touch(0)
    with pytest.raises(ConfigError, match="cannot read") as caught:
        load_yaml(file)
    assert caught.value.detail == "Permission denied"


SCALARS = st.booleans() | st.none() | st.integers(-(10**17), 10**17) | st.text(st.characters(max_codepoint=0x2FF))
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcxyz", min_size=1), inner, max_size=3),
)


@given(st.dictionaries(st.text("abc.", min_size=1, max_size=5), TREES, max_size=4))
def test_what_another_program_writes_is_read_as_it_was(tmp_path_factory, tree):
    file = tmp_path_factory.mktemp("yaml") / "f"
    text = yaml.safe_dump(tree, allow_unicode=False)
    assert read(file, text) == tree


FRAGMENTS = st.sampled_from(
    [*"a:-[]{},\n\"'|>?!&*%#~.0 \t\\", "  ", "b: ", "\\u", "%YAML ", "%TAG ", "---\n", "...\n", "<<", "é"]
)


@given(st.lists(FRAGMENTS, max_size=14).map("".join))
def test_any_text_is_a_mapping_or_a_config_error(tmp_path_factory, text):
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    try:
        assert isinstance(read(file, text), dict)
    except ConfigError:
        pass
