"""Messages of the gateway as they arrive, over a WebSocket."""

from collections.abc import Iterator, Mapping
from urllib.parse import quote, urlencode, urlsplit

from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import connect

from fetchml.errors import FetchmlError, Forbidden
from fetchml.link.client import Link, tls_context
from fetchml.link.wire import error_of

_MAX_MESSAGE = 16 * 1024 * 1024


def messages(link: Link, path: str, query: Mapping[str, object]) -> Iterator[bytes]:
    """Yields the messages of a stream until it ends or breaks off; which of both, the caller finds out otherwise.

    Raises:
        Forbidden: The gateway refuses the key.
        FetchmlError: What the gateway says in place of a message.
    """
    parts = urlsplit(link.login.url)
    scheme, context = ("wss", tls_context(link.login)) if parts.scheme == "https" else ("ws", None)
    url = f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}{quote(path)}?{urlencode(query)}"
    try:
        with connect(
            url,
            ssl=context,
            additional_headers={"Authorization": f"Bearer {link.login.key}"},
            max_size=_MAX_MESSAGE,
            proxy=None,
        ) as socket:
            for message in socket:
                if isinstance(message, str):
                    raise _said(message)
                yield message
    except InvalidStatus as error:
        if error.response.status_code in (401, 403):
            raise Forbidden("the gateway refuses this key", code="access-denied") from error
    except (WebSocketException, OSError):
        return


def _said(message: str) -> FetchmlError:
    return error_of(500, message.encode())
