"""Runs as Docker containers, hardened, through Docker's own SDK."""

import fcntl
import os
import re
import stat
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from fetchml.containers import CONTAINER_PLACES, STORE_LABEL, ContainerSpec, Places, runtime_names
from fetchml.engine.cgroup import cgroup_usage
from fetchml.engine.container_log import Frame, LogCursor, frames
from fetchml.engine.port import ContainerState, EngineFacts, ImageFacts, Phase, StartFailed, Usage
from fetchml.engine.socket_api import get_json, image_url
from fetchml.errors import Conflict, NotFound, Unavailable
from fetchml.models.plan import EngineKind, Network
from fetchml.models.resources import GpuVendor
from fetchml.models.units import MIB

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

DEFAULT_SOCKET = "/var/run/docker.sock"
_CHUNK = 64 * 1024
_LOG_MIN_BYTES = 256 * MIB
_POLL_S = 0.1
_FIRST_POLL_S = 0.005
_NAME_WAIT_S = 10
_NEVER = "0001-01-01"


class DockerEngine:
    """The Docker daemon on a socket.

    Args:
        host: Address such as `unix:///var/run/docker.sock`; None takes DOCKER_HOST or the default socket.
        connect: Makes the SDK's client; the default connects to the host.
    """

    kind = EngineKind.DOCKER
    log_driver = "local"
    """Keeps the bytes as they are, which `json-file` does not: it replaces what is no UTF-8."""
    log_options: ClassVar[dict[str, str]] = {"max-file": "1", "compress": "false"}
    unset_value: ClassVar[str | None] = None
    """What a variable is set to that the image sets and a run may not have; None takes it out."""

    def __init__(self, host: str | None = None, connect: "Callable[[], DockerClient] | None" = None) -> None:
        self.host = host or os.environ.get("DOCKER_HOST") or f"unix://{DEFAULT_SOCKET}"
        self._connect = connect
        self._client: DockerClient | None = None

    @property
    def client(self) -> "DockerClient":
        """The SDK's client; the SDK is imported on first use."""
        if self._client is None:
            import docker

            with _translated(self.host):
                self._client = self._connect() if self._connect else docker.DockerClient(base_url=self.host, timeout=60)
        return self._client

    def facts(self) -> EngineFacts:
        answer = self._ask("/version", lambda: self.client.version())  # noqa: PLW0108  # connects only if asked
        version, architecture = str(answer.get("Version", "unknown")), str(answer.get("Arch", ""))
        return EngineFacts(self.kind, version, detail=self.host, architecture=architecture)

    def image(self, reference: str) -> ImageFacts:
        try:
            answer = self._ask(image_url(reference), lambda: self.client.images.get(reference).attrs)
        except NotFound as error:
            raise NotFound(
                f"the image `{reference}` is not on this host",
                detail=f"{self.kind} at {self.host} has no such image",
                hint=f"get it with `{self.kind} pull {reference}`, build one (docs/how-to/base-image.md), "
                "or run without containers with `--engine process`",
                code="image-missing",
            ) from error
        configured = cast("dict[str, Any]", answer.get("Config") or {})
        variables = cast("list[str]", configured.get("Env") or [])
        names = sorted({variable.partition("=")[0] for variable in variables})
        return ImageFacts(reference, str(answer["Id"]), str(answer.get("Architecture", "")), tuple(names))

    def places(self, name: str, results: Path, inbox: Path, support: Path) -> Places:
        return CONTAINER_PLACES

    def create(self, spec: ContainerSpec) -> None:
        import docker.errors

        deadline = time.monotonic() + _NAME_WAIT_S
        while True:
            try:
                with _translated(self.host):
                    return self._create(spec)
            except docker.errors.ImageNotFound as error:
                raise NotFound(f"the image `{spec.image}` is not on this host", code="image-missing") from error
            except docker.errors.APIError as error:
                if not _is_name_taken(error):
                    raise StartFailed("the engine refuses the container", detail=_explained(error)) from error
            existing = self._find(spec.name)
            if existing is not None and {name: existing.labels.get(name) for name in spec.labels} == spec.labels:
                return None
            # A name is taken some time before its container can be seen.
            if existing is not None or time.monotonic() > deadline:
                raise Conflict(f"another container uses the name `{spec.name}`", code="name-taken")
            time.sleep(_POLL_S)

    def start(self, name: str) -> None:
        import docker.errors

        container = self._get(name)
        with _one_at_a_time(container):
            # The engine would run an exited container a second time without a word.
            if self._state(self._get(name)).phase is not Phase.CREATED:
                return
            try:
                with _translated(self.host):
                    container.start()
            except docker.errors.APIError as error:
                raise StartFailed("the container cannot be started", detail=_explained(error)) from error

    def inspect(self, name: str) -> ContainerState | None:
        container = self._find(name)
        return None if container is None else self._state(container)

    def mounted(self, name: str, target: str) -> tuple[int, int] | None:
        pid = self._pid(name)
        path = f"/proc/{pid}/root"
        status = None
        with suppress(OSError):  # it has ended, or belongs to another user or to a virtual machine
            for part in target.strip("/").split("/") if pid else ():
                path = f"{path}/{part}"
                status = os.lstat(path)
                if stat.S_ISLNK(status.st_mode):  # would lead to a place of the host
                    return None
            return None if status is None else (status.st_dev, status.st_ino)
        return None

    def usage(self, name: str) -> Usage:
        pid = self._pid(name)
        return cgroup_usage(pid) if pid else Usage()

    def output(self, name: str, skip_bytes: int) -> Iterator[bytes]:
        cursor, pause = LogCursor(), _FIRST_POLL_S
        while True:
            # Following loses a last line that has no newline, and breaks when the daemon restarts: once the container
            # has ended the rest is read again.
            ended = self._state(self._get(name)).phase is Phase.EXITED
            with suppress(Unavailable):
                for group in cursor.fresh(self._stream(name, cursor.since, follow=not ended)):
                    fresh = b"".join(frame.content for frame in group)
                    if text := fresh[skip_bytes:]:
                        yield text
                    skip_bytes = max(0, skip_bytes - len(fresh))
                if ended:
                    return
            time.sleep(pause)
            pause = min(2 * pause, _POLL_S)

    def stop(self, name: str, grace_s: float) -> None:
        import docker.errors

        container = self._find(name)
        if container is None or self._state(container).phase is not Phase.RUNNING:
            return
        with _translated(self.host), suppress(docker.errors.NotFound):
            container.stop(timeout=max(0, round(grace_s)))

    def remove(self, name: str) -> None:
        import docker.errors

        container = self._find(name)
        if container is None:
            return
        with _translated(self.host), suppress(docker.errors.NotFound):
            try:
                container.remove(force=True, v=True)
            except docker.errors.APIError as error:
                if error.status_code != 409:  # 409: a removal is under way already
                    raise

    def names(self, store_id: str) -> list[str]:
        with _translated(self.host):
            found = self.client.containers.list(
                all=True, ignore_removed=True, filters={"label": f"{STORE_LABEL}={store_id}"}
            )
        return sorted(str(container.name) for container in found)

    def _create(self, spec: ContainerSpec) -> None:
        self.client.containers.create(**self._options(spec))

    def _options(self, spec: ContainerSpec) -> dict[str, Any]:
        """Returns what the SDK is asked for: the whole of a run's isolation is here."""
        from docker.types import LogConfig, Mount

        options: dict[str, Any] = {
            "image": spec.image,
            "name": spec.name,
            "labels": spec.labels,
            # The image's entry point would put words before the command.
            "entrypoint": [spec.argv[0]],
            "command": list(spec.argv[1:]),
            "working_dir": spec.workdir,
            "user": spec.user,
            "mounts": [
                Mount(target=mount.target, source=str(mount.source), type="bind", read_only=mount.read_only)
                for mount in spec.mounts
            ],
            "network_mode": "none" if spec.network is Network.NONE else "bridge",
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges:true"],
            "mem_limit": spec.memory_bytes,
            "memswap_limit": spec.memory_bytes,
            "shm_size": spec.shm_bytes,
            "nano_cpus": int(spec.cpus * 1e9),
            "pids_limit": spec.pids_limit,
            # pid 1 ignores signals it has no handler for; an init passes them on and reaps orphans.
            "init": True,
            "stdin_open": False,
            "tty": False,
            "detach": True,
            # Without a cap a run fills the engine's disk with its log. Beyond it the engine begins a new file, so there
            # is room for what is kept, for the engine's own words on each line, and for a reader that is behind.
            "log_config": LogConfig(
                type=self.log_driver,
                config={"max-size": f"{max(_LOG_MIN_BYTES, 2 * spec.output_max_bytes) >> 10}k", **self.log_options},
            ),
        }
        variables: dict[str, str | None] = {**dict.fromkeys(spec.unset, self.unset_value), **spec.env}
        if spec.path_prefix:
            path = spec.env.get("PATH") or _DEFAULT_PATH
            variables["PATH"] = ":".join([*spec.path_prefix, path])
        options["environment"] = variables
        options.update(_device_options(spec))
        return options

    def _stream(self, name: str, since: int, *, follow: bool) -> Iterator[list[Frame]]:
        """Yields the frames of the container's log with their time stamps, in groups as they arrive.

        Args:
            name: The container.
            since: Second since 1970 to begin at, inclusive.
            follow: Whether to go on until the container ends.
        """
        import requests
        import urllib3.exceptions

        api = self.client.api
        url = f"{api.base_url}/v{api.api_version}/containers/{name}/logs"
        parameters = {"stdout": 1, "stderr": 1, "follow": int(follow), "timestamps": 1, "tail": "all", "since": since}
        try:
            with api.get(url, params=parameters, stream=True, timeout=(10, None)) as response:
                response.raise_for_status()
                yield from frames(response.raw.stream(_CHUNK, decode_content=False))
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable(f"the output of `{name}` broke off", detail=str(error)) from error

    def _ask(self, url: str, otherwise: "Callable[[], dict[str, Any]]") -> dict[str, Any]:
        if self._connect is None and self.host.startswith("unix://"):
            return get_json(self.host.removeprefix("unix://"), url)
        import docker.errors

        try:
            with _translated(self.host):
                return otherwise()
        except docker.errors.NotFound as error:
            raise NotFound("the engine has no such thing") from error

    def _find(self, name: str) -> "Container | None":
        import docker.errors

        try:
            with _translated(self.host):
                return self.client.containers.get(name)
        except docker.errors.APIError as error:
            # Podman answers 500 while it removes the container.
            if error.status_code == 404 or "no such container" in _explained(error):
                return None
            raise

    def _pid(self, name: str) -> int:
        container = self._find(name)
        return int(container.attrs["State"].get("Pid") or 0) if container is not None else 0

    def _get(self, name: str) -> "Container":
        container = self._find(name)
        if container is None:
            raise NotFound(f"there is no container `{name}`")
        return container

    def _state(self, container: "Container") -> ContainerState:
        state = cast("dict[str, Any]", container.attrs["State"])
        status = str(state["Status"]).lower()
        started = _moment(state["StartedAt"])
        if status in ("created", "configured", "initialized"):
            # A failed start leaves the container `created` with the reason in Error.
            failed = bool(state.get("Error"))
            return ContainerState(
                phase=Phase.EXITED if failed else Phase.CREATED,
                error=str(state["Error"]) if failed else None,
                exit_code=None,
            )
        if status in ("running", "paused", "restarting", "stopping", "removing"):
            return ContainerState(phase=Phase.RUNNING, started_at=started)
        exit_code = int(state["ExitCode"])
        ended = _moment(state["FinishedAt"])
        return ContainerState(
            phase=Phase.EXITED,
            started_at=started,
            ended_at=ended if started is None or ended is None else max(started, ended),
            exit_code=exit_code,
            out_of_memory=bool(state.get("OOMKilled")),
            error=str(state["Error"]) or None if state.get("Error") else None,
        )


