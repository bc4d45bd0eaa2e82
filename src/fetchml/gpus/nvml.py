"""NVIDIA GPUs, found through NVML."""

from contextlib import suppress
from importlib import import_module
from typing import Any

from fetchml.gpus.inventory import Inventory
from fetchml.models.resources import Device, GpuVendor

pynvml: Any = import_module("pynvml")
"""NVIDIA's own binding; it has no types."""


def detect_nvidia() -> Inventory:
    """Returns the NVIDIA GPUs of this host; none where there is no driver.

    A device that does not answer is left out: it cannot be given to a run.
    """
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return Inventory()
    try:
        devices: list[Device] = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            try:
                devices.append(_device(index))
            except pynvml.NVMLError:
                continue
        return Inventory(
            tuple(devices),
            "nvml",
            driver_version=_text(pynvml.nvmlSystemGetDriverVersion),
            cuda_version=_cuda_version(),
        )
    except pynvml.NVMLError:
        return Inventory()
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _device(index: int) -> Device:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    return Device(
        id=_decoded(pynvml.nvmlDeviceGetUUID(handle)),
        vendor=GpuVendor.NVIDIA,
        model=_decoded(pynvml.nvmlDeviceGetName(handle)),
        memory_bytes=_memory_bytes(handle),
    )


def _memory_bytes(handle: object) -> int | None:
    try:
        return int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
    except pynvml.NVMLError_NotSupported:
        return None  # it shares the memory of the host


def _cuda_version() -> str | None:
    try:
        version = int(pynvml.nvmlSystemGetCudaDriverVersion())
    except pynvml.NVMLError:
        return None
    return f"{version // 1000}.{version % 1000 // 10}"


def _text(ask: object) -> str | None:
    try:
        return _decoded(ask()) if callable(ask) else None
    except pynvml.NVMLError:
        return None


def _decoded(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
