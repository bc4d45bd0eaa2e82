"""Gateways of a test's own, in this process, and a wire to them that can be cut."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from fetchml.config.settings import Settings
from fetchml.gateway.app import create_app
from fetchml.gateway.lab import Lab, make_lab
from fetchml.gateway.rules import GRANTS, Permission
from fetchml.home import Home
from fetchml.keys.access import AccessKind
from fetchml.link.client import Link, Patience
from fetchml.link.login import Login

EVERYTHING = {kind: frozenset(Permission) for kind in AccessKind}
QUICK = Patience(timeout_s=20, tries=6, sleep=lambda _: None)


@dataclass
class Gateway:
    """A gateway and how to reach it."""

    lab: Lab
    url: str

    def login(self, kind: AccessKind = AccessKind.HOST, name: str = "here", **changes: str) -> Login:
        """Returns a login with a new key."""
        key = self.lab.keys.add(kind, name, datetime.now(UTC))
        fields = {"url": self.url, "kind": str(kind), "name": name, "key": key, "store_id": self.lab.home.store_id}
        return Login(**{**fields, **changes})

    def link(self, kind: AccessKind = AccessKind.HOST, name: str = "here", **changes: str) -> Link:
        """Returns a client with a new key."""
        return Link(self.login(kind, name, **changes), QUICK)


@contextmanager
def gateway(
    home: Path,
    grants: Mapping[AccessKind, frozenset[Permission]] = GRANTS,
    wrapped: Callable[[ASGIApp], ASGIApp] = lambda app: app,
) -> Iterator[Gateway]:
    """Serves the store of a home on loopback, without TLS."""
    lab = make_lab(Home(Settings(home=home)))
    lab.home.create()
    with served(wrapped(create_app(lab, grants=grants))) as port:
        yield Gateway(lab, f"http://127.0.0.1:{port}")


@contextmanager
def served(app: ASGIApp, **options: object) -> Iterator[int]:
    """Serves an application on loopback for a block; yields its port."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    config = uvicorn.Config(app, log_level="error", lifespan="off", timeout_keep_alive=75, **options)  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
    thread.start()
    try:
        while not server.started:
            thread.join(0.005)
            assert thread.is_alive(), "the server ended as it started"
        yield int(listener.getsockname()[1])
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(20)
        listener.close()
