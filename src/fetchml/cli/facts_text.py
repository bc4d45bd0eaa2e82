"""What a record says of the machine and the software, at length."""

from typing import TYPE_CHECKING

from fetchml.cli import session

if TYPE_CHECKING:
    from fetchml.models.manifest import Hardware, RunManifest
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
