"""Opens the place of a dataset. The client of buckets takes a quarter of a second to import: only who needs it does."""

from typing import TYPE_CHECKING

from fetchml.datasets.bucket_url import read_bucket_url
from fetchml.datasets.catalogue import Dataset
from fetchml.datasets.source import FolderSource, Source
from fetchml.objects.choose import ObjectSettings, access
from fetchml.objects.s3_place import S3Place

if TYPE_CHECKING:
    from fetchml.datasets.bucket import BucketSource


def open_source(entry: Dataset, settings: ObjectSettings) -> Source:
    """Returns what a dataset is copied from; asks no server.

    Raises:
        ConfigError: It is in a bucket, and the environment holds no credentials.
    """
    return open_bucket(entry.uri, settings) if entry.path is None else FolderSource(entry.path)


def open_bucket(uri: str, settings: ObjectSettings) -> "BucketSource":
    """Returns a dataset in a bucket, by the address that the catalogue has.

    Raises:
        ConfigError: It is no such address, or the environment holds no credentials.
    """
    from fetchml.datasets.bucket import BucketSource

    bucket, prefix = read_bucket_url(uri)
    found = access(settings)
    place = S3Place(bucket, prefix, found.endpoint, found.region, found.ca_file)
    return BucketSource(place, found.credentials, settings.patience, lambda: access(settings).credentials)


def find_bucket(text: str, settings: ObjectSettings) -> "BucketSource":
    """Returns the dataset that a user's address means: the keys below it, or the one object that has it.

    Raises:
        ConfigError: It is no such address, there are both, or the environment holds no credentials.
        FetchmlError: The server says no, or nothing.
    """
    _, key = read_bucket_url(text)
    if not key or key.endswith("/"):
        return open_bucket(text, settings)
    return open_bucket(f"{text}/", settings).or_file()
