"""The key ring: one key signs, no key that others can read does, and old ones stay for verification."""

import json
import os
from datetime import timedelta
from pathlib import Path

import pytest

from fetchml import durable
from fetchml.errors import Conflict, Corrupt, FetchmlError, Forbidden, NotFound
from fetchml.keys.ed25519 import verify
from fetchml.keys.ring import KeyRing
from fetchml.models.key import StoredKey, key_id_of
from fetchml.objects.memory import MemoryObjects
from fetchml.snapshot.capture import Limits, capture
from fetchml.testing.builders import MOMENT

SAMPLES = Path(__file__).parents[2] / "data" / "keys" / "1"
LATER = MOMENT + timedelta(days=1)


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return KeyRing(tmp_path / "keys")


def file_of(ring: KeyRing, key_id: str) -> Path:
    return ring.root / f"{key_id}.json"


def fault_of(ring: KeyRing) -> FetchmlError:
    """Returns why the ring does not sign; looking and signing must agree on it."""
    with pytest.raises(FetchmlError) as checked:
        ring.check()
    with pytest.raises(type(checked.value)) as signing:
        ring.signer()
    assert str(signing.value) == str(checked.value)
    return checked.value


@pytest.mark.parametrize("name", ["active", "retired"])
def test_a_saved_key_of_version_1_is_read_for_ever(name: str) -> None:
    content = (SAMPLES / f"{name}.json").read_bytes()
    key = StoredKey.model_validate_json(content)
    assert (key.private_key is None) is (name == "retired")
    assert key.model_dump_json(indent=2).encode() + b"\n" == content


def test_the_first_key_is_its_owners_alone(ring: KeyRing) -> None:
    key = ring.create(MOMENT)
    path = file_of(ring, key.key_id)
    assert key.key_id == key_id_of(key.public_key)
    assert (path.stat().st_mode & 0o777, ring.root.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [item.name for item in ring.root.iterdir() if item.name.startswith(durable.TEMPORARY_PREFIX)] == []
    assert ring.listed() == [key]


def test_a_second_first_key_is_refused(ring: KeyRing) -> None:
    key = ring.create(MOMENT)
    with pytest.raises(Conflict, match=key.key_id):
        ring.create(LATER)
    assert ring.listed() == [key]


def test_what_it_signs_verifies_with_what_it_shows(ring: KeyRing) -> None:
    key = ring.create(MOMENT)
    made = ring.signer()(b"message")
    assert (made.key_id, made.public_key) == (key.key_id, key.public_key)
    assert verify(key.public_key, b"message", made.signature)


def test_without_a_key_it_says_how_to_make_one(ring: KeyRing) -> None:
    for _ in range(2):
        fault = fault_of(ring)
        assert isinstance(fault, NotFound)
        assert "`fetchml keys init`" in (fault.hint or "")
        with pytest.raises(NotFound):
            ring.rotate(MOMENT)
        assert ring.listed() == []
        ring.root.mkdir(mode=0o700, exist_ok=True)


def test_a_rotation_signs_with_the_new_key_and_forgets_the_old_private_half(ring: KeyRing) -> None:
    first = ring.create(MOMENT)
    private = json.loads(file_of(ring, first.key_id).read_bytes())["private_key"]
    second = ring.rotate(LATER)
    assert [(key.key_id, key.active, key.retired_at) for key in ring.listed()] == [
        (first.key_id, False, LATER),
        (second.key_id, True, None),
    ]
    assert ring.signer()(b"x").key_id == second.key_id
    assert private.encode() not in b"".join(path.read_bytes() for path in ring.root.iterdir() if path.is_file())
    assert {path.stat().st_mode & 0o777 for path in ring.root.glob("*.json")} == {0o600}
    assert ring.trust().own == {first.public_key: LATER, second.public_key: None}


def test_a_clock_that_goes_back_does_not_bring_an_old_key_back(ring: KeyRing) -> None:
    ring.create(LATER)
    second = ring.rotate(MOMENT)
    assert second.created_at > LATER
    assert ring.signer()(b"x").key_id == second.key_id


def test_a_rotation_that_was_cut_off_leaves_one_key_that_signs(ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ring.create(MOMENT)
    with monkeypatch.context() as patch:
        patch.setattr(durable, "write_atomic", _killed)
        with pytest.raises(KeyboardInterrupt):
            ring.rotate(LATER)
    (active,) = (key for key in ring.listed() if key.active)
    assert active.key_id != first.key_id
    assert ring.signer()(b"x").key_id == active.key_id
    third = ring.rotate(LATER + timedelta(days=1))
    assert [key.key_id for key in ring.listed() if key.retired_at is None] == [third.key_id]


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_may_use_signs_nothing(ring: KeyRing, mode: int) -> None:
    key = ring.create(MOMENT)
    path = file_of(ring, key.key_id)
    path.chmod(mode)
    fault = fault_of(ring)
    assert isinstance(fault, Forbidden)
    assert f"`chmod 600 {path}`" in (fault.hint or "")
    assert "`fetchml keys rotate`" in (fault.hint or "")
    assert key.public_key not in ring.trust().own
    assert [found.exposed for found in ring.listed()] == [True]
    new = ring.rotate(LATER)
    assert ring.signer()(b"x").key_id == new.key_id


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o777])
def test_a_folder_that_others_may_enter_is_refused(ring: KeyRing, mode: int) -> None:
    ring.create(MOMENT)
    ring.root.chmod(mode)
    assert isinstance(fault_of(ring), Forbidden)
    with pytest.raises(Forbidden, match="others may look"):
        ring.rotate(LATER)
    trust = ring.trust()
    assert (trust.own, trust.others, len(trust.faults)) == ({}, frozenset(), 1)


