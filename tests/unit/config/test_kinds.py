import math
from pathlib import Path

import pytest

from fetchml.config.kinds import (
    Choice,
    DurationKind,
    File,
    Flag,
    Folder,
    Number,
    Paths,
    Size,
    SizeRange,
    Text,
    Variables,
    check_variable_name,
)
from fetchml.errors import ConfigError
from fetchml.models.units import GIB, MIB

TEXT = Text(8)
NAME = Text(8, optional=True)
WORD = Choice("auto", "none", "2")
COUNT = Number(0, 10, whole=True)
SHARE = Number(0.01, 64, optional=True)
SIZE = Size()
CAP = Size(optional=True)
RANGE = SizeRange()
GRACE = DurationKind()
LIMIT = DurationKind(optional=True)
FLAG = Flag()
FOLDER = Folder()
ENV = Variables()


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (TEXT, "abc", "abc"),
        (TEXT, "none", "none"),
        (NAME, "abc", "abc"),
        (NAME, "none", None),
        (NAME, "NULL", None),
        (NAME, "", None),
        (WORD, "auto", "auto"),
        (WORD, "none", "none"),
        (COUNT, "10", 10),
        (COUNT, "5.0", 5),
        (COUNT, "007", 7),
        (SHARE, "0.5", 0.5),
        (SHARE, "none", None),
        (SIZE, "8G", 8 * GIB),
        (CAP, "none", None),
        (RANGE, "24G", (24 * GIB, None)),
        (RANGE, "24G..", (24 * GIB, None)),
        (RANGE, "24G..48G", (24 * GIB, 48 * GIB)),
        (RANGE, "..48G", (None, 48 * GIB)),
        (RANGE, "none", None),
        (GRACE, "90s", 90),
        (LIMIT, "", None),
        (FLAG, "TRUE", True),
        (FLAG, "1", True),
        (FLAG, "0", False),
        (FLAG, "", False),
        (FOLDER, "~/x", Path("~/x")),
    ],
)
def test_text_of_flags_and_variables_is_read(kind, text, value):
    read = kind.from_text(text)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (TEXT, ""),
        (TEXT, "x" * 9),
        (TEXT, "a\nb"),
        (TEXT, "\x1b[2J"),
        (TEXT, "\ud800"),
        (TEXT, "a\u202eb"),
        (WORD, ""),
        (WORD, "AUTO"),
        (WORD, "auto "),
        (COUNT, ""),
        (COUNT, "none"),
        (COUNT, "abc"),
        (COUNT, "-1"),
        (COUNT, "11"),
        (COUNT, "2.5"),
        (COUNT, "1e1"),
        (COUNT, "1e9"),
        (COUNT, "0x10"),
        (COUNT, "1_0"),
        (COUNT, "+1"),
        (COUNT, " 1"),
        (COUNT, "１"),  # noqa: RUF001  # full-width digit
        (COUNT, "9" * 5000),
        (SHARE, "nan"),
        (SHARE, "inf"),
        (SHARE, "0"),
        (SIZE, "none"),
        (RANGE, ".."),
        (RANGE, "48G..24G"),
        (RANGE, "24G...48G"),
        (RANGE, "24G..48G..96G"),
        (RANGE, "much"),
        (SIZE, "8"[:0]),
        (GRACE, "5"),
        (GRACE, "none"),
        (FLAG, "yes"),
        (FLAG, "on"),
        (FLAG, "2"),
        (FOLDER, ""),
        (FOLDER, "a\0b"),
        (ENV, "A=1"),
    ],
)
def test_text_that_does_not_fit_is_refused(kind, text):
    with pytest.raises(ConfigError) as caught:
        kind.from_text(text)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("kind", "value", "read"),
    [
        (TEXT, "abc", "abc"),
        (NAME, None, None),
        (WORD, "none", "none"),
        (WORD, 2, "2"),
        (COUNT, 5, 5),
        (COUNT, 5.0, 5),
        (SHARE, 0.5, 0.5),
        (SHARE, None, None),
        (SIZE, "8G", 8 * GIB),
        (SIZE, 1048576, MIB),
        (CAP, None, None),
        (RANGE, "24G..48G", (24 * GIB, 48 * GIB)),
        (RANGE, MIB, (MIB, None)),
        (RANGE, None, None),
        (GRACE, "45m", 2700),
        (LIMIT, None, None),
        (FLAG, True, True),
        (FOLDER, "/x", Path("/x")),
        (ENV, {"A": "1", "B": ""}, {"A": "1", "B": ""}),
        (ENV, {}, {}),
    ],
)
def test_typed_values_of_a_file_are_read(kind, value, read):
    assert kind.from_yaml(value) == read


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (TEXT, None),
        (TEXT, 5),
        (TEXT, True),
        (TEXT, ["a"]),
        (WORD, None),
        (WORD, True),
        (WORD, []),
        (COUNT, "5"),
        (COUNT, True),
        (COUNT, None),
        (COUNT, math.nan),
        (COUNT, 11),
        (COUNT, [5]),
        (SIZE, 1.5),
        (RANGE, 1.5),
        (RANGE, ["24G", "48G"]),
        (SIZE, True),
        (SIZE, -1),
        (SIZE, None),
        (SIZE, {}),
        (GRACE, 90),
        (GRACE, "90"),
        (GRACE, None),
        (FLAG, "true"),
        (FLAG, 1),
        (FLAG, None),
        (FOLDER, 5),
        (FOLDER, None),
        (ENV, None),
        (ENV, ["A=1"]),
        (ENV, {"A": 1}),
        (ENV, {"A": None}),
        (ENV, {"LD_PRELOAD": "x"}),
    ],
)
def test_a_value_of_another_type_is_refused_and_never_converted(kind, value):
    with pytest.raises(ConfigError):
        kind.from_yaml(value)


