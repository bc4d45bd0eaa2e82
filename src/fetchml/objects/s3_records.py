"""Records of runs in a bucket: `<prefix>runs/<run_id>/run_manifest.json` and `plan.json`, named as on disk."""

import io
from collections.abc import Iterator

from minio.error import S3Error

from fetchml.errors import Unavailable
from fetchml.models.ids import is_run_id
from fetchml.objects.records import MANIFEST
from fetchml.objects.s3 import S3Objects


class S3Records:
    """Records beside the objects of a bucket.

    Args:
        objects: The objects.
    """

    def __init__(self, objects: S3Objects) -> None:
        self._objects = objects
        self._bucket = objects.place.bucket
        self._root = f"{objects.place.prefix}runs/"

    def run_ids(self) -> Iterator[str]:
        for item in self._objects.listed(self._root):
            run_id, _, name = (item.object_name or "").removeprefix(self._root).partition("/")
            if name == MANIFEST and is_run_id(run_id):
                yield run_id

    def read(self, run_id: str, name: str) -> bytes | None:
        with self._objects.translated():
            try:
                response = self._objects.client.get_object(self._bucket, self._key(run_id, name))
            except S3Error as error:
                if error.code != "NoSuchKey":
                    raise
                return None
            try:
                return response.read()
            finally:
                response.close()

    def write(self, run_id: str, name: str, content: bytes) -> None:
        self._objects.check_privacy()
        with self._objects.translated():
            self._objects.client.put_object(self._bucket, self._key(run_id, name), io.BytesIO(content), len(content))
        if self.read(run_id, name) != content:
            raise Unavailable(
                f"`{name}` of run `{run_id}` did not arrive as it was sent",
                detail=f"bucket `{self._bucket}` at {self._objects.place.endpoint}",
                hint="it is tried again; if it happens again, look at the server, and whether another home copies"
                " the same run",
                code="s3-unavailable",
            )

    def _key(self, run_id: str, name: str) -> str:
        return f"{self._root}{run_id}/{name}"
