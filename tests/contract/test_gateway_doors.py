"""Who gets into the gateway: nobody without a key, nor with a wrong one, nor by another spelling of a path."""

import base64
import http.client
import json
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from fetchml.config.settings import Settings
from fetchml.errors import Conflict, Forbidden
from fetchml.gateway.app import all_rules, create_app
from fetchml.gateway.lab import Lab, make_lab
from fetchml.gateway.prefect import PrefectProxy
from fetchml.gateway.rules import GRANTS, Permission, is_plain
from fetchml.home import Home
from fetchml.keys.access import AccessKeys, AccessKind
from fetchml.keys.tls import Authority
from fetchml.link.client import Link, Patience
from fetchml.link.login import Login
from fetchml.testing.builders import RUN_ID, make_manifest, make_plan
from gateways import served

QUICK = Patience(10, 2, lambda _: None)


class Doors:
    """A gateway with a Prefect behind it that tells what it was asked."""

    def __init__(self, lab: Lab, port: int, asked: list[str]) -> None:
        self.lab = lab
        self.port = port
        self.asked = asked
        """What has come through to Prefect."""
        self.key = lab.keys.add(AccessKind.USER, "ada", datetime.now(UTC))
        self.host_key = lab.keys.add(AccessKind.HOST, "gpu1", datetime.now(UTC))

    def ask(
        self, method: str, path: str, key: str | None = None, body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        """Sends a request exactly as it is spelt."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
            if key is not None:
                headers["Authorization"] = f"Bearer {key}"
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            if body is not None and "Content_Length" not in headers:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()


def prefect_stand_in(asked: list[str]) -> Starlette:
    """A server that answers everything, as Prefect does, and says what it was asked."""

    async def anything(request: Request) -> JSONResponse:
        asked.append(f"{request.method} {request.scope['raw_path'].decode()}")
        headers = {"access-control-allow-origin": "*", "set-cookie": "a=b", "x-own": "1"}
        content = {"api_url": "http://127.0.0.1:4200/api", "authorization": request.headers.get("authorization")}
        return JSONResponse({**content, "body": len(await request.body())}, headers=headers)

    async def stream(socket: WebSocket) -> None:
        offers = "prefect" in socket.scope["subprotocols"]
        await socket.accept(subprotocol="prefect" if offers else None)
        if offers:
            asked.append(f"token {(await socket.receive_json()).get('token')}")
            await socket.send_json({"type": "auth_success"})
        while True:
            await socket.send_text(f"echo {await socket.receive_text()}")

    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    return Starlette(routes=[WebSocketRoute("/{path:path}", stream), Route("/{path:path}", anything, methods=methods)])


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    lab = make_lab(Home(Settings(home=tmp_path_factory.mktemp("home"))))
    lab.home.create()
    lab.store.create(make_plan(), make_manifest())
    asked: list[str] = []
    with served(prefect_stand_in(asked), ws="websockets-sansio") as prefect:
        proxy = PrefectProxy(lambda: f"http://127.0.0.1:{prefect}/api", lab.keys)
        with served(create_app(lab, proxy=proxy), ws="websockets-sansio") as port:
            yield Doors(lab, port, asked)


@pytest.fixture(autouse=True)
def _nothing_asked(doors: Doors) -> None:
    doors.asked.clear()


def concrete(path: str) -> str:
    return (
        path.replace("{run_id}", RUN_ID)
        .replace("{attempt:int}", "1")
        .replace("{digest}", "ab" * 32)
        .replace("{host}", "gpu1")
    )


def routes(lab: Lab) -> list[tuple[str, str]]:
    found = [(rule.method, concrete(rule.path)) for rule in all_rules(lab)]
    found += [(method, "/prefect/api/flow_runs/filter") for method in ("GET", "POST", "PUT", "PATCH", "DELETE")]
    found += [("GET", "/prefect/"), ("GET", "/prefect/ui-settings"), ("GET", "/prefect/api/health")]
    return [
        *found,
        ("GET", "/"),
        ("GET", "/docs"),
        ("GET", "/openapi.json"),
        ("GET", "/nothing"),
        ("OPTIONS", "/v1/me"),
    ]


WRONG: dict[str, Callable[[Doors], dict[str, str]]] = {
    "none": lambda _: {},
    "wrong": lambda _: {"Authorization": "Bearer fmk_" + "A" * 43},
    "empty": lambda _: {"Authorization": "Bearer "},
    "stored hash": lambda doors: {"Authorization": f"Bearer {doors.lab.keys.all()[0].sha256}"},
    "other scheme": lambda doors: {"Authorization": f"Token {doors.key}"},
    "cut short": lambda doors: {"Authorization": f"Bearer {doors.key[:-1]}"},
    "in a query": lambda doors: {"X-Api-Key": doors.key, "Cookie": f"key={doors.key}"},
    "not UTF-8": lambda _: {"Authorization": "Bearer \xff\xfe"},
    "basic wrong": lambda _: {"Authorization": "Basic " + base64.b64encode(b"ada:no").decode()},
    "basic damaged": lambda _: {"Authorization": "Basic ***"},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_every_route_is_closed_without_a_key(doors: Doors, wrong: Callable[[Doors], dict[str, str]]) -> None:
    for method, path in routes(doors.lab):
        status, content, headers = doors.ask(method, path, body=b"{}", **wrong(doors))
        assert status == 401, f"{method} {path}"
        assert RUN_ID.encode() not in content
        assert "www-authenticate" in headers
        assert "access-control-allow-origin" not in headers
    assert doors.asked == []


def test_every_route_has_a_permission_and_some_kind_has_it(doors: Doors) -> None:
    granted = frozenset[Permission]().union(*GRANTS.values())
    for rule in all_rules(doors.lab):
        assert rule.needs in granted


def test_a_key_opens_only_what_its_kind_may(doors: Doors) -> None:
    keys = {AccessKind.USER: doors.key, AccessKind.HOST: doors.host_key}
    for rule in all_rules(doors.lab):
        for kind, key in keys.items():
            status, content, _ = doors.ask(rule.method, concrete(rule.path), key, b"")
            denied = status == 403 and b"access-denied" in content
            assert denied == (rule.needs not in GRANTS[kind]), f"{rule.method} {rule.path} as {kind}: {status}"


def test_a_revoked_key_opens_nothing_from_then_on(doors: Doors) -> None:
    key = doors.lab.keys.add(AccessKind.USER, "leaving", datetime.now(UTC))
    assert doors.ask("GET", "/v1/me", key)[0] == 200
    doors.lab.keys.remove(AccessKind.USER, "leaving")
    assert doors.ask("GET", "/v1/me", key)[0] == 401


@pytest.mark.parametrize(
    "path",
    [
        "/v1//me",
        "//v1/me",
        "/v1/./me",
        "/v1/../v1/me",
        "/v1/%2e%2e/me",
        "/v1/runs/%2e%2e%2f%2e%2e/manifest",
        "/v1/runs/..%5c..%5cetc/manifest",
        "/v1/runs/%252e%252e/manifest",
        "/prefect/api/../../v1/me",
        "/prefect/api//health",
        "/prefect/api/%2e%2e/admin/database/clear",
        "/prefect/api%2fhealth",
        "/prefect/api/flow_runs;a=b/filter",
        "/prefect\\api",
        "/v1/me%00",
        "/v1/m%C3%A9",
        "/" + "a" * 5000,
    ],
)
def test_a_path_with_a_second_meaning_is_refused(doors: Doors, path: str) -> None:
    status, content, _ = doors.ask("GET", path, doors.key)
    assert (status, json.loads(content)["error"]["code"]) == (400, "bad-path")
    assert doors.asked == []


def test_a_host_header_changes_nothing(doors: Doors) -> None:
    for host in ("evil.example/v1/me?", "127.0.0.1/../x", "[::1", "a b"):
        assert doors.ask("GET", "/v1/nothing", doors.key, Host=host)[0] in (400, 404)
        assert doors.ask("GET", "/v1/me", None, Host=host)[0] in (400, 401)


@pytest.mark.parametrize("suffix", ["health", "ready", "docs", "openapi.json", "v1/me/", "v1/me/health"])
def test_what_is_no_route_is_nothing_with_a_key(doors: Doors, suffix: str) -> None:
    assert doors.ask("GET", f"/{suffix}", doors.key)[0] == 404


def test_a_body_that_is_too_large_is_not_read(doors: Doors) -> None:
    digest = "ab" * 32
    status, content, _ = doors.ask("PUT", f"/v1/objects/{digest}?offset=0&total=9", doors.key, b"x" * 5_000_000)
    assert (status, json.loads(content)["error"]["code"]) == (400, "too-large")
    status, _, _ = doors.ask("POST", f"/v1/runs/{RUN_ID}/stop", doors.key, b"{}", Content_Length="999999999999")
    assert status == 400
    chunks = iter([b"x" * 65_536] * 40)
    connection = http.client.HTTPConnection("127.0.0.1", doors.port, timeout=20)
    try:
        connection.request(
            "POST",
            f"/v1/runs/{RUN_ID}/stop",
            chunks,
            {"Authorization": f"Bearer {doors.key}", "Transfer-Encoding": "chunked"},
            encode_chunked=True,
        )
        assert connection.getresponse().status == 400
    except (BrokenPipeError, ConnectionResetError):
        pass  # it has stopped to listen
    finally:
        connection.close()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"[" * 100_000, b"\xff\xfe", b'{"plan": 1}'], ids=repr)
def test_a_body_that_is_nonsense_is_refused(doors: Doors, body: bytes) -> None:
    for method, path, key in (
        ("POST", "/v1/runs", doors.key),
        ("POST", "/v1/objects/missing", doors.key),
        ("POST", f"/v1/runs/{RUN_ID}/attempts/1/claim", doors.host_key),
        ("POST", "/v1/hosts/gpu1/state", doors.host_key),
    ):
        status, content, _ = doors.ask(method, path, key, body)
        assert status == 400, f"{method} {path}: {status} {content!r}"
        assert b"Traceback" not in content


def test_too_many_headers_are_refused(doors: Doors) -> None:
    headers = {f"X-{number}": "x" * 1000 for number in range(70)}
    try:
        assert doors.ask("GET", "/v1/me", doors.key, **headers)[0] in (400, 431)
    except (ConnectionError, http.client.HTTPException):
        pass  # the server hung up


# Prefect behind it


def test_prefect_is_reached_with_a_key_and_never_sees_it(doors: Doors) -> None:
    status, content, headers = doors.ask("POST", "/prefect/api/flow_runs/filter?a=1&b=%2F", doors.key, b"{}")
    assert (status, doors.asked) == (200, ["POST /api/flow_runs/filter"])
    assert json.loads(content)["authorization"] is None
    assert json.loads(content)["body"] == 2
    assert headers["x-own"] == "1"
    assert not {"access-control-allow-origin", "set-cookie"} & headers.keys()


@pytest.mark.parametrize(
    "path", ["docs", "redoc", "openapi.json", "admin/database/clear", "admin/database/drop", "admin/settings", "docs/x"]
)
def test_some_of_prefect_is_closed(doors: Doors, path: str) -> None:
    for method in ("GET", "POST"):
        assert doors.ask(method, f"/prefect/api/{path}", doors.host_key, b"{}")[0] == 404
    assert doors.asked == []


def test_secrets_in_blocks_are_for_hosts(doors: Doors) -> None:
    path = "/prefect/api/block_documents/filter?include_secrets=true"
    assert doors.ask("POST", path, doors.key, b"{}")[0] == 403
    assert doors.asked == []
    assert doors.ask("POST", path, doors.host_key, b"{}")[0] == 200


def test_a_browser_shows_its_key_as_a_password_below_prefect_only(doors: Doors) -> None:
    basic = "Basic " + base64.b64encode(f"ada:{doors.key}".encode()).decode()
    assert doors.ask("GET", "/prefect/", Authorization=basic)[0] == 200
    assert doors.ask("GET", "/v1/me", Authorization=basic)[0] == 401
    _, content, _ = doors.ask("GET", "/prefect/ui-settings", Authorization=basic, Host="lab.example:8470")
    assert json.loads(content)["api_url"] == "http://lab.example:8470/prefect/api"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"},
    ],
    ids=str,
)
def test_another_site_cannot_use_what_a_browser_knows(doors: Doors, headers: dict[str, str]) -> None:
    basic = "Basic " + base64.b64encode(f"ada:{doors.key}".encode()).decode()
    status, _, _ = doors.ask("POST", "/prefect/api/deployments/", None, b"{}", Authorization=basic, **headers)
    assert (status, doors.asked) == (401, [])


def hangs_up(url: str, first: str) -> bool:
    """Tells whether a stream ends when that is its first message."""
    with connect(url, subprotocols=["prefect"]) as socket:  # type: ignore[list-item]
        try:
            socket.send(first)
            socket.recv(timeout=20)
        except ConnectionClosed:
            return True
    return False


def test_a_stream_of_prefect_needs_a_key_in_its_first_message(doors: Doors) -> None:
    url = f"ws://127.0.0.1:{doors.port}/prefect/api/events/in"
    for first in (
        "",
        "hello",
        "[]",
        '{"type": "auth"}',
        '{"type": "auth", "token": "no"}',
        '{"type": "x"}',
        "x" * 20_000,
    ):
        assert hangs_up(url, first)
    assert doors.asked == []
    for token in (doors.key, f"gpu1:{doors.host_key}"):
        with connect(url, subprotocols=["prefect"]) as socket:  # type: ignore[list-item]
            socket.send(json.dumps({"type": "auth", "token": token}))
            assert json.loads(socket.recv(timeout=20)) == {"type": "auth_success"}
            socket.send("one")
            assert socket.recv(timeout=20) == "echo one"
    assert doors.asked == ["token None"] * 2


@pytest.mark.parametrize(
    "path",
    [f"/v1/runs/{RUN_ID}/output", "/v1/events", "/prefect/api/events/in", "/prefect/api/logs/out", "/v1/nothing"],
)
@pytest.mark.parametrize("key", [None, "fmk_wrong"])
def test_a_stream_without_a_key_is_not_opened(doors: Doors, path: str, key: str | None) -> None:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with pytest.raises(InvalidStatus), connect(f"ws://127.0.0.1:{doors.port}{path}", additional_headers=headers):
        pass
    assert doors.asked == []


# Keys


def test_a_key_is_shown_once_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    keys = AccessKeys(tmp_path / "gateway")
    secret = keys.add(AccessKind.HOST, "gpu1", datetime.now(UTC))
    stored = tmp_path / "gateway" / "keys.json"
    assert secret not in stored.read_text()
    assert (stored.stat().st_mode & 0o777, stored.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert len(base64.urlsafe_b64decode(secret.removeprefix("fmk_") + "=")) * 8 == 256
    found = AccessKeys(tmp_path / "gateway").find(secret)
    assert found is not None
    assert (found.kind, found.name) == (AccessKind.HOST, "gpu1")
    assert keys.find(found.sha256) is None
    with pytest.raises(Conflict):
        keys.add(AccessKind.HOST, "gpu1", datetime.now(UTC))


def test_a_login_does_not_show_its_key() -> None:
    login = Login("https://lab:1", "user", "ada", "fmk_secret", "store")
    assert "fmk_secret" not in repr(login)


def test_paths_with_one_meaning_are_let_through() -> None:
    def plain(raw: bytes) -> bool:
        return is_plain({"path": raw.decode(), "raw_path": raw, "headers": []})

    assert plain(b"/v1/runs/2026-11-20_k3f9q2/attempts/1/claim")
    assert not plain(b"v1/me")


# TLS


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[Login, Path]]:
    """A gateway with a certificate of its own, and a login for it."""
    lab = make_lab(Home(Settings(home=tmp_path / "home")))
    lab.home.create()
    authority = Authority(tmp_path / "home" / "gateway")
    made = authority.issue(["localhost"])
    with served(create_app(lab), ssl_certfile=str(made), ssl_keyfile=str(made)) as port:
        key = lab.keys.add(AccessKind.USER, "ada", datetime.now(UTC))
        yield Login(f"https://localhost:{port}", "user", "ada", key, "store", ca_pem=authority.certificate()), tmp_path


def test_the_certificate_of_the_lab_is_believed(secure: tuple[Login, Path]) -> None:
    link = Link(secure[0], QUICK)
    assert link.get("/v1/me").json()["name"] == "ada"
    assert link.answers()


def test_its_files_are_for_their_owner_only(secure: tuple[Login, Path]) -> None:
    folder = secure[1] / "home" / "gateway"
    for name in ("ca-key.pem", "server.pem"):
        assert (folder / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("other", ["another lab", "public", "another name"])
def test_another_certificate_is_not(secure: tuple[Login, Path], other: str, tmp_path: Path) -> None:
    login = secure[0]
    changes: dict[str, Any] = {
        "another lab": {"ca_pem": Authority(tmp_path / "other").certificate()},
        "public": {"ca_pem": None},
        "another name": {"url": login.url.replace("localhost", "127.0.0.1")},
    }[other]
    fields = {
        "url": login.url,
        "kind": "user",
        "name": "ada",
        "key": login.key,
        "store_id": "s",
        "ca_pem": login.ca_pem,
    }
    with pytest.raises(Forbidden) as caught:
        Link(Login(**{**fields, **changes}), QUICK).get("/v1/me")
    assert caught.value.code == "wrong-certificate"
    assert login.key not in str(caught.value)


def test_old_versions_of_tls_are_refused(secure: tuple[Login, Path]) -> None:
    parts = urlsplit(secure[0].url)
    context = ssl.create_default_context(cadata=secure[0].ca_pem or "")
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, context=context, timeout=20)
    connection.request("GET", "/v1/me")
    assert connection.getresponse().status == 401
    connection.close()


def test_the_authority_stays_and_its_certificates_are_new(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    first = authority.issue(["localhost", "10.0.0.1", "::1"]).read_bytes()
    assert authority.issue(["localhost"]).read_bytes() != first
    assert Authority(tmp_path).certificate() == authority.certificate()
