import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchml.errors import ConfigError
from fetchml.models.dataset import (
    DatasetSpec,
    check_name,
    default_mount,
    mount_fault,
    overlaps,
    parse_spec,
    variable_of,
)

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("mnist", DatasetSpec("mnist")),
        ("mnist@2", DatasetSpec("mnist", version="2")),
        ("m-n.i_st@v1.2-rc", DatasetSpec("m-n.i_st", version="v1.2-rc")),
        (f"mnist@sha256:{HEX.upper()}", DatasetSpec("mnist", checksum=f"sha256:{HEX}")),
        (f"mnist@sha256:{HEX}:/a/b", DatasetSpec("mnist", checksum=f"sha256:{HEX}", mount="/a/b")),
        (f"mnist@blake3:{HEX.upper()}:/in", DatasetSpec("mnist", checksum=f"blake3:{HEX}", mount="/in")),
        ("mnist@2:/in", DatasetSpec("mnist", version="2", mount="/in")),
        ("mnist:/in", DatasetSpec("mnist", mount="/in")),
    ],
)
def test_a_spec_is_read_and_written(text, spec):
    assert parse_spec(text) == spec
    assert parse_spec(str(spec)) == spec


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "..", ".", ".hidden", "-x", "a/b", "/etc", "../x", "a b", "a\n", "a\0", "ä", "x" * 65, "s3://b/k"),
        *("a@", "a@ 1", "a@sha256:", f"a@sha256:{HEX[:-1]}", f"a@sha256:{HEX}0", f"a@sha256: {HEX}", "a@sha256"),
        *(f"a@sha1:{HEX[:40]}", f"a@md5:{HEX[:32]}", f"a@{HEX}:x", "a@1@2", "a:", "a:b", "a:C:\\x", f"a@SHA256:{HEX}"),
        *(
            f"a@blake2:{HEX}",
            f"a@blake3:{HEX[:-1]}",
            "a@blake3",
            "a@blake3:",
            f"a@sha512:{HEX}{HEX}",
            f"a@crc32:{HEX[:8]}",
        ),
        *("a:/", "a://x", "a:/x/", "a:/x/../y", "a:/.", "a:/x,ro", "a:/x:rw", "a:/x y", "a:/x\n", "a:/" + "x" * 512),
        *("a:/code", "a:/code/x", "a:/results", "a:/proc/1", "a:/sys", "a:/dev/shm", "a:/run/fetchml", "a:/run"),
        *("a:/opt", "a:/opt/fetchml/x", "a:/tmp", "a:/usr", "a:/etc", "a:/bin", "a:/lib64"),
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(ConfigError):
        parse_spec(text)


@given(st.text(max_size=30))
def test_a_spec_is_read_or_refused(text):
    try:
        spec = parse_spec(text)
    except ConfigError:
        return
    assert parse_spec(str(spec)) == spec
    assert check_name(spec.name) == spec.name


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True))
def test_every_name_has_a_place_and_a_variable(name):
    assert mount_fault(default_mount(name)) is None
    assert variable_of(name).isidentifier()


def test_places_that_lie_in_each_other_overlap():
    assert overlaps("/a", "/a")
    assert overlaps("/a", "/a/b")
    assert overlaps("/a/b", "/a")
    assert not overlaps("/a/b", "/a/bc")
    assert mount_fault("/opt/data") is None
    assert mount_fault("/codes") is None
