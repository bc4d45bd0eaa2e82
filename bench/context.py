"""What the measures share: the folder, the stacks, how often to repeat."""

import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from bench.fetchml_stack import FetchmlStack
from bench.prefect_stack import PrefectStack
from bench.spooler import Spooler

PREFECT = "stock Prefect"
TSP = "task-spooler"


@dataclass
class Bench:
    """One run of the bench; everything that was started is stopped when its stack of exits is closed."""

    folder: Path
    exits: ExitStack
    repeat: int | None = None
    """Overrides how often everything is measured."""
    quick: bool = False
    concurrency: int = field(default_factory=lambda: min(4, os.cpu_count() or 1))
    """Runs at a time where throughput is measured."""

    def count(self, usual: int, quick: int) -> int:
        """Returns how often something is measured."""
        return self.repeat or (quick if self.quick else usual)

    @cached_property
    def fetchml(self) -> FetchmlStack:
        """Fetchml, up and warm."""
        stack = FetchmlStack(self.folder / "fetchml")
        self.exits.callback(stack.close)
        stack.start()
        return stack

    @cached_property
    def prefect(self) -> PrefectStack:
        """Stock Prefect's server."""
        stack = PrefectStack(self.folder / "stock-prefect")
        self.exits.callback(stack.close)
        stack.start()
        return stack

    def spooler(self, name: str, slots: int = 1) -> Spooler:
        """Returns a task-spooler of its own."""
        made = Spooler(self.folder / name, slots)
        self.exits.callback(made.close)
        return made
