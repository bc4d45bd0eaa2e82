"""The page of all settings."""

from typing import Any

from fetchml.config.layers import variable_of
from fetchml.config.settings import Scope, by_key
from reference_pages.commands import commands
from reference_pages.writing import code, page, sentence, table

_LAYERS = """\
A value comes from the first of these layers that has it: a flag, the environment, the project's `fetchml.yaml` (in the
current folder or the nearest one above it), the user's `~/.fetchml/config.yaml`, the default. `fetchml config show`
says for each setting what holds and where it comes from. `fetchml init` writes a `fetchml.yaml` with every project
setting commented out."""

_FILES = """\
A dot in a key is a level of the file:

```yaml
# fetchml.yaml
engine: docker
resources:
  cpus: 4
  memory: 16G
  max_runtime: 12h
```

Both files are strict YAML: an unknown key, a value of the wrong kind, a key that is set twice, anchors, tags and
several documents are errors. Only `true`, `false`, `null` and decimal numbers have a type; everything else is text.
Every fault of every layer is named at once. Nothing is filled in: `${NAME}`, `$(command)` and a value that begins
with `$NAME` are refused, so that a project means the same everywhere. Flags are filled in by your shell.

Sizes take the units `K`, `M`, `G` and `T`, which are powers of 1024. Durations need a unit: `s`, `m`, `h`, `d` or `w`.
In a variable, an empty value or `none` takes back a setting whose default is none."""

_PROJECT = """\
## Settings of a project

They may be set in every layer."""

_ENV = """\
In `fetchml.yaml`, `env` is a mapping of names to text; on the command line it is `--env NAME=value`, once for each
variable. The mappings of all layers are merged, name by name. Names that begin with `FETCHML_`, `PREFECT_`, `LD_`,
`NVIDIA_`, `CUDA_VISIBLE`, `CUDA_DEVICE_ORDER`, `CUDA_MPS_`, `HIP_VISIBLE`, `ROCR_VISIBLE`, `ONEAPI_DEVICE_SELECTOR`,
`ZE_AFFINITY_MASK` or `ZE_ENABLE_PCI_ID` are refused."""

_HOST = """\
## Settings of a host

The one worker of a host serves all projects, so `fetchml.yaml` may not set these; the user's `config.yaml`, the
environment and, where there is one, a flag may. The worker keeps the environment it was started with: after a change,
`fetchml down` and `fetchml up`; what runs goes on meanwhile. `home` is taken from the environment only."""

_OTHERS = """\
## Other variables

| Variable | Meaning |
| --- | --- |
| `PREFECT_API_URL` | Prefect server to use; `FETCHML_PREFECT_API_URL` wins over it. |
| `PREFECT_API_KEY`, `PREFECT_API_AUTH_STRING` | Credentials for that server. |
| `FETCHML_S3_ACCESS_KEY`, `FETCHML_S3_SECRET_KEY`, `FETCHML_S3_SESSION_TOKEN` | Credentials for the bucket of \
`objects.url`. |
| `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN` | The same, if those are not set. |
| `SSL_CERT_FILE` | Certificates to trust in an S3 server. |
| `DOCKER_HOST` | Docker socket, if `docker.host` is not set. |
| `XDG_RUNTIME_DIR` | Where a user's own Podman socket is looked for, if `podman.socket` is not set. |
| `FETCH_ML_TOTAL_CPU` | CPU cores the worker offers, instead of those it finds. |
| `FETCH_ML_GPU_COUNT`, `FETCH_ML_GPU_TYPE` | GPUs the worker offers, instead of those that are found. |
| `FETCH_ML_GPU_SLOTS_PER_GPU` | Equal parts of each GPU that shares are rounded up to, 1 to 64; `1`: never shared. |
| `NO_COLOR`, `CLICOLOR_FORCE`, `FORCE_COLOR` | Colour off or on; they win over `color`. |

The worker reads the `FETCH_ML_...` variables when it starts, and logs each one it obeys. Variables a run sees:
[environment-of-a-run.md](environment-of-a-run.md)."""


def _queue_options() -> set[str]:
    queue = next(item for item in commands() if item.path == "fetchml queue")
    return {option for item in queue.command.get_params(queue.context) for option in item.opts}


def _flag_of(key: str, options: set[str]) -> str:
    if key == "dataset_specs":
        return code("--data")
    for name in (key.replace(".", "-"), key.rpartition(".")[2]):
        option = "--" + name.replace("_", "-")
        if option in options:
            return code(option)
    return ""


def _default_of(item: Any) -> str:
    if item.metadata["key"] in ("env", "dataset_specs"):
        return "none"
    shown = item.metadata["kind"].show(item.default)
    if shown is None:
        return "none"
    if isinstance(shown, bool):
        return code(str(shown).lower())
    return code(f"{shown:g}" if isinstance(shown, float) else str(shown))


def settings_page() -> str:
    """Returns the page of all settings."""
    return page(
        "Settings", _LAYERS, _FILES, _PROJECT, _settings(Scope.PROJECT), _ENV, _HOST, _settings(Scope.HOST), _OTHERS
    )


def _settings(scope: Scope) -> str:
    options = _queue_options()
    rows = [
        (
            code(key),
            code(variable_of(key)) if key != "env" else "",
            _flag_of(key, options),
            item.metadata["kind"].expected,
            _default_of(item),
            sentence(item.metadata["description"]),
        )
        for key, item in by_key().items()
        if item.metadata["scope"] is scope
    ]
    return table(("Setting", "Variable", "Flag of `queue`", "Value", "Default", "Meaning"), rows)
