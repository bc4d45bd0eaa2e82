"""NVIDIA GPUs, read through NVML; runs in the probe's own process, since a driver may hang for ever."""

from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from fetchml.gpus.processes import described
from fetchml.gpus.readings import DeviceReading, GpuProcess, Readings, device_id, tidy

pynvml: Any = import_module("pynvml")
"""NVIDIA's own binding; it has no types."""

_READS_A_SESSION = 60
"""What was plugged in since is seen by a new session only; each opens the driver again, which may take seconds."""

_MIG_MAX = 32
_THROTTLING = (
    ("nvmlClocksThrottleReasonHwSlowdown", "hardware slowdown"),
    ("nvmlClocksThrottleReasonHwThermalSlowdown", "too hot (hardware)"),
    ("nvmlClocksThrottleReasonSwThermalSlowdown", "too hot"),
    ("nvmlClocksThrottleReasonHwPowerBrakeSlowdown", "power brake"),
    ("nvmlClocksThrottleReasonSwPowerCap", "power limit"),
)

# A text that is no UTF-8 comes out of the binding as a UnicodeDecodeError.
_FAILURES = (pynvml.NVMLError, pynvml.NVMLLibraryMismatchError, ValueError)


class NvidiaReader:
    """Reads the NVIDIA GPUs of this host.

    The session with the driver stays open: without one, and without NVIDIA's persistence mode, each look would wake
    every device up and put it to sleep again.

    Args:
        root: Where `/proc` is.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._reads_left = 0

    def read(self) -> Readings:
        """Returns what the driver says; nothing where there is none."""
        try:
            if self._reads_left <= 0:
                self.close()
                pynvml.nvmlInit()
                self._reads_left = _READS_A_SESSION
            self._reads_left -= 1
            return self._read()
        except pynvml.NVMLError_LibraryNotFound:
            return Readings()
        except _FAILURES as error:
            self._reads_left = 0
            return Readings(faults=(f"NVIDIA's driver: {tidy(error)}",))

    def close(self) -> None:
        """Ends the session with the driver."""
        self._reads_left = 0
        with suppress(*_FAILURES):
            pynvml.nvmlShutdown()

    def _read(self) -> Readings:
        devices: list[DeviceReading] = []
        faults: list[str] = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            try:
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                name = device_id(pynvml.nvmlDeviceGetUUID(handle))
                if not name:
                    raise ValueError("its id is not legible")
                instances = self._instances(handle)
                devices += self._whole(handle, name) if instances is None else instances
            except _FAILURES as error:
                # Without its id nobody knows which one it is: a card that fell off the bus answers to nothing.
                faults.append(f"an NVIDIA device does not answer: {tidy(error)}")
                self._reads_left = 0
        if any(device.error for device in devices):
            self._reads_left = 0  # a device that was reset is seen again by a new session
        return Readings(
            tuple(devices),
            ("nvml",),
            driver_version=_text(pynvml.nvmlSystemGetDriverVersion),
            cuda_version=_cuda_version(),
            faults=tuple(faults),
        )

    def _whole(self, handle: object, name: str) -> list[DeviceReading]:
        temperature = _ask(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU)
        power = _ask(pynvml.nvmlDeviceGetPowerUsage, handle)
        uncorrected = (pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC)
        utilisation = _ask(pynvml.nvmlDeviceGetUtilizationRates, handle)
        return [
            self._reading(
                handle,
                name,
                temperature_c=_number(temperature),
                power_w=None if power is None else round(power / 1000, 1),
                utilisation_percent=_number(utilisation.gpu if utilisation is not None else None),
                ecc_errors=_ask(pynvml.nvmlDeviceGetTotalEccErrors, handle, *uncorrected),
                throttled=_throttled(handle),
            )
        ]

    def _instances(self, handle: object) -> list[DeviceReading] | None:
        """Returns the MIG instances of a device; None if it is not divided.

        A divided device is never handed out whole: CUDA does not start on it, even where it has no instance yet.
        """
        mode = _ask(pynvml.nvmlDeviceGetMigMode, handle)
        if mode is None or mode[0] != pynvml.NVML_DEVICE_MIG_ENABLE:
            return None
        found: list[DeviceReading] = []
        temperature = _number(_ask(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU))
        for index in range(min(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle), _MIG_MAX)):
            try:
                instance = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
            except pynvml.NVMLError_NotFound:
                continue
            name = device_id(pynvml.nvmlDeviceGetUUID(instance))
            if name:
                # Power is known of the whole only: what one instance took of it, nobody can tell.
                found.append(self._reading(instance, name, temperature_c=temperature))
        return found

    def _reading(self, handle: object, name: str, **facts: Any) -> DeviceReading:
        total, used, unified, error = _memory(handle)
        model = _text(pynvml.nvmlDeviceGetName, handle)
        if model is None and error is None:
            error = "its name cannot be read"
        return DeviceReading(
            name,
            "nvidia",
            model=model or "",
            memory_bytes=total,
            used_bytes=used,
            has_host_memory=unified,
            processes=self._processes(handle),
            error=error,
            **facts,
        )

    def _processes(self, handle: object) -> tuple[GpuProcess, ...] | None:
        computing = _listed("Compute", handle)
        if computing is None:
            return None
        graphics = _by_pid(_listed("Graphics", handle))
        found = {**graphics, **_by_pid(computing)}
        listed = (
            described(GpuProcess(pid, used, is_graphics=pid in graphics), self._root)
            for pid, used in sorted(found.items())
        )
        return tuple(item for item in listed if item is not None)


def _memory(handle: object) -> tuple[int | None, int | None, bool, str | None]:
    """Returns the memory in all, what is used of it, whether it is the host's, and what is wrong."""
    try:
        try:
            # The second version leaves out of `used` what the driver keeps for itself.
            info = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
        except (pynvml.NVMLError_FunctionNotFound, pynvml.NVMLError_InvalidArgument):
            info = pynvml.nvmlDeviceGetMemoryInfo(handle)
        return int(info.total), int(info.used), False, None
    except pynvml.NVMLError_NotSupported:
        return None, None, True, None
    except _FAILURES as error:
        return None, None, False, tidy(error)


def _listed(kind: str, handle: object) -> Any:
    """Asks in the newest way the driver knows; the binding's own choice fails on an older one."""
    newest = _ask(getattr(pynvml, f"nvmlDeviceGet{kind}RunningProcesses_v3"), handle)
    return _ask(getattr(pynvml, f"nvmlDeviceGet{kind}RunningProcesses_v2"), handle) if newest is None else newest


def _by_pid(processes: Any) -> dict[int, int | None]:
    """Returns the memory of each process; None where the driver does not tell."""
    return {int(item.pid): None if item.usedGpuMemory is None else int(item.usedGpuMemory) for item in processes or ()}


def _throttled(handle: object) -> tuple[str, ...]:
    reasons = _ask(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle) or 0
    return tuple(words for name, words in _THROTTLING if reasons & int(getattr(pynvml, name, 0)))


def _cuda_version() -> str | None:
    version = _ask(pynvml.nvmlSystemGetCudaDriverVersion)
    return None if version is None else f"{version // 1000}.{version % 1000 // 10}"


def _text(ask: Callable[..., Any], *arguments: object) -> str | None:
    answer = _ask(ask, *arguments)
    return None if answer is None else tidy(answer)


def _ask(ask: Callable[..., Any], *arguments: object) -> Any:
    """Returns an answer, or None: many devices do not know one thing or another, and an old driver lacks calls."""
    try:
        return ask(*arguments)
    except _FAILURES:
        return None


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
