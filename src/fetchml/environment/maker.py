"""The port behind which environments are made: virtual environments on the host, or warmed images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fetchml.engine.docker_engine import DockerEngine
from fetchml.engine.port import Engine
from fetchml.environment.build import BuildFailed, BuiltEnvironment, Cancelled
from fetchml.environment.detect import Dependencies
from fetchml.environment.image import ImageBuilder
from fetchml.environment.venv import VenvBuilder, as_is_environment
from fetchml.models.plan import EnvironmentMode, Plan


@dataclass(frozen=True, slots=True)
class EnvironmentRequest:
    """The environment a run needs."""

    plan: Plan
    dependencies: Dependencies | None
    """Dependency manifest found in the snapshot."""
    code: Path
    """The materialised snapshot."""
    log: Path
    """File the build's output is appended to."""
    cancelled: Cancelled
    """Asked while building."""

    def locked(self) -> Dependencies | None:
        """Returns the manifest to build from, or None for an environment that is used as it is.

        Raises:
            BuildFailed: The plan names another manifest than the snapshot holds.
        """
        wanted = self.plan.environment
        if wanted.mode is EnvironmentMode.AS_IS or wanted.dependencies is None:
            return None
        if self.dependencies is None or self.dependencies.sha256 != wanted.dependencies.sha256:
            raise BuildFailed(
                f"the dependency manifest `{wanted.dependencies.name}` of the plan is not in the snapshot",
                hint="queue the run again",
            )
        return self.dependencies


class EnvironmentMaker(Protocol):
    """What makes environments for one engine."""

    def make(self, request: EnvironmentRequest) -> BuiltEnvironment:
        """Returns the environment of a run; builds it once and keeps it.

        Raises:
            BuildFailed: It cannot be made.
            BuildCancelled: The run was cancelled meanwhile.
        """
        ...


@dataclass(frozen=True, slots=True)
class VenvMaker:
    """Environments for the process engine."""

    builder: VenvBuilder

    def make(self, request: EnvironmentRequest) -> BuiltEnvironment:
        python = request.plan.environment.python
        dependencies = request.locked()
        if dependencies is None:
            return as_is_environment(python or "python3")
        return self.builder.ensure(dependencies, python, request.code, request.log, request.cancelled)


@dataclass(frozen=True, slots=True)
class ImageMaker:
    """Environments for container engines."""

    builder: ImageBuilder

    def make(self, request: EnvironmentRequest) -> BuiltEnvironment:
        image = request.plan.image
        if image is None:
            raise BuildFailed("the plan of a container has no image")
        dependencies = request.locked()
        if dependencies is None:
            return self.builder.as_is(image.digest, request.cancelled)
        return self.builder.ensure(dependencies, image.digest, request.code, request.log, request.cancelled)


def make_environment_maker(engine: Engine, root: Path, package_cache: Path) -> EnvironmentMaker:
    """Returns what makes environments for an engine.

    Args:
        engine: The engine.
        root: Folder of built environments.
        package_cache: uv's cache for image builds.
    """
    if isinstance(engine, DockerEngine):
        return ImageMaker(ImageBuilder(engine, root, package_cache))
    return VenvMaker(VenvBuilder(root))