@pytest.mark.parametrize(
    "damage", [b"", b"{}", b"\xff", b'{"private_key": "SECRET"}', b"[" * 100_000], ids=lambda value: repr(value[:12])
)
def test_a_damaged_key_is_named_and_never_shown(ring: KeyRing, damage: bytes) -> None:
    key = ring.create(MOMENT)
    path = file_of(ring, key.key_id)
    path.write_bytes(damage)
    fault = fault_of(ring)
    assert isinstance(fault, Corrupt)
    assert str(path) in fault.summary
    assert "SECRET" not in f"{fault} {fault.__cause__!r}"
    assert ring.trust().own == {}


def test_a_key_under_another_name_is_damaged(ring: KeyRing) -> None:
    key = ring.create(MOMENT)
    file_of(ring, key.key_id).rename(file_of(ring, "0" * 16))
    assert isinstance(fault_of(ring), Corrupt)


def test_a_link_is_no_key(ring: KeyRing, tmp_path: Path) -> None:
    key = ring.create(MOMENT)
    path = file_of(ring, key.key_id)
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    fault_of(ring)


def test_a_damaged_old_key_does_not_keep_the_new_one_from_signing(ring: KeyRing) -> None:
    first = ring.create(MOMENT)
    second = ring.rotate(LATER)
    file_of(ring, first.key_id).write_bytes(b"")
    assert ring.signer()(b"x").key_id == second.key_id


def test_the_private_half_is_in_no_text_of_a_key(ring: KeyRing) -> None:
    key = ring.create(MOMENT)
    stored = StoredKey.model_validate_json(file_of(ring, key.key_id).read_bytes())
    assert stored.private_key is not None
    assert stored.private_key not in f"{key!r} {key} {stored!r} {stored}"


def test_keys_of_others_are_trusted_by_a_file(ring: KeyRing) -> None:
    ring.create(MOMENT)
    assert ring.trust().others == frozenset()
    ring.trusted.mkdir()
    (ring.trusted / "ada.pub").write_text(f"# of the desk upstairs\n{'a' * 64} ada@desk\n\n{'b' * 64}\n")
    (ring.trusted / "notes.txt").write_text(f"{'c' * 64}\n")
    trust = ring.trust()
    assert (trust.others, trust.faults) == (frozenset({"a" * 64, "b" * 64}), ())
    (ring.trusted / "bad.pub").write_text("ssh-ed25519 AAAA\n")
    assert ring.trust().others == frozenset({"a" * 64, "b" * 64})
    assert "bad.pub" in ring.trust().faults[0]


def test_neither_git_nor_a_snapshot_takes_the_keys_along(ring: KeyRing, tmp_path: Path) -> None:
    key = ring.create(MOMENT)
    (tmp_path / "train.py").write_text("print(1)\n")
    snapshot = capture(tmp_path, MemoryObjects(), Limits(10**6, 100))
    assert [os.fsdecode(entry.path) for entry in snapshot.tree.entries] == ["train.py"]
    assert key.active
