"""Gateways of a test's own, in this process, and a wire to them that can be cut."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

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
from fetchml.store.hosts import DirectoryHosts

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
    hosts: DirectoryHosts | None = None,
) -> Iterator[Gateway]:
    """Serves the store of a home on loopback, without TLS."""
    lab = make_lab(Home(Settings(home=home)))
    lab.home.create()
    if hosts is not None:
        object.__setattr__(lab, "hosts", hosts)
    with served(wrapped(create_app(lab, grants=grants))) as port:
        yield Gateway(lab, f"http://127.0.0.1:{port}")


@contextmanager
def served(app: ASGIApp, **options: object) -> Iterator[int]:
    """Serves an application on loopback for a block; yields its port."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    config = uvicorn.Config(app, log_level="error", timeout_keep_alive=75, timeout_graceful_shutdown=1, **options)  # type: ignore[arg-type]
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
        thread.join(20)
        listener.close()


class Wire:
    """A TCP connection to a gateway that can be cut, or fall silent.

    Args:
        url: Address it leads to.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "", parts.port or 0)
        self._state = "open"
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port = self._listener.getsockname()[1]
        self.url = f"{parts.scheme}://{parts.hostname}:{self._port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._state = "closed"
        _shut(self._listener)
        self._close_all()

    @property
    def port(self) -> int:
        return self._port

    def cut(self) -> None:
        """Ends all connections and lets none through."""
        self._state = "cut"
        self._close_all()

    def hang(self) -> None:
        """Lets nothing through, and says nothing."""
        self._state = "hang"

    def mend(self) -> None:
        """Lets everything through again; what hung is ended."""
        self._close_all()
        self._state = "open"

    def _accept(self) -> None:
        while self._state != "closed":
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._state == "cut":
                _shut(near)
                continue
            try:
                far = socket.create_connection(self._target, timeout=10)
            except OSError:
                _shut(near)
                continue
            far.settimeout(None)
            with self._lock:
                self._open |= {near, far}
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while part := source.recv(65_536):
                while self._state == "hang":
                    time.sleep(0.02)
                sink.sendall(part)
        except OSError:
            pass
        _shut(source)
        _shut(sink)

    def _close_all(self) -> None:
        with self._lock:
            for item in self._open:
                _shut(item)
            self._open.clear()


def _shut(item: socket.socket) -> None:
    with suppress(OSError):
        item.shutdown(socket.SHUT_RDWR)
    item.close()
