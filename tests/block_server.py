"""The part of Prefect's API that blocks are read from, with what a test puts there."""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


class BlockServer:
    """Blocks by the slug of their type and their name; `answer` takes the place of everything, if it is set."""

    def __init__(self) -> None:
        self.blocks: dict[tuple[str, str], Any] = {}
        self.answer: tuple[int, bytes] | None = None
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                self._send(*(outer.answer or outer.find(self.path)))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append(self.path)
                self._send(*(outer.answer or outer.named(body)))

            def _send(self, status: int, content: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.api_url = f"http://127.0.0.1:{self._server.server_address[1]}/api"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def find(self, url: str) -> tuple[int, bytes]:
        """Answers as Prefect 3.8 does; without `include_secrets` its secrets are asterisks."""
        parts = urlsplit(url)
        _, _, types, by_slug, slug, documents, by_name, name = parts.path.split("/")
        assert (types, by_slug, documents, by_name) == ("block_types", "slug", "block_documents", "name")
        assert parse_qs(parts.query) == {"include_secrets": ["true"]}
        if (slug, unquote(name)) not in self.blocks:
            return 404, b'{"detail":"Block document not found"}'
        return 200, json.dumps({"name": name, "data": self.blocks[slug, unquote(name)]}).encode()

    def named(self, body: Any) -> tuple[int, bytes]:
        (wanted,) = body["block_documents"]["name"]["any_"]
        return 200, json.dumps(
            [{"name": name, "block_type": {"name": slug}} for slug, name in self.blocks if name == wanted]
        ).encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def block_server() -> Generator[BlockServer]:
    """Yields a server that runs."""
    made = BlockServer()
    try:
        yield made
    finally:
        made.close()
