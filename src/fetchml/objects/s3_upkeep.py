"""Looking after a bucket as a whole: what lies there, and taking things away."""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

from fetchml.errors import Unavailable
from fetchml.models.ids import is_digest, is_run_id
from fetchml.objects.records import MANIFEST, PLAN
from fetchml.objects.s3 import S3Objects, Stored
from fetchml.objects.s3_client import CONNECTIONS

_TAIL_BYTES = 256


@dataclass(slots=True)
class Listing:
    """Everything below a prefix."""

    objects: dict[str, Stored] = field(default_factory=dict[str, Stored])
    runs: set[str] = field(default_factory=set[str])
    """Ids of runs that have a manifest."""
    strangers: int = 0
    """Keys that are none of fetchml's."""


class Upkeep:
    """Looks after the bucket of some objects.

    Args:
        objects: The objects.
    """

    def __init__(self, objects: S3Objects) -> None:
        self._objects = objects
        self._bucket, self._prefix = objects.place.bucket, objects.place.prefix

    def listing(self) -> Listing:
        """Returns everything below the prefix, or raises: a part of it is nothing to decide by.

        Raises:
            FetchmlError: The server does not answer, denies access, or lists less than it has.
        """
        found = Listing()
        folders: set[str] = set()
        for item in self._objects.listed(self._prefix):
            key = (item.object_name or "").removeprefix(self._prefix)
            top, _, rest = key.partition("/")
            digest = rest.replace("/", "", 1) if len(rest) == 65 and rest[2:3] == "/" else ""
            run_id, _, name = rest.partition("/")
            if top == "sha256" and is_digest(digest) and item.size is not None:
                found.objects[digest] = Stored(item.size, item.last_modified)
                continue
            if top == "runs" and is_run_id(run_id):
                folders.add(run_id)
                if name == MANIFEST:
                    found.runs.add(run_id)
            if top not in ("damaged", "homes", "pruning") and name not in (MANIFEST, PLAN):
                found.strangers += 1
        with self._objects.translated():
            # Asked in another way: a server that leaves out a page does so in one of them.
            tops = self._objects.client.list_objects(self._bucket, prefix=f"{self._prefix}runs/")
            again = {(item.object_name or "").removeprefix(f"{self._prefix}runs/").strip("/") for item in tops}
        if not {name for name in again if is_run_id(name)} <= folders:
            raise self._partial()
        return found

    def check_missing(self, digests: Collection[str]) -> None:
        """Looks for objects that a listing does not have.

        Raises:
            Unavailable: The bucket has one of them, so the listing was not whole.
        """
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            if any(pool.map(self._objects.has, digests)):
                raise self._partial()

    def tail(self, digest: str, size_bytes: int) -> bytes:
        """Returns the last bytes of an object, not verified."""
        length = min(_TAIL_BYTES, size_bytes)
        if not length:
            return b""
        with self._objects.translated():
            response = self._objects.client.get_object(
                self._bucket, self._objects.key(digest), offset=size_bytes - length, length=length
            )
            try:
                return response.read()
            finally:
                response.close()

    def was_stored_after(self, digest: str, moment: datetime) -> bool:
        """Tells whether somebody has stored an object again since a moment."""
        found = self._objects.look(digest)
        return found is not None and (found.modified_at is None or found.modified_at > moment)

    def remove(self, digests: Collection[str]) -> None:
        """Removes objects, several at once.

        Raises:
            FetchmlError: The server does not answer or denies it; what was removed so far stays removed.
        """
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            list(pool.map(self._remove, digests))

    def _remove(self, digest: str) -> None:
        with self._objects.translated():
            self._objects.client.remove_object(self._bucket, self._objects.key(digest))

    def _partial(self) -> Unavailable:
        return Unavailable(
            "the S3 server did not list everything it has",
            detail=f"bucket `{self._bucket}` at {self._objects.place.endpoint}",
            hint="nothing was removed; repeat the command, and look at the server if it happens again",
            code="partial-listing",
        )
