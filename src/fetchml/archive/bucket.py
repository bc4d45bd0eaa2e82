"""The bucket that runs are copied to: its objects, and the records beside them."""

from dataclasses import dataclass

from fetchml.archive.record import SealedRecord, read_sealed
from fetchml.errors import ConfigError, Corrupt
from fetchml.home import Home
from fetchml.objects.choose import Location, locate, open_objects
from fetchml.objects.port import ObjectStore
from fetchml.objects.records import MANIFEST, Records
from fetchml.objects.s3_place import S3Place


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where copies of runs are."""

    name: str
    """For people, and to tell one bucket from another."""
    objects: ObjectStore
    records: Records

    def record(self, run_id: str) -> SealedRecord | None:
        """Returns the record of a run, or None if the bucket does not have the run.

        Raises:
            Corrupt: What is there is not a sealed record of that run.
        """
        content = self.records.read(run_id, MANIFEST)
        return None if content is None else read_sealed(run_id, content)

    def sound_record(self, run_id: str) -> SealedRecord | None:
        """Returns the record of a run; None if there is none, or one that has to be replaced."""
        try:
            return self.record(run_id)
        except Corrupt:
            return None


def place_of(home: Home) -> S3Place | None:
    """Returns the bucket that the settings name, or None if objects are in a folder; asks it nothing."""
    place = locate(None, home.object_settings)
    return place if isinstance(place, S3Place) else None


def shown(place: S3Place) -> str:
    """Returns the name of a place for people."""
    return f"{place} at {place.endpoint}"


def open_bucket(home: Home, url: str | None = None) -> Bucket:
    """Returns a bucket; asks it nothing.

    Args:
        home: The home folder.
        url: `s3://bucket/prefix`; None takes that of the settings.

    Raises:
        ConfigError: It is no bucket, or there are no credentials for it.
    """
    place: Location = locate(url, home.object_settings)
    if not isinstance(place, S3Place):
        raise ConfigError(
            "runs are copied to and from a bucket only",
            detail=f"`{place}` is a folder",
            hint="set `objects.url`, or name a bucket such as s3://bucket/prefix",
            code="no-bucket",
        )
    from fetchml.objects.s3 import S3Objects  # the client takes a quarter of a second to import
    from fetchml.objects.s3_records import S3Records

    objects = home.objects if url is None else open_objects(place, home.object_settings, announces=True)
    assert isinstance(objects, S3Objects)  # noqa: S101  # that is what a place in a bucket opens
    return Bucket(shown(place), objects, S3Records(objects))
