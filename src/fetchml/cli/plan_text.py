"""Shows a plan to people."""

from typing import TYPE_CHECKING

from fetchml.cli import session

if TYPE_CHECKING:
    from fetchml.models.plan import DatasetPlan, Plan
    from fetchml.models.resources import ResourceRequest


def show_plan(plan: "Plan", engine_reason: str, priority: int) -> None:
    """Prints what a plan says, one line for each part.

    Args:
        plan: The plan.
        engine_reason: Why its engine was taken.
        priority: Priority of the run, which is no part of the plan.
    """
    from fetchml.models.units import format_duration

    request = plan.resources
    dependencies = plan.environment.dependencies
    show_rows(
        ("command", " ".join(plan.command.argv)),
        ("workdir", plan.command.workdir or "."),
        ("commit id", plan.snapshot_id),
        (
            "dependencies",
            f"{dependencies.name} ({dependencies.sha256[:12]})" if dependencies else "none: used as it is",
        ),
        ("python", plan.environment.python or "of the image"),
        ("engine", f"{plan.engine} ({engine_reason})"),
        ("image", f"{plan.image.reference} ({plan.image.digest[:19]})" if plan.image else "none"),
        ("network", plan.network.value),
        ("resources", request_words(request)),
        ("max runtime", format_duration(request.max_runtime_s) if request.max_runtime_s else "none"),
        *((("datasets", ", ".join(_dataset(item) for item in plan.datasets)),) if plan.datasets else ()),
        ("env", ", ".join(f"{k}={v}" for k, v in plan.env.items()) or "none"),
        ("priority", str(priority)),
        ("plan_sha256", plan.sha256),
    )


def request_words(request: "ResourceRequest") -> str:
    """Returns what a run asks for, in one line."""
    from fetchml.models.units import format_size, plural

    gpus = [plural(request.gpus, "GPU")]
    if request.gpus and request.gpu_vendor is not None:
        gpus.append(f"by {request.gpu_vendor}")
    if request.gpu_model is not None:
        gpus.append(f"`{request.gpu_model}`")
    least, most = request.gpu_memory_bytes, request.gpu_memory_max_bytes
    if least is not None:
        gpus.append(f"with {format_size(least)} each")
    if most is not None:
        gpus.append(f"of at most {format_size(most)}")
    parts = [plural(request.cpus, "CPU"), f"{format_size(request.memory_bytes)} memory", " ".join(gpus)]
    if request.disk_bytes is not None:
        parts.append(f"{format_size(request.disk_bytes)} disk")
    if request.arch is not None:
        parts.append(f"on {request.arch}")
    return ", ".join(parts)


def _dataset(item: "DatasetPlan") -> str:
    place = f" at {item.mount}" if item.mount else ""
    return f"{item.name} ({item.checksum[:19]}){place}"


def show_rows(*rows: tuple[str, str]) -> None:
    """Prints labels and values, one below the other."""
    for label, value in rows:
        session.print_line(f"{label:<13} {session.safe(value)}")
