"""Who stores objects in a bucket.

Homes announce themselves at `<prefix>homes/<id>` before they first look for an object, and whoever takes things away
leaves `<prefix>pruning/<id>` for as long as that lasts. Each writes its own mark first and looks for the other's then:
of two that begin at once at least one sees the other. This needs a server whose listings show what was written before,
and no conditional writes.
"""

import hashlib
import io
import json
import socket
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Protocol

from minio import Minio

from fetchml import durable
from fetchml.errors import FetchmlError, Refused, Unavailable
from fetchml.objects.s3_place import S3Place

_ANNOUNCED_S = 24 * 3600
"""How long a home relies on having announced itself."""
_SHOWN = 5


class Access(Protocol):
    """A bucket, and how it is asked."""

    place: S3Place

    @property
    def client(self) -> Minio:
        """The client of this process."""
        ...

    def translated(self) -> AbstractContextManager[None]:
        """Turns errors of the client into those of users."""
        ...


class Homes:
    """The homes that store objects in a bucket, as one of them sees it.

    Args:
        access: The bucket.
        staging: The folder of this home for uploads: with the host it tells homes apart.
    """

    def __init__(self, access: Access, staging: Path) -> None:
        self._access = access
        self._bucket, self._prefix = access.place.bucket, access.place.prefix
        self._staging = staging
        self._id = hashlib.sha256(f"{socket.gethostname()}\0{staging.absolute()}".encode()).hexdigest()[:16]

    def announce(self) -> None:
        """Says that this home stores objects here; once a day.

        Raises:
            Unavailable: Another home takes things away at this moment.
        """
        place = hashlib.sha256(f"{self._access.place.endpoint} {self._access.place}".encode()).hexdigest()[:16]
        stamp = self._staging.parent / f"announced-{place}"
        with suppress(OSError):
            if 0 <= time.time() - stamp.stat().st_mtime < _ANNOUNCED_S:
                return
        self._put(f"homes/{self._id}")
        pruning = self._names("pruning/") - {self._id}
        if pruning:
            raise Unavailable(
                "another home prunes the bucket at this moment",
                detail=f"`{self._prefix}pruning/{min(pruning)}` in bucket `{self._bucket}` says so",
                hint="repeat the command in a few minutes; remove that key if nobody prunes",
                code="being-pruned",
            )
        durable.make_folder(stamp.parent)
        with durable.translated("write", stamp):
            stamp.touch()

    @contextmanager
    def alone(self) -> Generator[datetime]:
        """Yields the server's time while nobody new can begin to store here.

        Raises:
            Refused: Other homes store here as well.
        """
        mark = f"pruning/{self._id}"
        self._put(mark)
        try:
            self.check_alone()
            with self._access.translated():
                now = self._access.client.stat_object(self._bucket, self._prefix + mark).last_modified
            if now is None:
                raise Unavailable("the S3 server does not say what time it is", code="s3-unavailable")
            yield now
        finally:
            with suppress(FetchmlError):
                self._remove(mark)

    def check_alone(self) -> None:
        """Looks whether other homes store here.

        Raises:
            Refused: They do.
        """
        others = sorted(self._names("homes/") - {self._id})
        if others:
            raise Refused(
                "other homes store objects in the same place, and what they need is not known here",
                detail="\n".join(f"- {self._prefix}homes/{name}: {self._who(name)}" for name in others[:_SHOWN]),
                hint="give each home a prefix of its own; remove the key of a home that is gone for good",
                code="shared-prefix",
            )

    def _put(self, key: str) -> None:
        content = json.dumps({"host": socket.gethostname(), "folder": str(self._staging)}).encode()
        with self._access.translated():
            self._access.client.put_object(self._bucket, self._prefix + key, io.BytesIO(content), len(content))

    def _remove(self, key: str) -> None:
        with self._access.translated():
            self._access.client.remove_object(self._bucket, self._prefix + key)

    def _names(self, folder: str) -> set[str]:
        below = self._prefix + folder
        with self._access.translated():
            found = self._access.client.list_objects(self._bucket, prefix=below, recursive=True)
            return {(item.object_name or "").removeprefix(below) for item in found}

    def _who(self, name: str) -> str:
        with suppress(FetchmlError, ValueError, KeyError, TypeError), self._access.translated():
            response = self._access.client.get_object(self._bucket, f"{self._prefix}homes/{name}")
            try:
                who = json.loads(response.read(4096))
                return f"{str(who['host'])[:100]}, {str(who['folder'])[:200]}"
            finally:
                response.close()
        return "unknown"
