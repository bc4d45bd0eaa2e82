"""Objects over HTTP: read in parts, sent in parts, stored once their SHA-256 is that of their name."""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import cast

from fetchml import durable
from fetchml.errors import ConfigError, Conflict, NotFound
from fetchml.gateway.lab import Lab
from fetchml.gateway.rules import Answer, Call, Permission, Rule, json_answer
from fetchml.link.wire import CHUNK_BYTES, MAX_CHUNK_BODY
from fetchml.models.ids import is_digest
from fetchml.objects.directory import DirectoryObjects
from fetchml.objects.port import ChangedWhileRead
from fetchml.store.turns import adding

_MAX_ASKED = 200_000
_MAX_OBJECT_BYTES = 64 * 1024**3


def rules(lab: Lab) -> list[Rule]:
    """Returns the routes of objects."""
    content = _Content(lab)
    return [
        Rule("GET", "/v1/objects/{digest}", Permission.READ, content.read),
        Rule("PUT", "/v1/objects/{digest}", Permission.QUEUE, content.write, MAX_CHUNK_BODY),
        Rule("POST", "/v1/objects/missing", Permission.READ, content.missing, 16 * 1024 * 1024),
    ]


class _Content:
    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._incoming = lab.home.path / "gateway" / "incoming"

    def read(self, call: Call) -> Answer:
        """Returns a part of an object, and how large the whole is."""
        digest, offset = call.params["digest"], call.number("offset", 0)
        objects = self._lab.home.objects
        if not is_digest(digest) or not objects.has(digest):
            raise NotFound(f"there is no object `{digest[:12]}`", code="no-such-object")
        if isinstance(objects, DirectoryObjects):
            path = objects.path(digest)
            with durable.translated("read", path):
                file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    return Answer(os.pread(file, CHUNK_BYTES, offset), size_bytes=os.fstat(file).st_size)
                finally:
                    os.close(file)
        content = objects.read(digest)
        return Answer(content[offset : offset + CHUNK_BYTES], size_bytes=len(content))

    def missing(self, call: Call) -> Answer:
        """Tells which of some objects the lab lacks; those it has count as used today."""
        try:
            digests = cast("list[str]", json.loads(call.body)["digests"])
            if len(digests) > _MAX_ASKED or not all(is_digest(item) for item in digests):
                raise ValueError("no digests")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ConfigError("expected a list of SHA-256 digests", code="bad-body") from error
        with self._lab.home.objects.batch() as batch:
            missing = batch.keep(digests)
        return json_answer({"missing": sorted(missing)})

    def write(self, call: Call) -> Answer:
        """Takes a part of an object; it is there when it is whole and its digest is right."""
        digest, offset = call.params["digest"], call.number("offset", most=_MAX_OBJECT_BYTES)
        total = call.number("total", most=_MAX_OBJECT_BYTES)
        if not is_digest(digest) or offset + len(call.body) > total:
            raise ConfigError("the part does not fit the object", code="bad-body")
        if offset == 0 and total == len(call.body):
            if hashlib.sha256(call.body).hexdigest() != digest:
                raise Conflict(f"object `{digest[:12]}` arrived with another SHA-256", code="other-digest")
            with adding(self._lab.home.settings.store), self._lab.home.objects.batch() as batch:
                batch.put_bytes(call.body)
            return json_answer({"size_bytes": total}, status=201)
        durable.make_folder(self._incoming, mode=0o700)
        # Two people may send the same object at once, each with parts of their own.
        name = hashlib.sha256(f"object\0{digest}\0{call.key.kind}\0{call.key.name}".encode()).hexdigest()
        partial = self._incoming / name
        have = self._take(partial, offset, call.body)
        if have < total:
            return json_answer({"size_bytes": have})
        try:
            with adding(self._lab.home.settings.store), self._lab.home.objects.batch() as batch:
                batch.put_file(partial, digest)
        except ChangedWhileRead as error:
            raise Conflict(f"object `{digest[:12]}` arrived with another SHA-256", code="other-digest") from error
        finally:
            with suppress(OSError):
                partial.unlink()
        return json_answer({"size_bytes": total}, status=201)

    def _take(self, partial: Path, offset: int, content: bytes) -> int:
        with durable.translated("write", partial):
            file = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                have = os.fstat(file).st_size
                if offset > have:
                    raise Conflict("a part is missing before this one", detail=f"it has {have} bytes", code="gap")
                os.ftruncate(file, offset)
                os.lseek(file, offset, os.SEEK_SET)
                durable.write_all(file, content)
                return offset + len(content)
            finally:
                os.close(file)