@pytest.mark.parametrize("content", ["a\0b", "\ud800"])
def test_the_value_of_a_variable_is_text_a_process_can_be_given(content):
    with pytest.raises(ConfigError):
        ENV.from_yaml({"A": content})


@pytest.mark.parametrize("kind", [TEXT, COUNT, SIZE, GRACE, FLAG, FOLDER])
def test_a_fault_shows_the_beginning_of_a_large_value_only(kind):
    with pytest.raises(ConfigError) as caught:
        kind.from_yaml(["a word"] * 10_000)
    assert len(str(caught.value)) < 2048


@pytest.mark.parametrize("name", ["A", "_", "PATH", "my_var", "PYTHONPATH", "OMP_NUM_THREADS", "CUDA_LAUNCH_BLOCKING"])
def test_a_run_may_have_variables_of_its_own(name):
    assert check_variable_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "A=B", "A B", "1A", "a-b", "A\n", "É", "Ａ", "A\0", "x" * 129],  # noqa: RUF001  # full-width letter
)
def test_what_is_no_name_of_a_variable_is_refused(name):
    with pytest.raises(ConfigError, match="not the name of an environment variable"):
        check_variable_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "FETCHML_RUN_ID",
        "FETCHML_X",
        "PREFECT_API_URL",
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "NVIDIA_VISIBLE_DEVICES",
        "NVIDIA_DRIVER_CAPABILITIES",
        "CUDA_VISIBLE_DEVICES",
        "HIP_VISIBLE_DEVICES",
        "ROCR_VISIBLE_DEVICES",
        "ONEAPI_DEVICE_SELECTOR",
        "ZE_AFFINITY_MASK",
        "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE",
    ],
)
def test_a_variable_that_decides_what_a_run_is_given_is_reserved(name):
    with pytest.raises(ConfigError, match="is reserved"):
        check_variable_name(name)


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        (SIZE, 8 * GIB, "8G"),
        (CAP, None, None),
        (GRACE, 30, "30s"),
        (GRACE, 5400, "1h30m"),
        (LIMIT, None, None),
        (FOLDER, Path("/x"), "/x"),
        (COUNT, 5, 5),
        (FLAG, False, False),
        (ENV, {"A": "1"}, {"A": "1"}),
    ],
)
def test_a_value_is_shown_as_people_write_it(kind, value, shown):
    assert kind.show(value) == shown


@pytest.mark.parametrize(
    ("kind", "value"),
    [(GRACE, 2), (GRACE, 3601), (LIMIT, 90_061), (SIZE, 1280 * MIB), (SIZE, 100 * GIB + 512 * MIB)],
    ids=["2s", "1h0m1s", "1d1h1m1s", "1280M", "100.5G"],
)
def test_what_is_shown_can_be_typed_again(kind, value):
    assert kind.from_text(kind.show(value)) == value


def test_a_file_is_named_by_an_absolute_path_or_not_at_all() -> None:
    kind = File(optional=True)
    assert kind.from_text("/etc/ca.pem") == kind.from_yaml("/etc/ca.pem") == Path("/etc/ca.pem")
    assert kind.from_text("~/ca.pem") == Path("~/ca.pem")
    assert kind.from_text("none") is kind.from_yaml(None) is kind.show(None) is None
    for text in ("ca.pem", "./ca.pem", "/ca\0.pem"):
        with pytest.raises(ConfigError):
            kind.from_text(text)
    with pytest.raises(ConfigError):
        File().from_text("none")


# Paths below the project


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", ()), ("none", ()), (".env", (".env",)), ("a/,./b/../c, a", ("a", "c")), ("..a,a/..b", ("..a", "a/..b"))],
)
def test_paths_are_read_as_they_are_told(text, expected):
    assert Paths().from_text(text) == expected
    assert Paths().from_yaml(list(expected)) == expected


@pytest.mark.parametrize("text", ["/etc/passwd", "..", "../x", "a/../../x", ".", "a,,b", "a\nb", "\x1b", "\udcff"])
def test_what_is_no_path_below_the_project_is_refused(text):
    with pytest.raises(ConfigError, match="is not a path below the project"):
        Paths().from_text(text)


@pytest.mark.parametrize("value", ["a", {"a": 1}, [1], [None], True])
def test_only_a_list_of_texts_is_a_list_of_paths(value):
    with pytest.raises(ConfigError):
        Paths().from_yaml(value)


def test_paths_of_two_layers_are_all_taken():
    assert Paths().merged(("a", "b"), ("b", "c")) == ("a", "b", "c")