_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _device_options(spec: ContainerSpec) -> dict[str, Any]:
    devices = spec.devices
    if not devices.ids:
        return {}
    if devices.nodes:
        # Their owner and mode are the host's, so that the user inside needs the host's groups, by number.
        return {
            "devices": [f"{node}:{node}:rwm" for node in devices.nodes],
            "group_add": [str(group) for group in devices.groups],
        }
    if devices.vendor is not GpuVendor.NVIDIA:
        raise StartFailed(
            f"devices of `{devices.vendor}` cannot be passed to a container",
            detail="they have no device file here",
            hint="use `--engine process`",
            code="gpu-not-supported",
        )
    from docker.types import DeviceRequest

    return {"device_requests": [DeviceRequest(device_ids=list(runtime_names(devices)), capabilities=[["gpu"]])]}


def _moment(text: str) -> datetime | None:
    """Reads the engine's time, which has up to nine decimals; None where it has none."""
    if text.startswith(_NEVER):
        return None
    head, dot, rest = text.partition(".")
    digits = "".join(c for c in rest if c.isdigit())[:6] if dot else ""
    zone = text[-6:] if text[-6:-5] in ("+", "-") else "+00:00"
    return datetime.fromisoformat(f"{head.rstrip('Z')[:19]}.{digits or '0':0<6}{zone}").astimezone(UTC)


