"""Made-up `/sys` and `/proc` trees."""

from pathlib import Path


def lay(root: Path, files: dict[str, str]) -> Path:
    """Writes files below a root; names with a colon are folders of devices and fine."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def card(number: int, vendor: str, address: str, driver: str, render: int, **files: str) -> dict[str, str]:
    """Returns the files of one card."""
    base = f"sys/class/drm/card{number}/device"
    found = {
        f"{base}/vendor": f"{vendor}\n",
        f"{base}/uevent": f"DRIVER={driver}\nPCI_SLOT_NAME={address}\n",
        f"{base}/drm/renderD{render}/dev": "226:128\n",
        f"sys/class/drm/card{number}-DP-1/status": "connected\n",
    }
    return {**found, **{f"{base}/{name.replace('__', '/')}": content for name, content in files.items()}}


def amd_node(number: int, render: int, **facts: int) -> dict[str, str]:
    """Returns the files of one compute node."""
    base = f"sys/class/kfd/kfd/topology/nodes/{number}"
    lines = {"cpu_cores_count": 0, "simd_count": 240, "drm_render_minor": render, **facts}
    return {
        f"{base}/properties": "".join(f"{name} {value}\n" for name, value in lines.items()),
        f"{base}/gpu_id": f"{1000 + number}\n",
        f"{base}/name": "navi31\n",
    }


def process(pid: int, parent: int = 1, command: str = "python", **environ: str) -> dict[str, str]:
    """Returns the files of one process."""
    base = f"proc/{pid}"
    return {
        f"{base}/cmdline": f"/usr/bin/{command}\0train.py\0",
        f"{base}/environ": "".join(f"{name}={value}\0" for name, value in environ.items()),
        f"{base}/stat": f"{pid} (a) b) S {parent} 0 0",
        f"{base}/cgroup": "0::/user.slice\n",
    }
