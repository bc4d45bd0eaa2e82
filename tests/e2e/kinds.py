"""The kinds of engine that whole runs are tested on, and the flags that ask for them."""

import pytest

from conftest import BASE_IMAGE

IMAGE = {"docker": BASE_IMAGE, "podman": "localhost/fetchml-base"}

engines = pytest.mark.parametrize(
    "engine",
    [
        "process",
        pytest.param("docker", marks=pytest.mark.docker),
        pytest.param("podman", marks=pytest.mark.podman),
    ],
)


def flags(engine: str) -> list[str]:
    return ["--engine", engine, *(["--image", IMAGE[engine]] if engine in IMAGE else [])]
