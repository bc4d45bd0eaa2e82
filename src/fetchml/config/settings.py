"""Every setting fetchml knows: key, kind, default, meaning.

A dataclass and not a pydantic model, because commands people type read it first: building a pydantic settings class
costs more CPU than the whole of `fetchml status` may (`docs/decisions/0004-settings-without-pydantic.md`).
"""

from dataclasses import Field, dataclass, field, fields
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from fetchml.config.blocks import BlockName
from fetchml.config.kinds import (
    Choice,
    Choices,
    Datasets,
    DurationKind,
    File,
    Flag,
    Folder,
    ImageName,
    Kind,
    Number,
    Paths,
    Size,
    SizeRange,
    Text,
    Variables,
)
from fetchml.config.object_urls import AMAZON, BucketUrl, Endpoint, Region
from fetchml.models.units import GIB, MIB

RETRYABLE = (
    *("code_error", "data_error", "out_of_memory", "gpu_out_of_memory", "timeout", "image_error", "infrastructure"),
    *("host_lost", "storage_full"),
)
"""End reasons of failed runs, all of which may be tried again."""


class Scope(StrEnum):
    """Where a setting may be written."""

    PROJECT = "project"
    """In the project's `fetchml.yaml` and everywhere else."""
    HOST = "host"
    """Not in a project: the machine's one worker serves all projects."""


