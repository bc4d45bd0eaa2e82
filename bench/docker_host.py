"""The Docker engine of this machine, as far as the bench needs it."""

import hashlib
import os
import subprocess
from importlib.metadata import version
from pathlib import Path

from bench.say import say
from bench.waiting import Failed
from fetchml.config.settings import Settings
from fetchml.engine.docker_engine import DockerEngine
from fetchml.environment.detect import Dependencies, DependencyKind
from fetchml.environment.image import REPOSITORY, ImageBuilder

BASE_IMAGE = os.environ.get("FETCHML_BASE_IMAGE", "fetchml-base")
_PINNED = ("prefect", "fastapi", "starlette", "pydantic")
_REPOSITORY = "fetchml-bench-prefect"


def require_base_image() -> str:
    """Returns the image runs are started from.

    Raises:
        Failed: There is no Docker that has it.
    """
    try:
        done = subprocess.run(
            ["docker", "image", "inspect", BASE_IMAGE], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(f"there is no Docker: {error}") from error
    if done.returncode != 0:
        raise Failed(f"there is no Docker with the image `{BASE_IMAGE}`: {done.stderr.strip()}")
    return BASE_IMAGE


def prefect_image(folder: Path) -> str:
    """Returns the image a stock Docker worker needs: the base image with Prefect from the package index.

    It has the version of Prefect that fetchml itself uses. It is built once and kept, by a tag that says what is in it.

    Args:
        folder: Place for what the build needs.

    Raises:
        Failed: It cannot be built.
    """
    engine = DockerEngine(Settings().docker_host)
    base = engine.image(require_base_image())
    requirements = "".join(f"{name}=={version(name)}\n" for name in _PINNED)
    key = hashlib.sha256(f"{base.digest}\n{requirements}".encode()).hexdigest()[:16]
    image = f"{_REPOSITORY}:{key}"
    if _docker("image", "inspect", image).returncode == 0:
        return image
    say(f"building {image} for the stock Docker worker (once, minutes)")
    code, log = folder / "image", folder / "image.log"
    code.mkdir(parents=True)
    (code / "requirements.txt").write_text(requirements, encoding="ascii")
    dependencies = Dependencies(
        DependencyKind.REQUIREMENTS, "requirements.txt", hashlib.sha256(requirements.encode()).hexdigest()
    )
    try:
        builder = ImageBuilder(engine, folder / "environments", folder / "cache")
        built = builder.ensure(dependencies, base.digest, code, log, lambda: False)
    except Exception as error:
        raise Failed(f"the image with Prefect cannot be built: {error}") from error
    _name(str(built.image), image)
    _docker("rmi", f"{REPOSITORY}:{str(built.key)[:24]}")  # the name the builder gave it; the layers stay
    return image


def _name(built: str, image: str) -> None:
    """Names an image and replaces the builder's entry point, which a stock worker's command would be put after.

    A commit cannot take it away, only replace it: `env` runs its arguments as they are.
    """
    created = _docker("create", "--entrypoint", "python3", built)
    container = created.stdout.strip()
    changes = ("--change", 'ENTRYPOINT ["env"]', "--change", 'CMD ["python3"]')
    try:
        if _docker("commit", *changes, container, image).returncode != 0:
            raise Failed(f"the image with Prefect cannot be named `{image}`: {created.stderr.strip()}")
    finally:
        _docker("rm", container)


def remove_containers(label: str) -> None:
    """Removes the containers that carry a label, in any state."""
    try:
        found = _docker("ps", "-a", "-q", "--filter", f"label={label}").stdout.split()
    except OSError:
        return
    if found:
        _docker("rm", "-f", *found)


def _docker(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
