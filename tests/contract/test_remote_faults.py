"""The run store of another host on a bad line: answers are lost, links are cut; nothing is done twice or not at all."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fetchml.errors import Conflict, FetchmlError, Forbidden, Unavailable
from fetchml.keys.access import AccessKind
from fetchml.link.client import Link, Patience
from fetchml.models.claim import CancelRequest
from fetchml.models.host import host_name
from fetchml.models.manifest import Annotation, RunManifest
from fetchml.models.status import Preparing
from fetchml.store.remote import RemoteRunStore
from fetchml.testing.builders import MOMENT, RUN_ID, make_claim, make_manifest, make_plan
from gateways import EVERYTHING, QUICK, Gateway, Wire, gateway

FAULTS = ("before", "after", "500 before", "500 after", "503 before", "503 after", "cut")
"""Where the answer is lost: before or after the gateway has done what was asked for, by silence or by an error."""


class Faulty:
    """A gateway that fails in the ways it is told to, once each."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.plan: list[str] = []
        self.seen: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.seen.append(f"{scope.get('method')} {scope['path']}")
        if not self.plan:
            await self._app(scope, receive, send)
            return
        fault = self.plan.pop(0)
        if not fault.endswith("before"):

            async def swallow(message: Message) -> None:
                """Does what is asked for, and says nothing."""

            await self._app(scope, receive, swallow)
        else:
            while (await receive()).get("more_body"):
                pass
        if fault == "cut":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
            await send({"type": "http.response.body", "body": b"{", "more_body": True})
            raise ConnectionError("cut in the middle of the answer")
        status = int(fault[:3]) if fault[0] == "5" else 500
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"trouble"})


@pytest.fixture
def bad(tmp_path: Path) -> Iterator[tuple[Faulty, RemoteRunStore, Gateway]]:
    made: list[Faulty] = []

    def wrapped(app: ASGIApp) -> ASGIApp:
        made.append(Faulty(app))
        return made[0]

    with gateway(tmp_path / "lab", EVERYTHING, wrapped) as lab:
        yield made[0], RemoteRunStore(lab.link(name=host_name()), tmp_path / "cache"), lab


def noted(text: str) -> Callable[[RunManifest], RunManifest]:
    def change(manifest: RunManifest) -> RunManifest:
        return manifest.with_sections(annotations=(*manifest.annotations, Annotation(timestamp=MOMENT, note=text)))

    return change


@pytest.mark.parametrize("fault", FAULTS)
def test_a_create_is_done_once(bad: tuple[Faulty, RemoteRunStore, Gateway], fault: str) -> None:
    faulty, store, lab = bad
    faulty.plan = [fault, fault]
    store.create(make_plan(), make_manifest())
    assert lab.lab.store.run_ids() == [RUN_ID]
    with pytest.raises(Conflict):
        store.create(make_plan(), make_manifest())


@pytest.mark.parametrize("fault", FAULTS)
def test_a_claim_whose_answer_was_lost_is_ours(bad: tuple[Faulty, RemoteRunStore, Gateway], fault: str) -> None:
    faulty, store, lab = bad
    store.create(make_plan(), make_manifest())
    faulty.plan = [fault, fault]
    claim = make_claim(token="a" * 64)
    assert store.claim(claim)
    assert not store.claim(make_claim(token="b" * 64))
    assert lab.lab.store.read_claim(RUN_ID, 1) == claim


@pytest.mark.parametrize("fault", FAULTS)
def test_a_change_is_made_once(bad: tuple[Faulty, RemoteRunStore, Gateway], fault: str) -> None:
    faulty, store, lab = bad
    store.create(make_plan(), make_manifest())
    for number in range(3):
        faulty.plan = ["pass"] if False else []
        before = len(faulty.seen)
        store.update(RUN_ID, noted(f"{number} without a fault"))
        assert len(faulty.seen) == before + 2
        faulty.plan = [fault]
        store.update(RUN_ID, noted(f"{number} on the read"))
    faulty.plan = []
    original = store.link.call

    def only_writes(method: str, *words: object, **options: object) -> object:
        faulty.plan = [fault] if method == "PUT" else []
        return original(method, *words, **options)  # type: ignore[arg-type]

    store.link.call = only_writes  # type: ignore[method-assign]
    store.update(RUN_ID, noted("on the write"))
    notes = [item.note for item in lab.lab.store.read_manifest(RUN_ID).annotations]
    assert len(notes) == len(set(notes)) == 7


@pytest.mark.parametrize("fault", FAULTS)
def test_the_first_request_to_stop_is_ours_though_its_answer_was_lost(
    bad: tuple[Faulty, RemoteRunStore, Gateway], fault: str
) -> None:
    faulty, store, _ = bad
    store.create(make_plan(), make_manifest())
    faulty.plan = [fault]
    assert store.request_cancel(RUN_ID, CancelRequest(by="ada", at=MOMENT))
    assert not store.request_cancel(RUN_ID, CancelRequest(by="bob", at=MOMENT))


def test_a_gateway_that_stays_away_is_unavailable(bad: tuple[Faulty, RemoteRunStore, Gateway]) -> None:
    faulty, store, lab = bad
    store.create(make_plan(), make_manifest())
    faulty.plan = ["500 before"] * 100
    with pytest.raises(Unavailable):
        store.claim(make_claim())
    faulty.plan = []
    assert lab.lab.store.read_claim(RUN_ID, 1) is None


