"""The block `ContainerEngine`: how runs reach Docker or Podman."""

from typing import ClassVar, Literal, cast

from prefect.blocks.core import Block
from prefect_docker.host import DockerHost  # pyright: ignore[reportMissingTypeStubs]  # it has types and no marker
from pydantic import Field

from fetchml.engine.docker_engine import DockerEngine
from fetchml.engine.podman_engine import PodmanEngine


class ContainerEngine(Block):
    """How runs reach a container engine.

    Attributes:
        kind: Docker or Podman.
        docker_host: Connection to Docker, as prefect-docker describes it; none takes the default socket.
        podman_socket: Podman's socket; none takes the user's own, then the system's.
    """

    _block_type_name: ClassVar[str | None] = "fetchml Container Engine"
    _block_type_slug: ClassVar[str | None] = "fetchml-container-engine"
    _description: ClassVar[str | None] = "How fetchml runs reach Docker or Podman."

    kind: Literal["docker", "podman"] = Field(default="docker", description="Engine that starts runs")
    docker_host: DockerHost | None = Field(default=None, description="Connection to Docker; none: the default socket")
    podman_socket: str | None = Field(default=None, description="Socket of Podman; none: the user's, then the system's")

    def get_engine(self) -> DockerEngine:
        """Returns the adapter; it connects on first use."""
        if self.kind == "podman":
            return PodmanEngine(self.podman_socket)
        return DockerEngine(connect=self.docker_host.get_client if self.docker_host else None)


def engine_of_block(name: str) -> DockerEngine:
    """Returns the Docker engine that a saved `ContainerEngine` or `DockerHost` block describes.

    Args:
        name: `NAME` of a ContainerEngine block, or `docker-host/NAME` of prefect-docker's own.

    Raises:
        ValueError: There is no such block.
    """
    if name.startswith("docker-host/"):
        host = cast("DockerHost", DockerHost.load(name.removeprefix("docker-host/")))
        return DockerEngine(connect=host.get_client)
    return cast("ContainerEngine", ContainerEngine.load(name)).get_engine()
