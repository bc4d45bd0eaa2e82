"""Warmed images: a base image with a manifest's packages installed, built once and kept by key.

Built by running a container and committing it, which works on Docker and Podman alike, takes bind mounts (uv and its
cache come from the host) and leaves neither credentials nor caches in the image.
"""

import json
import os
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from fetchml import durable
from fetchml.environment import probe
from fetchml.environment.build import (
    BuildFailed,
    BuiltEnvironment,
    Cancelled,
    environment_key,
    export_lock,
    failed,
    give_up,
    requirements_arguments,
    uv_binary,
)
from fetchml.environment.detect import Dependencies
from fetchml.errors import NotFound

if TYPE_CHECKING:
    from docker.models.containers import Container

    from fetchml.engine.docker_engine import DockerEngine

REPOSITORY = "fetchml-environment"
KEY_LABEL = "fetchml.environment"
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_INDEX_VARIABLES = ("UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
_POLL_S = 0.2
_IDLE = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: exit()); time.sleep(86400)"


class ImageBuilder:
    """Warmed images of one engine.

    Args:
        engine: The engine that builds and keeps them.
        root: Folder for what is known of each image.
        cache: uv's package cache, shared by all builds.
    """

    def __init__(self, engine: "DockerEngine", root: Path, cache: Path) -> None:
        self._engine = engine
        self.root = root
        self._cache = cache

    def ensure(
        self, dependencies: Dependencies, base_digest: str, code: Path, log: Path, cancelled: Cancelled
    ) -> BuiltEnvironment:
        """Returns the image of a manifest on a base; builds it once, however many runs ask at the same time.

        Args:
            dependencies: The dependency manifest of the snapshot.
            base_digest: Id of the base image.
            code: The materialised snapshot.
            log: File the build's output is appended to.
            cancelled: Asked while building.

        Raises:
            BuildFailed: The packages cannot be installed, or the image has no Python.
            BuildCancelled: The run was cancelled.
        """
        began = time.monotonic()
        key = environment_key(dependencies, {"image": base_digest})
        with self._locked(key, cancelled) as record:
            known = self._known(record)
            reused = known is not None
            if known is None:
                known = self._build(dependencies, base_digest, key, code, log, cancelled)
                durable.write_atomic(record, json.dumps(known).encode())
        return _environment(known, key, reused=reused, seconds=time.monotonic() - began)

    def as_is(self, base_digest: str, cancelled: Cancelled) -> BuiltEnvironment:
        """Returns a base image unchanged, with what is known of its Python; asks each image once."""
        began = time.monotonic()
        with self._locked(base_digest.removeprefix("sha256:"), cancelled) as record:
            known: dict[str, Any] | None = self._known(record)
            reused = known is not None
            if known is None:
                known = {"python": None, "packages": list[str](), "image": base_digest}
                with suppress(BuildFailed), self._container(base_digest, []) as container:
                    known.update(_listed(container))
                durable.write_atomic(record, json.dumps(known).encode())
        return _environment(known, None, reused=reused, seconds=time.monotonic() - began)

    def _build(
        self, dependencies: Dependencies, base_digest: str, key: str, code: Path, log: Path, cancelled: Cancelled
    ) -> dict[str, Any]:
        durable.make_folder(self._cache, mode=0o700)
        exported = self.root / f"{key[:24]}-requirements.txt"
        exported.write_bytes(b"")  # a bind mount needs a source; only a uv.lock fills it
        export_lock(dependencies, code, exported, log, cancelled)
        mounts = [
            (uv_binary(), "/opt/fetchml-build/uv", True),
            (str(self._cache), "/opt/fetchml-build/cache", False),
            (str(code), "/opt/fetchml-build/code", True),
            (str(exported), "/opt/fetchml-build/requirements.txt", True),
        ]
        if os.path.exists(_CERTIFICATES):
            mounts.append((_CERTIFICATES, _CERTIFICATES, True))
        command = [
            *("/opt/fetchml-build/uv", "pip", "install", "--system", "--break-system-packages", "--compile-bytecode"),
            *("--link-mode", "copy", "--cache-dir", "/opt/fetchml-build/cache", "--system-certs"),
            *requirements_arguments(dependencies, "/opt/fetchml-build/code", "/opt/fetchml-build/requirements.txt"),
        ]
        try:
            with self._container(base_digest, mounts) as container:
                workdir = os.path.dirname(f"/opt/fetchml-build/code/{dependencies.name}")
                exit_code = _execute(container, command, workdir, log, cancelled)
                if exit_code != 0:
                    raise failed(f"installing the packages of `{dependencies.name}` into the image", log)
                known = _listed(container)
                image = cast("Any", container).commit(
                    repository=REPOSITORY, tag=key[:24], changes=f"LABEL {KEY_LABEL}={key}", pause=True
                )
        finally:
            exported.unlink(missing_ok=True)
        return {**known, "image": str(image.id)}

    @contextmanager
    def _container(self, image: str, mounts: list[tuple[str, str, bool]]) -> "Generator[Container]":
        """Runs an idle container of an image, and removes it."""
        import docker.errors
        from docker.types import Mount

        try:
            container = self._engine.client.containers.create(
                image,
                entrypoint=["python3"],
                command=["-c", _IDLE],
                user="0:0",
                labels={KEY_LABEL: "building"},
                mounts=[Mount(target=t, source=s, type="bind", read_only=r) for s, t, r in mounts],
            )
            try:
                container.start()
                yield container
            finally:
                with suppress(docker.errors.APIError):
                    container.remove(force=True, v=True)
        except docker.errors.APIError as error:
            raise BuildFailed(
                f"the image `{image[:19]}` cannot be used",
                detail=str(error.explanation or error),
                hint="a base image needs `python3`; see docs/how-to/base-image.md",
            ) from error

    @contextmanager
    def _locked(self, key: str, cancelled: Cancelled) -> Generator[Path]:
        durable.make_folder(self.root, mode=0o700)
        lock = self.root / f"image-{self._engine.kind}-{key[:24]}.lock"
        lock.touch(mode=0o600)
        with durable.locked(lock, waiting=lambda: give_up(cancelled)):
            yield lock.with_suffix(".json")

    def _known(self, record: Path) -> dict[str, Any] | None:
        try:
            known = cast("dict[str, Any]", json.loads(record.read_bytes()))
            self._engine.image(known["image"])
            with suppress(OSError):
                os.utime(record)  # its age is that of its last use
        except (OSError, ValueError, NotFound):
            return None
        return known