def _setting(key: str, kind: Kind, default: Any, description: str, scope: Scope = Scope.PROJECT) -> Any:
    metadata = {"key": key, "kind": kind, "description": description, "scope": scope}
    if isinstance(default, dict):
        return field(default_factory=dict[str, str], metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one call, after all layers were merged."""

    home: Path = _setting(
        "home", Folder(), Path("~/.fetchml"), "Folder of the run store, the caches and the private server", Scope.HOST
    )
    engine: str = _setting(
        "engine",
        Choice("auto", "docker", "podman", "process"),
        "auto",
        "What starts runs; auto takes the first of docker, podman, process that answers",
    )
    image: str = _setting("image", ImageName(512), "python:3.12-slim", "Base image of runs in containers")
    execution_mode: str = _setting(
        "execution_mode",
        Choice("queue", "direct"),
        "queue",
        "queue: through Prefect and the worker; direct: at once, in this process, for scripts and debugging",
    )
    repro_policy: str = _setting(
        "repro_policy",
        Choice("strict", "best-effort"),
        "strict",
        "strict: what could not be repeated is refused; best-effort: it runs, and its record says what it lacks",
    )
    priority: int = _setting("priority", Number(0, 10, whole=True), 5, "Priority of new runs, higher first")
    network: str = _setting("network", Choice("bridge", "none"), "bridge", "What containers may reach")
    gpus: float = _setting(
        "resources.gpus", Number(0, 64), 0.0, "GPUs a run asks for; a fraction is a share of one device"
    )
    gpu_memory: tuple[int | None, int | None] | None = _setting(
        "resources.gpu_memory",
        SizeRange(),
        None,
        "GPU memory a run needs on each device",
    )
    gpu_vendor: str = _setting(
        "resources.gpu_vendor",
        Choice("auto", "nvidia", "amd", "intel", "apple", "any"),
        "auto",
        "Maker of the GPUs; auto is the one maker this lab has, and must be chosen where there are several",
    )
    gpu_model: str | None = _setting(
        "resources.gpu_model", Text(128, optional=True), None, "Words the model of the GPUs must contain, such as A100"
    )
    cpus: float | None = _setting(
        "resources.cpus",
        Number(0.01, 4096, optional=True),
        None,
        "CPU cores a run asks for; 2, or all of a smaller host",
    )
    memory: int | None = _setting(
        "resources.memory", Size(optional=True), None, "Memory limit of a run; 8G, or half of a smaller host"
    )
    disk: int | None = _setting("resources.disk", Size(optional=True), None, "Free disk space a run needs on its host")
    arch: str = _setting(
        "resources.arch", Choice("any", "amd64", "arm64"), "any", "Instruction set of the host a run needs"
    )
    host: str | None = _setting("resources.host", Text(253, optional=True), None, "The one host a run may go to")
    shm: int = _setting("resources.shm", Size(), GIB, "Size of /dev/shm in containers")
    max_runtime: int | None = _setting(
        "resources.max_runtime", DurationKind(optional=True), None, "Time after which a run is stopped; none: never"
    )
    retries_max: int = _setting(
        "retries.max", Number(0, 20, whole=True), 3, "Further attempts of a run that failed for no reason of its own"
    )
    retries_on: tuple[str, ...] = _setting(
        "retries.on",
        Choices(*RETRYABLE),
        ("infrastructure", "host_lost"),
        "Ends after which a run is tried again",
    )
    retries_backoff: int = _setting(
        "retries.backoff",
        DurationKind(),
        30,
        "Time before the second attempt; each further one waits twice as long, at most an hour",
    )
    environment_mode: str = _setting(
        "environment.mode",
        Choice("auto", "locked", "as-is"),
        "auto",
        "auto: built from the dependency manifest if there is one; as-is: the Python of the image or host, unchanged",
    )
    environment_manifest: str | None = _setting(
        "environment.manifest",
        Text(512, optional=True),
        None,
        "Dependency manifest to build from, relative to the project; none: the first that is found",
    )
    environment_python: str | None = _setting(
        "environment.python", Text(512, optional=True), None, "Python version to build with, or the interpreter to use"
    )
    snapshot_max_bytes: int = _setting(
        "snapshot.max_size", Size(), 200 * MIB, "Largest code tree accepted; data belongs into datasets"
    )
    snapshot_max_files: int = _setting(
        "snapshot.max_files", Number(1, 1_000_000, whole=True), 20_000, "Most files a code tree may have"
    )
    snapshot_allow_secrets: tuple[str, ...] = _setting(
        "snapshot.allow_secrets",
        Paths(),
        (),
        "Files and folders that may look like secrets; `--allow-secret` adds to them",
    )
    snapshot_other_file_systems: bool = _setting(
        "snapshot.other_file_systems", Flag(), False, "Capture folders of the project that lie on another file system"
    )
    env: dict[str, str] = _setting("env", Variables(), {}, "Environment variables of runs")
    dataset_specs: tuple[str, ...] = _setting(
        "dataset_specs", Datasets(), (), "Datasets of runs, which `--data` adds to or replaces by name"
    )
    datasets_stage: str = _setting(
        "datasets.stage",
        Choice("never", "remote", "always"),
        "never",
        "Which datasets in folders are copied to this host before a run reads them: remote is those on NFS, SMB and"
        " the like",
        Scope.HOST,
    )
    datasets_cache_ttl: int | None = _setting(
        "datasets.cache.ttl",
        DurationKind(optional=True),
        30 * 24 * 3600,
        "Time since its last use after which the copy of a dataset is removed; none: no limit",
        Scope.HOST,
    )
    datasets_cache_max_bytes: int | None = _setting(
        "datasets.cache.max_size",
        Size(optional=True),
        None,
        "Space for all copies of datasets; those not used for longest go first; none: as much as the disk has",
        Scope.HOST,
    )
    datasets_check_after: str = _setting(
        "datasets.check_after",
        Choice("never", "stat", "full"),
        "stat",
        "How datasets are compared again after a run; stat: what was touched is read; full: all is read",
        Scope.HOST,
    )
    datasets_check_limit: int = _setting(
        "datasets.check_limit",
        DurationKind(),
        60,
        "Time that comparing after a run may take, which its seal waits for; the record says if it did not do",
        Scope.HOST,
    )
    datasets_timeout: int = _setting(
        "datasets.timeout",
        DurationKind(),
        60,
        "Time without a byte and without an entry of a folder after which data counts as gone",
        Scope.HOST,
    )
    datasets_block: str | None = _setting(
        "datasets.block",
        BlockName(),
        None,
        "Prefect block that says where the catalogue of datasets is: the name of a fetchml Dataset Catalogue",
        Scope.HOST,
    )
    seal_sign: bool = _setting("seal.sign", Flag(), False, "Sign the records of new runs with the key of this host")
    output_max_bytes: int = _setting(
        "output.max_size", Size(), GIB, "Output kept of a run; the rest is dropped, with a mark", Scope.HOST
    )
    sampling_interval: int | None = _setting(
        "sampling.interval",
        DurationKind(optional=True),
        5,
        "Time between two looks at what a run uses, for `resources.jsonl`; none: never",
        Scope.HOST,
    )
    stop_grace: int = _setting(
        "stop_grace", DurationKind(), 30, "Time between SIGTERM and SIGKILL when a run is stopped", Scope.HOST
    )
    prefect_api_url: str | None = _setting(
        "prefect.api_url", Text(2048, optional=True), None, "Prefect server to use instead of a private one", Scope.HOST
    )
    prefect_port: int = _setting(
        "prefect.port", Number(0, 65_535, whole=True), 0, "Port of the private server; 0 takes a free one", Scope.HOST
    )
    prefect_database_url: str | None = _setting(
        "prefect.database_url",
        Text(2048, optional=True),
        None,
        "Database of the private server, such as postgresql+asyncpg://...; none: SQLite in the home folder",
        Scope.HOST,
    )
    prefect_pool: str = _setting("prefect.pool", Text(64), "fetchml", "Work pool runs are queued in", Scope.HOST)
    worker_poll: int = _setting(
        "worker.poll",
        DurationKind(),
        2,
        "Time between two looks at the queue when nothing wakes the worker",
        Scope.HOST,
    )
    worker_heartbeat: int = _setting(
        "worker.heartbeat", DurationKind(), 10, "Time between two signs of life of a worker", Scope.HOST
    )
    worker_lease: int = _setting(
        "worker.lease",
        DurationKind(),
        60,
        "Time without a sign of life after which a host counts as silent; what runs there is never started elsewhere",
        Scope.HOST,
    )
    metrics_listen: str | None = _setting(
        "metrics.listen",
        Text(128, optional=True),
        "127.0.0.1:9464",
        "Where the worker serves figures for Prometheus; none: nowhere",
        Scope.HOST,
    )
    queue_policy: str = _setting(
        "queue.policy",
        Choice("default", "easy", "fifo"),
        "default",
        "Order of runs of one priority; default: short, narrow and long waiting first, with backfill; easy: in turn,"
        " with backfill; fifo: strictly in turn",
        Scope.HOST,
    )
    queue_user_gpus: float | None = _setting(
        "queue.user_gpus", Number(0, 1024, optional=True), None, "GPUs one user may hold at once", Scope.HOST
    )
    queue_user_runs: int | None = _setting(
        "queue.user_runs",
        Number(0, 100_000, whole=True, optional=True),
        None,
        "Runs one user may have started at once",
        Scope.HOST,
    )
    queue_group_gpus: float | None = _setting(
        "queue.group_gpus", Number(0, 1024, optional=True), None, "GPUs one group may hold at once", Scope.HOST
    )
    queue_group_runs: int | None = _setting(
        "queue.group_runs",
        Number(0, 100_000, whole=True, optional=True),
        None,
        "Runs of one group that may be started at once",
        Scope.HOST,
    )
    gateway_listen: str | None = _setting(
        "gateway.listen",
        Text(256, optional=True),
        None,
        "Address and port for other hosts and computers, such as 0.0.0.0:8470; none: nobody else is let in",
        Scope.HOST,
    )
    gateway_url: str | None = _setting(
        "gateway.url",
        Text(512, optional=True),
        None,
        "Address that others reach the gateway by, such as https://lab.example:8470; none: the name of this host",
        Scope.HOST,
    )
    gateway_cert_file: Path | None = _setting(
        "gateway.cert_file",
        File(optional=True),
        None,
        "Certificate of the gateway with those it is signed by; none: one of this home's own, which others are given",
        Scope.HOST,
    )
    gateway_key_file: Path | None = _setting(
        "gateway.key_file", File(optional=True), None, "Private key of gateway.cert_file", Scope.HOST
    )
    docker_host: str | None = _setting(
        "docker.host", Text(512, optional=True), None, "Docker socket; none: DOCKER_HOST or the default", Scope.HOST
    )
    docker_block: str | None = _setting(
        "docker.block",
        Text(128, optional=True),
        None,
        "Prefect block to connect with: the name of a fetchml Container Engine, or `docker-host/NAME`",
        Scope.HOST,
    )
    podman_socket: str | None = _setting(
        "podman.socket", Text(512, optional=True), None, "Podman socket; none: the user's or the system's", Scope.HOST
    )
    podman_block: str | None = _setting(
        "podman.block",
        BlockName(),
        None,
        "Prefect block to connect with: the name of a fetchml Container Engine that is for Podman",
        Scope.HOST,
    )
    objects_url: str | None = _setting(
        "objects.url",
        BucketUrl(),
        None,
        "Bucket for code and other objects, such as s3://bucket/prefix; none: a folder in the home folder",
        Scope.HOST,
    )
    objects_block: str | None = _setting(
        "objects.block",
        BlockName(),
        None,
        "Prefect block that says where objects are: the name of a fetchml Snapshot Store; in place of objects.url",
        Scope.HOST,
    )
    objects_runs: str = _setting(
        "objects.runs",
        Choice("keep", "copy"),
        "keep",
        "copy: sealed runs with their results are copied to the bucket as well; keep: they stay on this host",
        Scope.HOST,
    )
    s3_endpoint: str = _setting(
        "objects.s3.endpoint",
        Endpoint(),
        AMAZON,
        "S3 server of the bucket; http:// to another host needs objects.s3.allow_http",
        Scope.HOST,
    )
    s3_region: str | None = _setting(
        "objects.s3.region", Region(), None, "Region of the bucket; none: the server is asked for it", Scope.HOST
    )
    s3_credentials_block: str | None = _setting(
        "objects.s3.credentials_block",
        BlockName(),
        None,
        "Prefect block with server and key: the name of a fetchml S3 Credentials; in place of the environment",
        Scope.HOST,
    )
    s3_ca_file: Path | None = _setting(
        "objects.s3.ca_file",
        File(optional=True),
        None,
        "Certificates to trust at the S3 server; none: SSL_CERT_FILE, then the public ones",
        Scope.HOST,
    )
    s3_allow_http: bool = _setting(
        "objects.s3.allow_http",
        Flag(),
        False,
        "Reach an S3 server on another host without TLS, where everyone on the way can read and change the data",
        Scope.HOST,
    )
    s3_allow_public: bool = _setting(
        "objects.s3.allow_public",
        Flag(),
        False,
        "Store code in a bucket that lists its objects to anyone, without credentials",
        Scope.HOST,
    )
    s3_timeout: int = _setting(
        "objects.s3.timeout",
        DurationKind(),
        30,
        "Time without a byte from the S3 server after which a try ends",
        Scope.HOST,
    )
    s3_retries: int = _setting(
        "objects.s3.retries", Number(0, 20, whole=True), 3, "Further tries of a request to the S3 server", Scope.HOST
    )
    color: str = _setting("color", Choice("auto", "always", "never"), "auto", "Colour in the terminal")
    debug: bool = _setting("debug", Flag(), False, "Show tracebacks")

    @property
    def store(self) -> Path:
        """The run store."""
        return self.home / "store"

    @property
    def services(self) -> Path:
        """Locks, logs and state of the private server and the worker."""
        return self.home / "services"


@cache
def by_key() -> dict[str, Field[Any]]:
    """Returns the settings by key, in the order they are declared."""
    return {item.metadata["key"]: item for item in fields(Settings)}