def test_a_gateway_that_hangs_is_unavailable_in_time(tmp_path: Path) -> None:
    with gateway(tmp_path / "lab", EVERYTHING) as lab, Wire(lab.url) as wire:
        login = lab.login(name=host_name(), url=wire.url)
        store = RemoteRunStore(Link(login, Patience(0.3, 2, lambda _: None)), tmp_path / "cache")
        store.create(make_plan(), make_manifest())
        wire.hang()
        with pytest.raises(Unavailable) as caught:
            store.read_manifest(RUN_ID)
        assert caught.value.code == "gateway-silent"
        assert login.key not in str(caught.value)
        wire.mend()
        assert store.read_manifest(RUN_ID) == make_manifest()


def test_a_link_that_is_cut_and_back_goes_on(tmp_path: Path) -> None:
    with gateway(tmp_path / "lab", EVERYTHING) as lab, Wire(lab.url) as wire:
        store = RemoteRunStore(Link(lab.login(name=host_name(), url=wire.url), QUICK), tmp_path / "cache")
        store.create(make_plan(), make_manifest())
        wire.cut()
        for call in (store.run_ids, lambda: store.claim(make_claim()), lambda: store.read_manifest(RUN_ID)):
            with pytest.raises(Unavailable):
                call()
        wire.mend()
        assert store.claim(make_claim())


# Who may write


def begun(manifest: RunManifest) -> RunManifest:
    return manifest.with_status(Preparing(since=MOMENT, attempt=1, host="here"))


def test_a_write_without_the_token_is_refused(tmp_path: Path) -> None:
    with gateway(tmp_path / "lab", EVERYTHING) as lab:
        lab.lab.store.create(make_plan(), make_manifest())
        owner = RemoteRunStore(lab.link(name="one"), tmp_path / "one")
        other = RemoteRunStore(lab.link(name="two"), tmp_path / "two")
        assert owner.claim(make_claim(host="one", token="a" * 64))
        with pytest.raises(Conflict) as caught:
            other.update(RUN_ID, begun)
        assert caught.value.code == "stale-token"
        other.hold(make_claim(host="two", token="b" * 64))
        with pytest.raises(Conflict):
            other.update(RUN_ID, begun)
        assert owner.update(RUN_ID, begun).status.state == "preparing"


def test_the_token_of_an_earlier_attempt_does_not_count(tmp_path: Path) -> None:
    with gateway(tmp_path / "lab", EVERYTHING) as lab:
        lab.lab.store.create(make_plan(), make_manifest())
        first = RemoteRunStore(lab.link(name="one"), tmp_path / "one")
        second = RemoteRunStore(lab.link(name="two"), tmp_path / "two")
        assert first.claim(make_claim(host="one", token="a" * 64))
        assert second.claim(make_claim(attempt=2, host="two", token="b" * 64))
        with pytest.raises(Conflict) as caught:
            first.update(RUN_ID, begun)
        assert caught.value.code == "stale-token"
        assert second.update(RUN_ID, begun)


def test_nobody_is_shown_the_token_of_another(tmp_path: Path) -> None:
    with gateway(tmp_path / "lab", EVERYTHING) as lab:
        lab.lab.store.create(make_plan(), make_manifest())
        owner = RemoteRunStore(lab.link(name="one"), tmp_path / "one")
        claim = make_claim(host="one", token="a" * 64)
        assert owner.claim(claim)
        other = RemoteRunStore(lab.link(name="two"), tmp_path / "two")
        shown = other.read_claim(RUN_ID, 1)
        assert shown is not None
        assert (shown.worker, "a" * 64 in shown.model_dump_json()) == (claim.worker, False)
        for path in ("attempts/1/claim.json", "attempts/1/./claim.json", "/attempts/1/claim.json"):
            with pytest.raises(FetchmlError):
                other.read_part(RUN_ID, path, 0)
        with pytest.raises(FetchmlError):
            owner.read_part(RUN_ID, "attempts/1/claim.json", 0)


def test_a_host_claims_for_itself_only(tmp_path: Path) -> None:
    with gateway(tmp_path / "lab") as lab:
        lab.lab.store.create(make_plan(), make_manifest())
        store = RemoteRunStore(lab.link(AccessKind.HOST, "gpu1"), tmp_path / "cache")
        with pytest.raises(Forbidden) as caught:
            store.claim(make_claim(host="gpu2"))
        assert caught.value.code == "not-your-host"
        assert store.claim(make_claim(host="gpu1"))


def test_a_person_neither_claims_nor_writes_nor_queues_as_another(tmp_path: Path) -> None:
    with gateway(tmp_path / "lab") as lab:
        lab.lab.store.create(make_plan(), make_manifest())
        store = RemoteRunStore(lab.link(AccessKind.USER, "bob"), tmp_path / "cache")
        calls: tuple[Callable[[], object], ...] = (
            lambda: store.claim(make_claim()),
            lambda: store.update(RUN_ID, begun),
            lambda: store.create(make_plan(), make_manifest(run_id="2026-11-20_aaaaaa")),
            lambda: store.request_cancel(RUN_ID, CancelRequest(by="ada", at=MOMENT)),
        )
        for call in calls:
            with pytest.raises(Forbidden):
                call()
        assert lab.lab.store.run_ids() == [RUN_ID]
        assert lab.lab.store.read_cancel(RUN_ID) is None


def test_what_was_queued_does_not_change(tmp_path: Path) -> None:
    with gateway(tmp_path / "lab", EVERYTHING) as lab:
        lab.lab.store.create(make_plan(), make_manifest())
        store = RemoteRunStore(lab.link(name="one"), tmp_path / "one")
        with pytest.raises(FetchmlError):
            store.update(
                RUN_ID,
                lambda m: m.model_copy(update={"identity": m.identity.model_copy(update={"user": "eve"})}),
            )
        assert lab.lab.store.read_manifest(RUN_ID) == make_manifest()