def _execute(container: "Container", command: list[str], workdir: str, log: Path, cancelled: Cancelled) -> int:
    """Runs a command in a container with its output appended to a log; returns the exit code."""
    api = cast("Any", container.client).api
    # Variables of an exec are not committed: index addresses may hold a password.
    environment = {name: os.environ[name] for name in _INDEX_VARIABLES if name in os.environ}
    environment |= {"UV_NO_PROGRESS": "1", "NO_COLOR": "1", "UV_PYTHON_DOWNLOADS": "never"}
    execution = api.exec_create(container.id, command, user="0:0", environment=environment, workdir=workdir)
    with log.open("ab") as sink, _killed_when(cancelled, container):
        sink.write(f"$ {' '.join(command)}\n".encode())
        for chunk in api.exec_start(execution["Id"], stream=True):
            sink.write(chunk)
            sink.flush()
    give_up(cancelled)
    return int(api.exec_inspect(execution["Id"])["ExitCode"])


@contextmanager
def _killed_when(cancelled: Cancelled, container: "Container") -> Generator[None]:
    """Kills a container when its run is cancelled, however silent it is."""
    import docker.errors

    done = threading.Event()

    def watch() -> None:
        while not done.wait(_POLL_S):
            if cancelled():
                with suppress(docker.errors.DockerException):
                    container.kill()
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _environment(known: probe.Told, key: str | None, *, reused: bool, seconds: float) -> BuiltEnvironment:
    return BuiltEnvironment(
        python=known["python"],
        packages=tuple(known["packages"]),
        build=probe.python_build(known),
        libraries=probe.libraries(known),
        system=probe.system_facts(known),
        key=key,
        image=known["image"],
        reused=reused,
        seconds=seconds,
    )


def _listed(container: "Container") -> probe.Told:
    code, output = container.exec_run(["python3", "-I", "-c", probe.PROGRAM], user="0:0")
    found = probe.told(cast("bytes", output)) if code == 0 else None
    if found is None:
        raise BuildFailed(
            "the image's Python does not run", detail=cast("bytes", output)[-500:].decode(errors="replace")
        )
    return found