@contextmanager
def _translated(host: str) -> Generator[None]:
    """Turns a silent engine into an error that says so; the engine's own answers pass."""
    import docker.errors
    import requests

    try:
        yield
    except (requests.ConnectionError, requests.Timeout) as error:
        raise Unavailable("the container engine does not answer", detail=f"{host}: {_reason(error)}") from error
    except docker.errors.APIError:
        raise
    except docker.errors.DockerException as error:
        raise Unavailable("the container engine does not answer", detail=f"{host}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Returns what the operating system said, out of the layers that requests and Docker's SDK wrap around it."""
    said = re.findall(r"\[Errno -?\d+\] ([^\"')]+)|(No such file or directory|Permission denied)", str(error))
    return "".join(said[-1]) if said else str(error)


def _is_name_taken(error: Any) -> bool:
    # Docker answers 409; Podman's Docker-compatible API answers 500 for what it found out too late.
    return error.status_code == 409 or "already in use" in _explained(error)


@contextmanager
def _one_at_a_time(container: "Container") -> Generator[None]:
    """Keeps two starts of one container apart, on the host that has its folders.

    Between the look at a container and its start another driver's start could come and go.
    """
    writable = {mount["Destination"]: mount["Source"] for mount in container.attrs["Mounts"] if mount["RW"]}
    folder = writable[min(writable)] if writable else ""  # the engine lists them in any order
    if not os.path.isdir(folder):
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _explained(error: Any) -> str:
    return str(error.explanation or error)
