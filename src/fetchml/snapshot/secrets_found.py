"""Files of a project that look like secrets: a snapshot keeps them for years and shows them to who reads the store.

Told by the name, or by what stands in the file. Only signs that hardly mean anything else count: a check that cries at
every third project is switched off. It is a safety net for accidents and no wall.
"""

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

_HEAD_BYTES = 8000
"""A NUL in so much of it, and a file is no text, as for git."""
MAX_READ_BYTES = 1024 * 1024
"""Larger files are data, and are not searched."""

_NAMES = frozenset(
    {
        b".env",
        b".git-credentials",
        b".htpasswd",
        b".netrc",
        b".pgpass",
        b".pypirc",
        b".s3cfg",
        b"_netrc",
        b"credentials",
        b"credentials.json",
        b"id_dsa",
        b"id_ecdsa",
        b"id_ecdsa_sk",
        b"id_ed25519",
        b"id_ed25519_sk",
        b"id_rsa",
        b"kaggle.json",
        b"kubeconfig",
    }
)
_ENDS = (b".pem", b".p12", b".pfx", b".ppk", b".jks", b".kdbx")
_EXAMPLES = (b".example", b".sample", b".template", b".dist", b".defaults")
"""Ends of names of files that show what a `.env` looks like."""

# A line break may be written out, as in the JSON of a service account.
_BREAK = rb"(?:\r?\n|\\r?\\n|\\n)"
_CONTENTS: tuple[tuple[str, tuple[bytes, ...], re.Pattern[bytes]], ...] = (
    (
        "a private key",
        (b"PRIVATE KEY",),
        re.compile(
            rb"-----BEGIN (?:[A-Z]{1,10} ){0,2}PRIVATE KEY(?: BLOCK)?-----"
            + _BREAK
            + rb"(?s:.{0,200}?)[A-Za-z0-9+/]{40}"
        ),
    ),
    (
        "a key of AWS",
        (b"AKIA", b"ASIA"),
        re.compile(rb"(?<![A-Za-z0-9])A[KS]IA(?!\w*EXAMPLE)[A-Z2-7]{16}(?![A-Za-z0-9])"),
    ),
    (
        "a token of GitHub",
        (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"github_pat_"),
        re.compile(rb"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59})(?!\w)"),
    ),
    ("a token of GitLab", (b"glpat-",), re.compile(rb"(?<![A-Za-z0-9])glpat-[A-Za-z0-9_-]{20}(?![\w-])")),
    ("a token of Hugging Face", (b"hf_",), re.compile(rb"(?<![A-Za-z0-9_])hf_[A-Za-z0-9]{34}(?!\w)")),
    ("a key of Google", (b"AIza",), re.compile(rb"(?<![A-Za-z0-9])AIza[A-Za-z0-9_-]{35}(?![\w-])")),
    ("a token of Slack", (b"xox",), re.compile(rb"(?<![A-Za-z0-9])xox[abeprs]-[0-9]{8,}-[A-Za-z0-9-]{16,}")),
    (
        "a key of OpenAI or Anthropic",
        (b"sk-",),
        re.compile(rb"(?<![A-Za-z0-9-])sk-(?:proj|ant|svcacct)-[A-Za-z0-9_-]{40,}"),
    ),
)


def is_named(path: bytes) -> bool:
    """Tells whether the name of a file says that it holds a secret."""
    name = path.rpartition(b"/")[2].lower()
    if name in _NAMES or name.endswith(_ENDS):
        return True
    return name.startswith(b".env.") and not name.endswith(_EXAMPLES)


def secret_in(content: bytes) -> str | None:
    """Returns what kind of secret stands in a text, in words; None if there is none, or it is no text."""
    if b"\0" in content[:_HEAD_BYTES]:
        return None
    for kind, signs, pattern in _CONTENTS:
        # Looking for the sign alone is ten times as fast as the pattern, and nearly all files have none.
        if any(sign in content for sign in signs) and pattern.search(content):
            return kind
    return None


def secret_in_file(path: Path) -> str | None:
    """Returns what kind of secret stands in a file, in words; None if there is none, or it cannot be looked at.

    What is no file any more is not opened for good: a FIFO would wait for ever.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or not 0 < status.st_size <= MAX_READ_BYTES:
                return None
            return secret_in(os.read(descriptor, MAX_READ_BYTES))
        finally:
            os.close(descriptor)
    except OSError:
        return None


def is_allowed(path: bytes, allowed: Sequence[str]) -> bool:
    """Tells whether a path is named, or lies in a folder that is."""
    return any(path == raw or path.startswith(raw + b"/") for raw in map(os.fsencode, allowed))
