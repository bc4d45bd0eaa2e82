"""The home folder of fetchml on this host: where everything is, put together from the settings.

```
<home>/config.yaml    the user's settings
<home>/store/         runs and objects: the truth
<home>/keys/          keys that records are signed with, and those that are trusted
<home>/snapshots/     materialised code, rebuilt when missing
<home>/environments/  virtual environments and what is known of built images
<home>/cache/uv/      packages, shared by all builds
<home>/cache/datasets.sqlite  what the files of datasets were found to hold
<home>/cache/uploads/ what is on its way to a bucket
<home>/cache/datasets/  copies of datasets
<home>/cache/announced-*  buckets that know of this home
<home>/cache/trees/   which files of a project were read, and what they were
<home>/processes/     state of live runs of the process engine
<home>/support/       what is put into every run
<home>/prefect/       the private Prefect server's own home
<home>/services/      locks, logs and state of the server, the worker and the gateway
<home>/gateway/       keys that open the gateway, its certificate, and what is arriving
<home>/gateway.json   the lab this home belongs to, if it is none of its own
<home>/spool/         what the control host of that lab may not know yet
```
"""

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import fetchml
import fetchml.metric
from fetchml import durable
from fetchml.config.blocks import DATASET_CATALOGUE, TITLES, BlockFields
from fetchml.config.layers import bad_home
from fetchml.config.settings import Settings
from fetchml.daemons.server import PrivateServer
from fetchml.datasets.catalogue import Catalogue, folder_of_block
from fetchml.datasets.oversight import Oversight
from fetchml.datasets.places import check_place
from fetchml.datasets.staging import Limits, Staging
from fetchml.datasets.stat_cache import StatCache
from fetchml.engine.choose import EngineSettings, addresses
from fetchml.errors import Bug, NotFound, Unavailable
from fetchml.keys.ring import KeyRing
from fetchml.link.client import Link
from fetchml.link.login import Login, read_login
from fetchml.models.host import user_name
from fetchml.models.units import MIB
from fetchml.objects.choose import ObjectSettings, locate, open_objects
from fetchml.objects.directory import DirectoryObjects
from fetchml.objects.port import ObjectStore
from fetchml.objects.remote import RemoteObjects
from fetchml.objects.s3_place import Patience
from fetchml.prefect_api.blocks import read_block
from fetchml.prefect_api.client import PrefectClient
from fetchml.snapshot.capture import Observe
from fetchml.snapshot.known import KnownFiles
from fetchml.snapshot.materialise import SnapshotCache
from fetchml.store.directory import DirectoryRunStore
from fetchml.store.hosts import DirectoryHosts, Hosts
from fetchml.store.index import RunIndex
from fetchml.store.live import LiveRuns
from fetchml.store.outpost import OutpostRunStore
from fetchml.store.port import RunStore
from fetchml.store.readers import Readers, readers
from fetchml.store.remote import RemoteRunStore
from fetchml.store.remote_hosts import RemoteHosts
from fetchml.store.remote_index import RemoteIndex
from fetchml.store.remote_live import RemoteLive

_BLOCK_TIMEOUT_S = 10
_RESERVE = "reserve"
_RESERVE_BYTES = 16 * MIB
"""Enough to seal dozens of runs: a manifest and its metrics take kilobytes."""


