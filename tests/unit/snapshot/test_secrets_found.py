"""What looks like a secret is not captured, unless somebody says so, and then it is told."""

import os
from pathlib import Path

import pytest

from fetchml.errors import Refused
from fetchml.objects.memory import MemoryObjects
from fetchml.snapshot.capture import Snapshot, capture
from fetchml.snapshot.found import Limits
from fetchml.snapshot.known import KnownFiles
from fetchml.snapshot.secrets_found import MAX_READ_BYTES, is_allowed, is_named, secret_in, secret_in_file
from unit.snapshot.projects import LIMITS, Write

# Made up, and put together here so that no scanner stumbles over this file.
BODY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7" + "x" * 12
KEY = "-----BEGIN " + f"PRIVATE KEY-----\n{BODY}\n-----END PRIVATE KEY-----\n"
TOKENS = {
    "a private key": KEY,
    "a key of AWS": "AKIA" + "Q3EGZ5TR2WXY7ABC",
    "a token of GitHub": "ghp_" + "a1B2" * 9,
    "a token of GitLab": "glpat-" + "a1B2" * 5,
    "a token of Hugging Face": "hf_" + "aB" * 17,
    "a key of Google": "AIza" + "a1B2c" * 7,
    "a token of Slack": "xoxb-" + "123456789012-" + "a1B2" * 6,
    "a key of OpenAI or Anthropic": "sk-proj-" + "a1B2" * 12,
}


@pytest.mark.parametrize(
    "path",
    [
        *(b".env", b"conf/.env", b".env.production", b".ENV", b"id_rsa", b"keys/id_ed25519", b"server.pem", b"a.P12"),
        *(b"credentials", b".aws/credentials", b"credentials.json", b".netrc", b".pypirc", b"kaggle.json"),
    ],
)
def test_names_of_secrets(path: bytes) -> None:
    assert is_named(path)


@pytest.mark.parametrize(
    "path",
    [
        *(b"env", b".env/x", b".envrc", b".env.example", b".env.sample", b"id_rsa.pub", b"pem", b"a.pem.txt"),
        *(b"credentials.py", b"credentials/x", b"key.py", b"secrets.py", b"tokenizer.json", b"\xff"),
    ],
)
def test_names_that_only_sound_like_it(path: bytes) -> None:
    assert not is_named(path)


@pytest.mark.parametrize("kind", TOKENS)
@pytest.mark.parametrize("around", ["{}", 'TOKEN = "{}"\n', "a\nb={}\nc", "https://user:{}@example.org"])
def test_contents_of_secrets(kind: str, around: str) -> None:
    assert secret_in(around.format(TOKENS[kind]).encode()) == kind


@pytest.mark.parametrize(
    "text",
    [
        '{"private_key": "' + KEY.replace("\n", "\\n") + '"}',  # as a service account has it
        KEY.replace("\n", "\r\n"),
        KEY.replace("PRIVATE", "RSA PRIVATE"),
        KEY.replace("PRIVATE", "OPENSSH PRIVATE"),
        KEY.replace("PRIVATE KEY", "PGP PRIVATE KEY BLOCK"),
        KEY.replace(BODY, f"Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n{BODY}"),
    ],
)
def test_private_keys_in_all_their_forms(text: str) -> None:
    assert secret_in(text.encode()) == "a private key"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-----BEGIN PRIVATE KEY-----",  # what looks for keys names them
        "if line.startswith('-----BEGIN RSA PRIVATE KEY-----'):",
        KEY.replace("PRIVATE", "PUBLIC"),
        KEY.replace("PRIVATE KEY", "CERTIFICATE"),
        "AKIA" + "IOSFODNN7EXAMPLE",
        "hf_hub_download(repo_id, filename)",
        "sk-learn, sk-proj-ect",
        "ghp_short",
        "0" * 64,
        "X" + TOKENS["a key of AWS"],
        TOKENS["a token of Hugging Face"] + "more",
    ],
)
def test_contents_that_only_look_like_it(text: str) -> None:
    assert secret_in(text.encode()) is None


