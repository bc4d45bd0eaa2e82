"""Says what a model refuses, in the words in which users gave it."""

from pydantic import ValidationError

from fetchml.models.units import format_size

_FLAGS = {
    "gpus": "--gpus",
    "gpu_memory_bytes": "--gpu-memory",
    "gpu_memory_max_bytes": "--gpu-memory",
    "gpu_model": "--gpu-model",
    "disk_bytes": "--disk",
    "cpus": "--cpus",
    "memory_bytes": "--memory",
    "shm_bytes": "resources.shm",
    "max_runtime_s": "--max-runtime",
}
"""How users name what a request asks for."""


def first_fault(error: ValidationError) -> str:
    """Returns the first thing that is wrong with a value, with the flag that it came from."""
    found = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in found["loc"])
    bounds = found.get("ctx", {})
    show = format_size if where.endswith("_bytes") else "{:g}".format
    match found["type"]:
        case "greater_than_equal":
            text = f"at least {show(bounds['ge'])} is needed"
        case "less_than_equal":
            text = f"at most {show(bounds['le'])} is accepted"
        case "too_long":
            text = f"at most {bounds['max_length']} words are accepted"
        case _:
            text = found["msg"].removeprefix("Value error, ")
    flag = _FLAGS.get(where, where)
    return f"{flag}: {text}" if flag else text
