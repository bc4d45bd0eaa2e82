"""fetchml: an ML experiment queue for people with their own GPUs.

Only the standard library may be imported here: this file and `metric.py` are also put into every run, so that
`from fetchml import log_metric` works in any image.
"""

from pkgutil import extend_path

from fetchml.metric import log_metric

# In a run the copy of this package comes first on the path; where fetchml is installed as well, the rest of it stays
# importable.
__path__ = extend_path(__path__, __name__)

__all__ = ["log_metric"]


def __getattr__(name: str) -> str:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("fetchml")
        except PackageNotFoundError:
            return "unknown"
    raise AttributeError(f"module `fetchml` has no attribute `{name}`")
