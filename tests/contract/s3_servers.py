"""S3 servers of the tests' own: one in memory, one that keeps what it has when it is killed, and a proxy that fails."""

import os
import secrets
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import urllib3
from minio import Minio

from fetchml.objects.s3 import S3Objects
from fetchml.objects.s3_place import Credentials, Patience, S3Place

CREDENTIALS = Credentials("fetchml-test-key", "fetchml-test-secret")
HASTE = Patience(connect_s=20, read_s=60, tries=3, pause_s=0.01)
"""For servers that answer, however busy the machine is."""
_START_S = 60
_PROGRAMS = Path(sys.executable).parent


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@dataclass
class S3Server:
    """A server on a port of this host.

    Args:
        kind: moto or rclone.
        folder: Where rclone keeps the objects.
    """

    kind: str
    folder: Path
    port: int = field(default_factory=_free_port)
    process: subprocess.Popen[bytes] | None = None
    credentials: Credentials = CREDENTIALS
    certificate: Path | None = None
    """Certificate and key, for rclone to speak TLS with."""
    ca_file: Path | None = None
    """Who has signed it."""

    @property
    def endpoint(self) -> str:
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it and waits until it answers; again on the same port after `kill`."""
        if self.kind == "moto":
            words = [str(_PROGRAMS / "moto_server"), "-p", str(self.port)]
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            pair = f"{self.credentials.access_key},{self.credentials.secret_key}"
            words = [str(_PROGRAMS / "rclone"), "serve", "s3", "--auth-key", pair, "--addr", f"127.0.0.1:{self.port}"]
            words += ["--config", os.devnull, str(self.folder)]
            if self.certificate:
                words += ["--cert", str(self.certificate), "--key", str(self.certificate)]
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + _START_S
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            assert self.process.poll() is None, f"{self.kind} ended with {self.process.returncode}"
            assert time.monotonic() < deadline, f"{self.kind} does not listen"
            time.sleep(0.02)

    def kill(self) -> None:
        """Ends it as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def client(self) -> Minio:
        """Returns a client that is not the product's."""
        return Minio(
            f"127.0.0.1:{self.port}",
            self.credentials.access_key,
            self.credentials.secret_key,
            secure=self.certificate is not None,
            region="us-east-1",
            http_client=urllib3.PoolManager(retries=False, timeout=20, ca_certs=self.ca_file and str(self.ca_file)),
        )

    def new_bucket(self) -> str:
        """Returns the name of a bucket nobody has used."""
        name = f"test-{secrets.token_hex(8)}"
        self.client().make_bucket(name)
        return name

    def objects(self, bucket: str, staging: Path, prefix: str = "lab/", patience: Patience = HASTE) -> S3Objects:
        """Returns the product's store in a bucket."""
        return S3Objects(S3Place(bucket, prefix, self.endpoint, "us-east-1"), self.credentials, staging, patience)


def _given_server() -> S3Server | None:
    """Returns the server on a port of this host that the environment names, or None."""
    key, secret, port = (os.environ.get("FETCHML_TEST_S3") or "  0").split(" ")
    return S3Server("given", Path(), int(port), credentials=Credentials(key, secret)) if key else None


GIVEN = _given_server()
"""`FETCHML_TEST_S3="key secret port"` lets the contract be tested against any server: MinIO, Swift, Ceph, Garage."""


@contextmanager
def serving(kind: str, folder: Path, **more: Path) -> Generator[S3Server]:
    """Yields a server that runs."""
    server = S3Server(kind, folder, **more)
    server.start()
    try:
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Request:
    """A request that came to the proxy."""

    method: str
    path: str
    head: bytes
    body: bytes


class Exchange:
    """One request and what a fault does with it.

    Args:
        request: What the client sent.
        proxy: Where it came in.
        client: The connection to the client.
    """

    def __init__(self, request: Request, proxy: "FaultyProxy", client: socket.socket) -> None:
        self.request = request
        self._proxy = proxy
        self._client = client

    def ask(self, body: bytes | None = None) -> bytes:
        """Passes the request on, with another body of the same size if one is given; returns the whole answer."""
        with socket.create_connection(("127.0.0.1", self._proxy.upstream), timeout=30) as server:
            server.sendall(self.request.head + (self.request.body if body is None else body))
            parts: list[bytes] = []
            while part := server.recv(1 << 20):
                parts.append(part)
        return b"".join(parts)

    def answer(self, content: bytes) -> None:
        self._client.sendall(content)

    def answer_status(self, status: str, code: str = "", headers: str = "") -> None:
        """Answers as an S3 server does that says no."""
        xml = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>told so</Message></Error>" if code else ""
        body = b"" if self.request.method == "HEAD" else xml.encode()
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n{headers}"
        self.answer(f"{head}Connection: close\r\n\r\n".encode() + body)

    def hang(self) -> None:
        """Does not answer until the proxy is closed."""
        self._proxy.closing.wait(30)


Fault = Callable[[Exchange], None]


def passed_on(exchange: Exchange) -> None:
    """No fault."""
    exchange.answer(exchange.ask())


class FaultyProxy:
    """Stands between client and server and fails as it is told; one request a connection.

    Args:
        upstream: Port of the server.
    """

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.fault: Fault = passed_on
        self.requests: list[Request] = []
        self.closing = threading.Event()
        proxy = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with suppress(OSError):
                    request = _read_request(self.request)
                    if request is not None:
                        proxy.requests.append(request)
                        proxy.fault(Exchange(request, proxy, self.request))

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True
            request_queue_size = 64

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()


def _read_request(connection: socket.socket) -> Request | None:
    """Reads one request; the head is changed so that the server closes the connection after it."""
    connection.settimeout(30)
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(1 << 16)
        if not part:
            return None
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    sizes = [int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length:")]
    while len(body) < sum(sizes):
        part = connection.recv(1 << 20)
        if not part:
            return None
        body += part
    kept = [line for line in lines if not line.lower().startswith((b"connection:", b"expect:"))]
    method, path, _ = first.decode().split(" ", 2)
    return Request(method, path, b"\r\n".join([first, *kept, b"Connection: close", b"", b""]), body)
