"""The two questions asked before a run is queued, put to an engine's socket without its SDK.

`import docker` costs 150 ms of CPU, more than everything else `fetchml queue` does, and both Docker and Podman answer
`/version` and `/images/.../json` on their socket.
"""

import http.client
import json
import socket
from typing import Any, cast
from urllib.parse import quote

from fetchml.errors import NotFound, Unavailable

_TIMEOUT_S = 10


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def get_json(socket_path: str, url: str) -> dict[str, Any]:
    """Asks an engine's socket for a JSON object.

    Raises:
        NotFound: The engine knows no such thing.
        Unavailable: The socket is missing, may not be used, or does not answer.
    """
    connection = _UnixConnection(socket_path)
    try:
        connection.request("GET", url)
        response = connection.getresponse()
        body = response.read()
        if response.status == 404:
            raise NotFound("the engine has no such thing")
        if response.status != 200:
            raise Unavailable(f"the engine answers {response.status}", detail=body[:300].decode("utf-8", "replace"))
        return cast("dict[str, Any]", json.loads(body))
    except FileNotFoundError as error:
        raise Unavailable(f"there is no socket `{socket_path}`") from error
    except PermissionError as error:
        raise Unavailable(
            f"this user may not use the socket `{socket_path}`",
            hint="add the user to the group that owns it (for Docker: `docker`), or use rootless Podman",
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unavailable(f"nothing answers on `{socket_path}`", detail=str(error)) from error
    finally:
        connection.close()


def image_url(reference: str) -> str:
    """Returns the path under which an engine describes an image."""
    return f"/images/{quote(reference, safe='/:@')}/json"
