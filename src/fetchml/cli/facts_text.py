"""What a record says of the machine and the software, at length."""

from typing import TYPE_CHECKING

from fetchml.cli import session

if TYPE_CHECKING:
    from fetchml.models.manifest import Hardware, RunManifest
    from fetchml.models.resources import ResourceUse
    from fetchml.models.software import SystemFacts


def facts_of(manifest: "RunManifest") -> list[str]:
    """Returns paragraphs with everything that is known of the environment, the machine and the settings."""
    environment = manifest.environment
    rows = [("fetchml", environment.fetchml)]
    if environment.interpreter is not None:
        rows.append(("Python", f"{environment.interpreter.implementation}, {environment.interpreter.build}"))
    rows.append(("system", _system(environment.system)))
    rows += [("library", f"{item.name} {item.version}, from {item.told_by}") for item in environment.libraries]
    rows += _hardware(manifest.hardware) if manifest.hardware is not None else []
    paragraphs = [_lines(rows)]
    if environment.settings:
        table = [
            (item.key, session.safe("none" if item.value is None else item.value), item.layer)
            for item in environment.settings
        ]
        paragraphs.append(session.table(("SETTING", "VALUE", "LAYER"), table))
    if environment.packages:
        packages = "\n".join(session.safe(package) for package in environment.packages)
        paragraphs.append(f"{session.style('PACKAGES', 'dim')}\n{packages}")
    return paragraphs


def used_of(used: "ResourceUse") -> list[tuple[str, str]]:
    """Returns rows with what was sampled while a run was up."""
    from fetchml.models.units import format_size

    gpu: list[str] = []
    if used.gpu_utilisation_percent is not None:
        gpu.append(f"busy {used.gpu_utilisation_percent:g} % of the time")
    if used.gpu_memory_peak_bytes:
        whose = "" if used.gpu_memory_of == "run" else " of the whole device"
        gpu.append(f"{format_size(max(used.gpu_memory_peak_bytes.values()))} memory{whose} at most")
    if used.energy_wh is not None:
        gpu.append(f"{used.energy_wh:.3g} Wh")
    if used.gpu_temperature_max_c is not None:
        gpu.append(f"{used.gpu_temperature_max_c:g} °C at most")
    if used.gpu_throttled:
        gpu.append(f"slowed: {session.safe(', '.join(used.gpu_throttled))}")
    disk: list[str] = []
    if used.disk_read_bytes is not None:
        disk.append(f"{format_size(used.disk_read_bytes)} read")
    if used.disk_written_bytes is not None:
        disk.append(f"{format_size(used.disk_written_bytes)} written")
    return [(label, ", ".join(words)) for label, words in (("GPU", gpu), ("disk", disk)) if words]


def _hardware(found: "Hardware") -> list[tuple[str, str]]:
    from fetchml.models.units import format_size, plural

    memory = format_size(found.memory_bytes)
    rows = [
        ("machine", f"{found.cpu_model or 'unknown processor'}, {plural(found.cpu_count, 'core')}, {memory} memory"),
        ("host system", _system(found.system) or found.platform),
    ]
    for device in found.gpus:
        size = f", {format_size(device.memory_bytes)}" if device.memory_bytes is not None else ""
        rows.append(("GPU", f"{device.model}{size}, {device.id}"))
    if found.driver_version is not None:
        rows.append(("driver", f"{found.driver_version}, CUDA up to {found.cuda_version or 'unknown'}"))
    return rows


def _system(found: "SystemFacts | None") -> str:
    if found is None:
        return ""
    kernel = f"kernel {found.kernel}" if found.kernel else None
    return ", ".join(filter(None, (found.distribution, kernel, found.libc, found.machine)))


def _lines(rows: list[tuple[str, str]]) -> str:
    return "\n".join(f"{session.style(f'{label:<14}', 'dim')} {session.safe(value)}" for label, value in rows if value)
