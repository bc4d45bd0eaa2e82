"""The page about a run that the Prefect UI shows: plan and result as Markdown."""

from pathlib import Path

from fetchml.models.manifest import RunManifest
from fetchml.models.plan import Plan
from fetchml.models.units import format_duration, format_size

_MAX_ROWS = 40


def markdown_report(manifest: RunManifest, plan: Plan, folder: Path) -> str:
    """Returns the report of a sealed run.

    Args:
        manifest: The record.
        plan: What was run.
        folder: Where the run folder is.
    """
    parts = [
        f"# {_text(manifest.identity.name)} · {manifest.status.state}",
        _result(manifest),
        _table("Result", _result_rows(manifest)),
        _table("Plan", _plan_rows(manifest, plan)),
    ]
    if manifest.metrics:
        rows = [
            (name, *("not finite" if n is None else f"{n:g}" for n in (m.last, m.minimum, m.maximum)), str(m.count))
            for name, m in list(manifest.metrics.items())[:_MAX_ROWS]
        ]
        parts.append(_table("Metrics", rows, ("metric", "last", "min", "max", "values")))
    if manifest.artifacts and manifest.artifacts.files:
        files = [
            (item.path, format_size(item.size_bytes), item.sha256[:12]) for item in manifest.artifacts.files[:_MAX_ROWS]
        ]
        parts.append(_table("Artifacts", files, ("file", "size", "sha256")))
    parts.append(f"Everything about this run is in `{folder}`.")
    return "\n\n".join(parts) + "\n"


def _result(manifest: RunManifest) -> str:
    diagnosis = manifest.diagnosis
    if diagnosis is None:
        return ""
    text = f"**{_text(diagnosis.summary)}**"
    if diagnosis.resolution:
        text += f"\n\nNext: {_text(diagnosis.resolution)}"
    if diagnosis.detail and manifest.exit_code != 0:
        text += f"\n\n```text\n{diagnosis.detail.replace('```', '` ` `')}\n```"
    return text


def _result_rows(manifest: RunManifest) -> list[tuple[str, str]]:
    used = manifest.resources.actual
    placement = manifest.placement
    return [
        ("run", manifest.identity.run_id),
        ("end reason", str(manifest.end_reason)),
        ("exit code", "none" if manifest.exit_code is None else str(manifest.exit_code)),
        ("ran for", format_duration(used.wall_s) if used and used.wall_s is not None else "not at all"),
        ("waited", format_duration(placement.waited_s) if placement else "until it was cancelled"),
        ("host", placement.host if placement else "none"),
        ("devices", ", ".join(placement.device_ids) or "none" if placement else "none"),
        ("memory peak", format_size(used.memory_peak_bytes) if used and used.memory_peak_bytes else "unknown"),
        ("sealed", manifest.seal.digest[:16] if manifest.seal else "no"),
    ]


def _plan_rows(manifest: RunManifest, plan: Plan) -> list[tuple[str, str]]:
    request = plan.resources
    return [
        ("command", " ".join(plan.command.argv)),
        ("plan hash", plan.sha256),
        ("trust level", manifest.plan.trust_level),
        ("commit id", plan.snapshot_id),
        ("dependencies", plan.environment.dependencies.name if plan.environment.dependencies else "none, as is"),
        ("engine", plan.engine.value),
        ("image", f"{plan.image.reference} ({plan.image.digest[:19]})" if plan.image else "none"),
        ("resources", f"{request.cpus:g} CPU, {format_size(request.memory_bytes)}, {request.gpus:g} GPU"),
        ("limit", format_duration(request.max_runtime_s) if request.max_runtime_s else "none"),
    ]


def _table(title: str, rows: list[tuple[str, ...]] | list[tuple[str, str]], header: tuple[str, ...] = ("", "")) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return f"## {title}\n\n" + "\n".join(lines)


def _cell(text: str) -> str:
    shown = text if len(text) <= 300 else text[:297] + "..."
    return _text(shown).replace("|", "\\|")


def _text(text: str) -> str:
    """Escapes what Markdown or HTML would read as its own."""
    flat = " ".join(text.split())
    return "".join(f"\\{c}" if c in "\\`*_[]#" else {"<": "&lt;", ">": "&gt;", "&": "&amp;"}.get(c, c) for c in flat)