def test_what_is_no_text_is_no_secret() -> None:
    assert secret_in(b"\0" + KEY.encode()) is None


def test_only_files_that_are_there_and_small_are_looked_at(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "link").symlink_to("key")
    (tmp_path / "large").write_text(KEY + " " * MAX_READ_BYTES)
    found = {name: secret_in_file(tmp_path / name) for name in ("pipe", "key", "link", "large", "nothing", ".")}
    assert {name for name, kind in found.items() if kind} == {"key"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [(b"a", True), (b"a/b", True), (b"ab", False), (b"c/d", True), (b"c/de", False), (b"c", False), (b"\xff", False)],
)
def test_a_path_is_allowed_by_itself_or_by_its_folder(path: bytes, expected: bool) -> None:
    assert is_allowed(path, ("a", "c/d")) is expected


def refused(project: Path, limits: Limits = LIMITS) -> list[str]:
    with pytest.raises(Refused) as caught:
        capture(project, MemoryObjects(), limits)
    assert caught.value.code == "snapshot-secrets"
    assert "--allow-secret PATH" in (caught.value.hint or "")
    return (caught.value.detail or "").splitlines()


def test_all_secrets_of_a_project_are_named_at_once_and_nothing_is_stored(project: Path, write: Write) -> None:
    write({".env": "A=1", "conf/api.yaml": TOKENS["a token of GitHub"], "id_rsa": KEY, "train.py": "x"})
    objects = MemoryObjects()
    with pytest.raises(Refused) as caught:
        capture(project, objects, LIMITS)
    assert (caught.value.detail or "").splitlines() == [
        "- .env: has the name of a secret",
        "- conf/api.yaml: holds a token of GitHub",
        "- id_rsa: has the name of a secret",
    ]
    assert list(objects.digests()) == []
    assert BODY not in str(caught.value)


def test_what_is_ignored_may_be_a_secret(project: Path, write: Write) -> None:
    write({".env": "A=1", ".gitignore": ".env\n"})
    assert [item.path for item in capture(project, MemoryObjects(), LIMITS).tree.files] == [b".gitignore"]


def test_a_link_with_the_name_of_a_secret_is_none(project: Path, write: Write) -> None:
    write({"example": "A=1"})
    (project / ".env").symlink_to("example")
    assert len(capture(project, MemoryObjects(), LIMITS).tree.entries) == 2


def test_what_is_allowed_is_captured_and_told_and_the_rest_is_refused(project: Path, write: Write) -> None:
    write({".env": "A=1", "tests/keys/a.pem": KEY, "tests/keys/b": KEY, "other": KEY})
    allowed = Limits(LIMITS.max_bytes, LIMITS.max_files, allow_secrets=(".env", "tests/keys"))
    assert refused(project, allowed) == ["- other: holds a private key"]
    (project / "other").unlink()
    snapshot = capture(project, MemoryObjects(), allowed)
    assert len(snapshot.tree.files) == 3
    assert snapshot.notes == (
        "captured by request, though they look like secrets: `.env`, `tests/keys/a.pem`, `tests/keys/b`",
    )


def test_what_was_allowed_once_is_refused_again_though_it_is_unchanged(
    project: Path, write: Write, tmp_path: Path
) -> None:
    write({"api": KEY, "train.py": "x"})
    for name in ("api", "train.py"):
        os.utime(project / name, (1, 1))
    objects, known = MemoryObjects(), KnownFiles(tmp_path / "known")
    allowed = Limits(LIMITS.max_bytes, LIMITS.max_files, allow_secrets=("api",))

    def look(limits: Limits) -> Snapshot:
        return capture(project, objects, limits, None, known)

    assert look(allowed) == look(allowed)
    with pytest.raises(Refused, match="secrets"):
        look(LIMITS)
