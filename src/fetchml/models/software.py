"""What a manifest says of the software around a run: systems, interpreters, libraries, settings."""

from typing import Literal

from pydantic import Field

from fetchml.models.base import Model

LibraryName = Literal["cuda", "cudnn", "rocm"]
"""Libraries for GPUs that are looked for."""


class SystemFacts(Model):
    """An operating system, of a host or of an image."""

    distribution: str | None = Field(default=None, description="Name and version, such as Debian GNU/Linux 12")
    kernel: str | None = Field(default=None, description="Release of the kernel; null for an image, which has none")
    libc: str | None = Field(default=None, description="C library and its version, such as glibc 2.36")
    machine: str | None = Field(default=None, description="Architecture, such as x86_64")


class PythonBuild(Model):
    """Which Python it was, apart from its version."""

    implementation: str = Field(description="CPython, PyPy, ...")
    build: str = Field(description="Build number and date, and the compiler")


class AcceleratorLibrary(Model):
    """A library for GPUs that the payload found in its environment."""

    name: LibraryName = Field(description="cuda: the CUDA runtime; cudnn; rocm")
    version: str = Field(description="Its version")
    told_by: str = Field(description="What says so: a package, a variable of the image, or a file; nothing is imported")


class SettingRecord(Model):
    """A setting that can change what a run computes or how it is fenced in."""

    key: str = Field(description="Key of the setting")
    value: str | None = Field(description="Value as text; null if it was not set. Of variables the names alone")
    layer: str = Field(description="Where the value came from: flag, environment, project, user or default")
