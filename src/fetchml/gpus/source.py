"""Where a run's own process gets readings from: the worker, else the drivers themselves."""

from collections.abc import Callable
from pathlib import Path

from fetchml.gpus.board import posted
from fetchml.gpus.prober import Prober, has_devices
from fetchml.gpus.readings import Readings

_FRESH_S = 20.0


class ReadingsSource:
    """Gets readings without ever waiting for them.

    Args:
        services: Folder in which the worker posts.
        make_prober: Makes what asks the drivers where no worker does.
        has_any: Tells whether there is anything to ask.
    """

    def __init__(
        self,
        services: Path,
        make_prober: Callable[[], Prober] = Prober,
        has_any: Callable[[], bool] = has_devices,
    ) -> None:
        self._services = services
        self._make_prober = make_prober
        self._has_any = has_any
        self._prober: Prober | None = None
        self._posted: Readings | None = None
        self.is_asking = False
        """Whether an answer may still come."""

    def ask(self) -> None:
        """Begins to get readings."""
        found = posted(self._services)
        self._posted = None
        self.is_asking = found is None
        if found is not None:
            # A worker whose drivers are silent is not helped by one more who asks them.
            self._posted = found.readings if found.age_s <= _FRESH_S else None
            return
        if self._prober is None and self._has_any():
            self._prober = self._make_prober()
        if self._prober is None:
            self.is_asking = False
        else:
            self._prober.ask()

    def readings(self) -> Readings | None:
        """Returns the readings that were asked for; None if there are none, or none yet."""
        if self._posted is not None or self._prober is None or not self.is_asking:
            return self._posted
        found = self._prober.answer(0)
        self.is_asking = found is None and self._prober.silence_s > 0
        return found

    def close(self) -> None:
        """Ends what was started; one that hangs is not waited for."""
        if self._prober is not None:
            self._prober.close()
            self._prober = None
