"""The block `ContainerEngine`: how runs reach Docker or Podman."""

from typing import ClassVar, Literal

from prefect.blocks.core import Block
from prefect_docker.host import DockerHost  # pyright: ignore[reportMissingTypeStubs]  # it has types and no marker
from pydantic import Field

from fetchml.config.blocks import CONTAINER_ENGINE, TITLES
from fetchml.engine.docker_engine import DockerEngine
from fetchml.engine.podman_engine import PodmanEngine


class ContainerEngine(Block):
    """How runs reach a container engine.

    Attributes:
        kind: Docker or Podman.
        docker_host: Connection to Docker, as prefect-docker describes it; none takes the default socket.
        podman_socket: Podman's socket; none takes the user's own, then the system's.
    """

    _block_type_name: ClassVar[str | None] = TITLES[CONTAINER_ENGINE]
    _block_type_slug: ClassVar[str | None] = CONTAINER_ENGINE
    _description: ClassVar[str | None] = "How fetchml runs reach Docker or Podman."

    kind: Literal["docker", "podman"] = Field(default="docker", description="Engine that starts runs")
    docker_host: DockerHost | None = Field(default=None, description="Connection to Docker; none: the default socket")
    podman_socket: str | None = Field(default=None, description="Socket of Podman; none: the user's, then the system's")

    def get_engine(self) -> DockerEngine:
        """Returns the adapter; it connects on first use."""
        if self.kind == "podman":
            return PodmanEngine(self.podman_socket)
        return DockerEngine(connect=self.docker_host.get_client if self.docker_host else None)
