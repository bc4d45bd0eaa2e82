"""Which object store is used: the one that the settings name, or one that a command names by its address."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fetchml.config.blocks import S3_CREDENTIALS, SNAPSHOT_STORE, ReadBlock, nowhere
from fetchml.config.object_urls import AMAZON, refuse_credentials, split_url
from fetchml.errors import ConfigError
from fetchml.objects.directory import DirectoryObjects
from fetchml.objects.from_block import access_of_block
from fetchml.objects.port import ObjectStore
from fetchml.objects.s3_place import (
    Patience,
    S3Access,
    S3Place,
    credentials_from,
    refuse_plain_http,
    s3_place,
)

if TYPE_CHECKING:
    from fetchml.objects.s3 import S3Objects

Location = Path | S3Place
"""Where objects are: a folder, or a bucket."""


@dataclass(frozen=True, slots=True)
class ObjectSettings:
    """How objects are reached from this host."""

    folder: Path
    """Where they are by default."""
    staging: Path
    """Folder on this host for what is on its way to a bucket."""
    endpoint: str = AMAZON
    region: str | None = None
    patience: Patience = field(default_factory=Patience)
    url: str | None = None
    """The bucket that takes the place of the folder."""
    ca_file: Path | None = None
    allow_http: bool = False
    allow_public: bool = False
    block: str | None = None
    """`SnapshotStore` that takes the place of the folder."""
    credentials_block: str | None = None
    """`S3Credentials` that takes the place of the endpoint, the region and the environment."""
    read_block: ReadBlock = nowhere


def locate(text: str | None, settings: ObjectSettings) -> Location:
    """Returns the place that an address means; without one, the place of the settings.

    Args:
        text: `s3://bucket/prefix`, `file:///folder`, or the path of a folder.
        settings: How objects are reached from this host.

    Raises:
        ConfigError: It is no such address, or a block does not do.
        Unavailable: A block is named, and the Prefect server does not answer.
    """
    if text is not None:
        return _place(_parsed(text), settings)
    if settings.block is None:
        return settings.folder if settings.url is None else _place(_parsed(settings.url), settings)
    if settings.url is not None:
        raise ConfigError(
            "two settings say where objects are", detail="`objects.url` and `objects.block`", hint="remove one of them"
        )
    fields = settings.read_block(SNAPSHOT_STORE, settings.block)
    location = fields.text("location")
    parsed = fields.read("location", _parsed, location)
    if isinstance(parsed, Path) and not Path(location.removeprefix("file://")).expanduser().is_absolute():
        raise fields.wrong("location", "it is neither the URL of a bucket nor an absolute path")
    return _place(parsed, settings)


def open_objects(location: Location, settings: ObjectSettings, *, announces: bool = False) -> ObjectStore:
    """Returns the store at a place; asks it nothing.

    Raises:
        ConfigError: It is a bucket, and there are no credentials for it, or it would be reached without TLS.
        Unavailable: A block is named, and the Prefect server does not answer.
    """
    if isinstance(location, Path):
        return DirectoryObjects(location)
    return open_bucket(location, settings, announces=announces)


def access(settings: ObjectSettings) -> S3Access:
    """Returns the S3 server and who uses it: as a block says now, else as the settings and the environment say.

    Raises:
        ConfigError: There are no credentials, a block does not do, or the server would be reached without TLS.
        Unavailable: A block is named, and the Prefect server does not answer.
    """
    found = _access_of_block(settings)
    endpoint = settings.endpoint if found is None else found.endpoint
    if not settings.allow_http:
        refuse_plain_http(endpoint)
    return found or S3Access(endpoint, settings.region, settings.ca_file, credentials_from(os.environ))


def self_test(location: Location, settings: ObjectSettings) -> None:
    """Asks a store for an object, and a bucket whether it lists its objects to anyone.

    Raises:
        ConfigError: A setting or a block does not do.
        Forbidden: The credentials do not do.
        Refused: The bucket is public, or its server cannot prove who it is.
        Unavailable: The server does not answer.
    """
    objects = open_bucket(location, settings) if isinstance(location, S3Place) else None
    (objects or open_objects(location, settings)).has("0" * 64)
    if objects is not None:
        objects.check_privacy()


def shown(location: Location) -> str:
    """Returns a place in words."""
    return str(location) if isinstance(location, Path) else f"{location} at {location.endpoint}"


def open_bucket(location: S3Place, settings: ObjectSettings, *, announces: bool = False) -> "S3Objects":
    """Returns the objects of a bucket; asks it nothing. See `open_objects`."""
    from fetchml.objects.s3 import S3Objects  # the client takes a quarter of a second to import

    return S3Objects(
        location,
        access(settings).credentials,
        settings.staging,
        settings.patience,
        renew=lambda: access(settings).credentials,
        allow_public=settings.allow_public,
        announces=announces,
    )


def _parsed(address: str) -> str | Path:
    """Returns the URL of a bucket, or the path of a folder."""
    scheme, separator, rest = address.partition("://")
    if separator:
        refuse_credentials(address)
    if separator and scheme == "s3":
        split_url(address)
        return address
    path = rest if separator else address
    if (separator and (scheme != "file" or not path.startswith("/"))) or not path or "\0" in path:
        raise ConfigError(
            f"`{address[:100]}` is no place for objects",
            detail="expected `s3://bucket/prefix`, `file:///folder`, or the path of a folder",
        )
    return Path(path).expanduser().resolve()


def _place(parsed: str | Path, settings: ObjectSettings) -> Location:
    if isinstance(parsed, Path):
        return parsed
    found = _access_of_block(settings)
    if found is None:
        return s3_place(parsed, settings.endpoint, settings.region, settings.ca_file)
    return s3_place(parsed, found.endpoint, found.region, found.ca_file)


def _access_of_block(settings: ObjectSettings) -> S3Access | None:
    """Returns the server and the credentials that a block holds; None if the settings name no such block."""
    fields = settings.read_block(SNAPSHOT_STORE, settings.block).nested("credentials") if settings.block else None
    if fields is None and settings.credentials_block is not None:
        fields = settings.read_block(S3_CREDENTIALS, settings.credentials_block)
    if fields is None:
        return None
    found = access_of_block(fields)
    if settings.endpoint not in (AMAZON, found.endpoint):
        raise ConfigError(
            "the settings and a block name different S3 servers",
            detail=f"`objects.s3.endpoint` is {settings.endpoint}, that of `{fields.block}` is {found.endpoint}",
            hint="remove `objects.s3.endpoint`: a key goes to the server of its block",
        )
    return replace(found, region=found.region or settings.region, ca_file=found.ca_file or settings.ca_file)
