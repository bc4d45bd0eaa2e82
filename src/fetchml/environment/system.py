"""The operating system of this host."""

import platform

from fetchml.models.software import SystemFacts


def host_system() -> SystemFacts:
    """Returns the operating system fetchml runs on: in a container, that of the container, on the host's kernel."""
    try:
        distribution = platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        distribution = None
    return SystemFacts(
        distribution=distribution,
        kernel=platform.release() or None,
        libc=" ".join(platform.libc_ver()).strip() or None,
        machine=platform.machine() or None,
    )
