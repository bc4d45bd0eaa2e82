"""Engines that misbehave, by name: each is the twin in memory with one thing wrong."""

import time
from collections.abc import Callable, Iterator

from fetchml.containers import ContainerSpec
from fetchml.engine.memory_engine import MemoryEngine, Script
from fetchml.engine.port import ContainerState
from fetchml.errors import Unavailable


class FailingEngine(MemoryEngine):
    """Does not answer when it is asked the n-th time.

    Args:
        fails: Tells, from the name of a call and its number from 1, whether that call fails.
        after: Whether the call takes effect before it fails, as when an answer is lost.
        scripts: See `MemoryEngine`.
    """

    def __init__(
        self, fails: Callable[[str, int], bool], *, after: bool = False, scripts: dict[str, Script] | None = None
    ) -> None:
        super().__init__(scripts)
        self._fails = fails
        self._after = after
        self.calls = 0
        """Calls so far."""

    def create(self, spec: ContainerSpec) -> None:
        self._guard("create", lambda: super(FailingEngine, self).create(spec))

    def start(self, name: str) -> None:
        self._guard("start", lambda: super(FailingEngine, self).start(name))

    def inspect(self, name: str) -> ContainerState | None:
        self._guard("inspect", lambda: None)
        return super().inspect(name)

    def remove(self, name: str) -> None:
        self._guard("remove", lambda: super(FailingEngine, self).remove(name))

    def _guard(self, call: str, effect: Callable[[], None]) -> None:
        self.calls += 1
        fails = self._fails(call, self.calls)
        if self._after or not fails:
            effect()
        if fails:
            raise Unavailable(f"the engine does not answer `{call}`")


class SlowEngine(MemoryEngine):
    """Takes its time with every call.

    Args:
        seconds: How long each call takes.
        scripts: See `MemoryEngine`.
    """

    def __init__(self, seconds: float, scripts: dict[str, Script] | None = None) -> None:
        super().__init__(scripts)
        self._seconds = seconds

    def create(self, spec: ContainerSpec) -> None:
        time.sleep(self._seconds)
        super().create(spec)

    def start(self, name: str) -> None:
        time.sleep(self._seconds)
        super().start(name)

    def inspect(self, name: str) -> ContainerState | None:
        time.sleep(self._seconds)
        return super().inspect(name)


class NeverEndingOutputEngine(MemoryEngine):
    """Delivers output that breaks off again and again, as a daemon does that is restarted."""

    def output(self, name: str, skip_bytes: int) -> Iterator[bytes]:
        for chunk in super().output(name, skip_bytes):
            yield chunk[:1]
            raise Unavailable("the output broke off")
