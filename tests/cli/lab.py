"""A user with a bucket, for tests of what lies there."""

import io
import json
from pathlib import Path

from cli.calls import Done, User
from contract.s3_servers import CREDENTIALS, S3Server
from fetchml.objects.directory import DirectoryObjects

KEYS: dict[str, str | None] = {
    "AWS_ACCESS_KEY_ID": CREDENTIALS.access_key,
    "AWS_SECRET_ACCESS_KEY": CREDENTIALS.secret_key,
    "FETCHML_OBJECTS_S3_REGION": "us-east-1",
}


class Lab:
    """A user, and a bucket they may use."""

    def __init__(self, user: User, server: S3Server, staging: Path) -> None:
        self.user = user
        self.server = server
        self.bucket = server.new_bucket()
        self.url = f"s3://{self.bucket}/lab"
        self.objects = server.objects(self.bucket, staging)
        user.env.update(KEYS, FETCHML_OBJECTS_S3_ENDPOINT=server.endpoint)
        user.env["FETCHML_OBJECTS_S3_ALLOW_PUBLIC"] = "true"  # moto asks nobody who they are

    @property
    def folder(self) -> DirectoryObjects:
        return DirectoryObjects(self.user.home / "store" / "objects")

    def use_bucket(self) -> None:
        self.user.env["FETCHML_OBJECTS_URL"] = self.url

    def migrate(self, *words: str) -> Done:
        return self.user.call("objects", "migrate", *words)

    def fill(self, count: int, size: int = 1) -> list[str]:
        with self.folder.batch() as batch:
            return [batch.put_bytes(b"%d" % number * size) for number in range(count)]


def run_directly(user: User) -> str:
    done = user.call("queue", "--json", "train.py", env={"FETCHML_EXECUTION_MODE": "direct"})
    assert done.code == 0, done.err
    return json.loads(done.out[done.out.index("{\n") :])["run_id"]


def damage(lab: Lab, digest: str, content: bytes) -> None:
    lab.server.client().put_object(lab.bucket, lab.objects.key(digest), io.BytesIO(content), len(content))