class Home:
    """The parts of fetchml on this host.

    Args:
        settings: The settings of this call.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.path = settings.home

    @cached_property
    def login(self) -> Login | None:
        """The lab this home belongs to; None if it is one of its own.

        Raises:
            Corrupt: What is stored of it cannot be read.
        """
        return read_login(self.path)

    @cached_property
    def link(self) -> Link | None:
        """The gateway of the lab; None if this home is a lab of its own."""
        return None if self.login is None else Link(self.login)

    @cached_property
    def store(self) -> RunStore:
        """The run store: a directory, that of the lab, or on a host of a lab what it has taken and the rest there."""
        if self.link is None:
            return DirectoryRunStore(self.settings.store)
        return self.far_store if self.link.login.kind == "user" else self.outpost

    @cached_property
    def far_store(self) -> RemoteRunStore:
        """The run store of the lab, through its gateway."""
        return RemoteRunStore(self._link, self.path / "cache" / "lab" / "runs")

    @cached_property
    def outpost(self) -> OutpostRunStore:
        """What this host of a lab has taken, and the rest."""
        return OutpostRunStore(DirectoryRunStore(self.settings.store), self.far_store, self.path / "spool")

    @property
    def index(self) -> RunIndex | RemoteIndex:
        """What lists show of runs."""
        return RunIndex(self.settings.store) if self.link is None else RemoteIndex(self.link)

    def live_runs(self) -> LiveRuns | RemoteLive:
        """Returns the rows of runs, for one who looks at them again and again."""
        return LiveRuns(self.settings.store) if self.link is None else RemoteLive(self.link)

    @property
    def hosts(self) -> Hosts:
        """The hosts of the lab."""
        return DirectoryHosts(self.settings.store) if self.link is None else RemoteHosts(self.link)

    @property
    def user(self) -> str:
        """Who queues and stops runs from here."""
        return self.login.name if self.login is not None and self.login.kind == "user" else user_name()

    @property
    def lab_id(self) -> str:
        """Marks the runs of the lab's store in Prefect."""
        return self.store_id if self.login is None else self.login.store_id

    @property
    def _link(self) -> Link:
        if self.link is None:
            raise Bug("this home is a lab of its own")
        return self.link

    @cached_property
    def objects(self) -> ObjectStore:
        """The content-addressed objects.

        Raises:
            ConfigError: They are in a bucket, and there are no credentials for it; or a block does not do.
            Unavailable: A block says where they are, and the Prefect server does not answer.
        """
        if self.link is not None:
            return RemoteObjects(DirectoryObjects(self.settings.store / "objects"), self.link)
        return open_objects(locate(None, self.object_settings), self.object_settings, announces=True)

    @property
    def object_settings(self) -> ObjectSettings:
        """How objects are reached from this host."""
        settings = self.settings
        return ObjectSettings(
            folder=settings.store / "objects",
            staging=self.path / "cache" / "uploads",
            endpoint=settings.s3_endpoint,
            region=settings.s3_region,
            patience=Patience(read_s=settings.s3_timeout, tries=settings.s3_retries + 1),
            url=settings.objects_url,
            ca_file=settings.s3_ca_file,
            allow_http=settings.s3_allow_http,
            allow_public=settings.s3_allow_public,
            block=settings.objects_block,
            credentials_block=settings.s3_credentials_block,
            read_block=self.read_block,
        )

    def read_block(self, slug: str, name: str) -> BlockFields:
        """Returns the fields of a block as the Prefect server has them now.

        Args:
            slug: Type of the block.
            name: Its name.

        Raises:
            ConfigError: There is no such block.
            Unavailable: No server runs, or it does not answer.
        """
        api_url = self.settings.prefect_api_url or PrivateServer(self.settings).api_url
        if api_url is None:
            raise Unavailable(
                "the Prefect server is not running, and a block is kept there",
                detail=f"the settings name the block `{TITLES.get(slug, slug)}/{name}`",
                hint="`fetchml up` starts it",
                code="prefect-unavailable",
            )
        with PrefectClient(api_url, timeout_s=_BLOCK_TIMEOUT_S) as client:
            return read_block(client, slug, name)

    @property
    def has_place_for_objects(self) -> bool:
        """Whether the settings name a place for objects: a bucket, or a block that says where they are."""
        return self.settings.objects_url is not None or self.settings.objects_block is not None

    @property
    def keys(self) -> KeyRing:
        """The keys that records are signed with."""
        return KeyRing(self.path / "keys")

    @cached_property
    def snapshots(self) -> SnapshotCache:
        """The materialised snapshots."""
        return SnapshotCache(self.path / "snapshots", self.objects)

    @property
    def known_files(self) -> KnownFiles:
        """What is known of the files of projects."""
        return KnownFiles(self.path / "cache" / "trees")

    @cached_property
    def datasets(self) -> Catalogue:
        """The catalogue of datasets.

        Raises:
            ConfigError: A block says where it is, and does not do.
            Unavailable: A block says where it is, and the Prefect server does not answer.
        """
        block = self.settings.datasets_block
        if block is None:
            return Catalogue(self.settings.store / "datasets")
        return Catalogue(folder_of_block(self.read_block(DATASET_CATALOGUE, block)))

    @property
    def dataset_cache(self) -> StatCache:
        """What the files of datasets were found to hold."""
        return StatCache(self.path / "cache" / "datasets.sqlite")

    def oversight(
        self,
        observe: Observe | None = None,
        should_stop: Callable[[], bool] | None = None,
        within_s: float | None = None,
    ) -> Oversight:
        """Returns how the reading of data is watched over; see `Oversight`."""
        asked = Oversight(silence_s=self.settings.datasets_timeout, within_s=within_s, observe=observe)
        return asked if should_stop is None else replace(asked, should_stop=should_stop)

    @property
    def staging(self) -> Staging:
        """The copies of datasets on this host."""
        limits = Limits(self.settings.datasets_cache_ttl, self.settings.datasets_cache_max_bytes)
        return Staging(self.path / "cache" / "datasets", limits, lambda checksum: self.readers().is_read(checksum))

    def check_data_place(self, path: Path) -> None:
        """Checks that a path may be that of a dataset; see `check_place`.

        Raises:
            Refused: Runs would see what only the host should see.
        """
        check_place(path, self.path, addresses(self.engines).values())

    def readers(self) -> Readers:
        """Returns which runs that have not ended read which dataset, as it is now."""
        return readers(self.store, self.settings.store)

    @property
    def engines(self) -> EngineSettings:
        """How the engines of this host are reached."""
        return EngineSettings(
            processes=self.path / "processes",
            docker_host=self.settings.docker_host,
            podman_socket=self.settings.podman_socket,
        )

    @property
    def environments(self) -> Path:
        """Built environments."""
        return self.path / "environments"

    @property
    def package_cache(self) -> Path:
        """Uv's cache for image builds."""
        return self.path / "cache" / "uv"

    @property
    def services(self) -> Path:
        """Locks, logs and state of the server and the worker."""
        return self.settings.services

    @property
    def wake_pipe(self) -> Path:
        """Named pipe that wakes the worker; a pipe, because a socket's path may not exceed 107 bytes."""
        return self.services / "worker.wake"

    @property
    def store_id(self) -> str:
        """Marks this store's containers, so that two homes on one engine leave each other alone."""
        return hashlib.sha256(os.fsencode(self.settings.store.absolute())).hexdigest()[:16]

    def create(self) -> None:
        """Makes the home folder, readable by its owner only; an existing one is left as it is.

        Raises:
            ConfigError: It is no place for a folder.
            Forbidden: It cannot be written.
            Unavailable: The disk is full.
        """
        try:
            durable.make_folder(self.path, mode=0o700)
        except NotFound as error:
            raise bad_home(self.path, error.detail) from error
        reserve = self.path / _RESERVE
        if not reserve.exists():
            durable.reserve_space(reserve, _RESERVE_BYTES)

    def release_reserve(self) -> None:
        """Frees the space that `create` keeps back, so that running runs can be sealed on a full disk."""
        (self.path / _RESERVE).unlink(missing_ok=True)

    def support(self) -> Path:
        """Returns the folder that is put into every run: the part of fetchml that scripts may import."""
        sources = [Path(fetchml.__file__), Path(fetchml.metric.__file__)]
        contents = [source.read_bytes() for source in sources]
        folder = self.path / "support" / hashlib.sha256(b"\0".join(contents)).hexdigest()[:16]
        if not folder.exists():
            durable.make_folder(folder.parent)
            temporary = folder.parent / f"{durable.TEMPORARY_PREFIX}{secrets.token_hex(8)}"
            (temporary / "fetchml").mkdir(parents=True)
            for source, content in zip(sources, contents, strict=True):
                (temporary / "fetchml" / source.name).write_bytes(content)
            try:
                temporary.rename(folder)
            except OSError:
                shutil.rmtree(temporary, ignore_errors=True)  # another process was first
        return folder
