"""The hosts of a lab, from another host: through the gateway of the control host."""

from typing import Any, cast

from pydantic import ValidationError

from fetchml.errors import Conflict
from fetchml.link.client import Link
from fetchml.models.lab_host import HostMarks, PublishedHost
from fetchml.store.fencing import etag_of
from fetchml.store.hosts import KnownHost, MarksChange, checked_host

_ROUNDS = 100


class RemoteHosts:
    """The hosts of a gateway.

    Args:
        link: The gateway.
    """

    def __init__(self, link: Link) -> None:
        self._link = link

    def publish(self, state: PublishedHost) -> None:
        self._link.call("POST", f"/v1/hosts/{checked_host(state.host)}/state", state.model_dump_json().encode())

    def known(self) -> list[KnownHost]:
        listed = cast("list[dict[str, Any]]", self._link.get("/v1/hosts").json()["hosts"])
        return [found for item in listed if (found := _known(item)) is not None]

    def mark(self, host: str, change: MarksChange) -> HostMarks:
        checked_host(host)
        for _ in range(_ROUNDS):
            before = next((item.marks for item in self.known() if item.name == host), HostMarks())
            after = change(before)
            headers = {"If-Match": etag_of(before.model_dump_json().encode())}
            try:
                self._link.call("PUT", f"/v1/hosts/{host}/marks", after.model_dump_json().encode(), headers=headers)
            except Conflict as error:
                if error.code != "changed-meanwhile":
                    raise
                continue
            return after
        raise Conflict(f"the marks of host `{host}` change all the time", code="changed-meanwhile")

    def forget(self, host: str) -> None:
        self._link.call("DELETE", f"/v1/hosts/{checked_host(host)}")


def _known(item: dict[str, Any]) -> KnownHost | None:
    try:
        state = PublishedHost.model_validate_json(_json(item["state"])) if item["state"] is not None else None
        marks = HostMarks.model_validate_json(_json(item["marks"]))
    except ValidationError:
        return None  # of another version
    silent_s = item["silent_s"]
    return KnownHost(str(item["name"]), state, float("inf") if silent_s is None else float(silent_s), marks)


def _json(value: object) -> str:
    import json

    return json.dumps(value)
