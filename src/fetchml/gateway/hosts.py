"""Hosts over HTTP: their heartbeats, what is known of them, and marks by operators."""

from pydantic import ValidationError

from fetchml.errors import ConfigError, Conflict, Forbidden
from fetchml.gateway.lab import Lab
from fetchml.gateway.rules import Answer, Call, Permission, Rule, json_answer
from fetchml.keys.access import AccessKind
from fetchml.models.lab_host import HostMarks, PublishedHost
from fetchml.store.fencing import etag_of
from fetchml.store.hosts import checked_host

_MAX_STATE_BYTES = 4 * 1024 * 1024


def rules(lab: Lab) -> list[Rule]:
    """Returns the routes of hosts."""
    hosts = _Hosts(lab)
    return [
        Rule("GET", "/v1/hosts", Permission.READ, hosts.known),
        Rule("POST", "/v1/hosts/{host}/state", Permission.WORK, hosts.publish, _MAX_STATE_BYTES),
        Rule("PUT", "/v1/hosts/{host}/marks", Permission.OPERATE, hosts.mark),
        Rule("DELETE", "/v1/hosts/{host}", Permission.OPERATE, hosts.forget),
    ]


def marks_tag(marks: HostMarks) -> str:
    """Returns the tag of marks, for a change that nobody else's may be lost by."""
    return etag_of(marks.model_dump_json().encode())


class _Hosts:
    def __init__(self, lab: Lab) -> None:
        self._hosts = lab.hosts

    def known(self, call: Call) -> Answer:
        """Returns every host, and for how many seconds it was not heard of."""
        return json_answer(
            {
                "hosts": [
                    {
                        "name": item.name,
                        "state": item.state.model_dump(mode="json") if item.state is not None else None,
                        "silent_s": item.silent_s if item.state is not None else None,
                        "marks": item.marks.model_dump(mode="json"),
                    }
                    for item in self._hosts.known()
                ]
            }
        )

    def publish(self, call: Call) -> Answer:
        """Takes a heartbeat."""
        host = call.params["host"]
        try:
            state = PublishedHost.model_validate_json(call.body)
        except ValidationError as error:
            raise ConfigError("what was sent says nothing about a host", code="bad-body") from error
        if state.host != host:
            raise ConfigError(f"the state is that of `{state.host}`")
        if call.key.kind is AccessKind.HOST and host != call.key.name:
            raise Forbidden(f"the key is that of host `{call.key.name}`, not of `{host}`", code="not-your-host")
        self._hosts.publish(state)
        return json_answer({})

    def mark(self, call: Call) -> Answer:
        """Replaces the marks of a host if they are still what the caller has seen."""
        try:
            new = HostMarks.model_validate_json(call.body)
        except ValidationError as error:
            raise ConfigError("what was sent are no marks", code="bad-body") from error

        def change(current: HostMarks) -> HostMarks:
            if marks_tag(current) != call.headers.get("If-Match"):
                raise Conflict("the marks have changed meanwhile", code="changed-meanwhile")
            return new

        self._hosts.mark(call.params["host"], change)
        return json_answer({})

    def forget(self, call: Call) -> Answer:
        """Forgets a host."""
        self._hosts.forget(checked_host(call.params["host"]))
        return json_answer({})
