"""How large a lab is, and which part of it a run takes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from fetchml.admission.lab import Holding, HostState
from fetchml.admission.needs import Needs


@dataclass(frozen=True, slots=True)
class LabSize:
    """What all hosts have together."""

    gpus: int
    cpus: float
    memory_bytes: int

    @classmethod
    def of(cls, hosts: Iterable[HostState]) -> Self:
        """Returns the size of a lab, whatever state its hosts are in."""
        capacities = [state.capacity for state in hosts]
        return cls(
            sum(len(item.devices) for item in capacities),
            sum(item.cpus for item in capacities),
            sum(item.memory_bytes for item in capacities),
        )

    def part(self, needs: Needs) -> float:
        """Returns the part of the lab a run takes of what it takes most of, usually between 0 and 1.

        That is its dominant share (A. Ghodsi et al., Dominant Resource Fairness, NSDI 2011).
        """
        return needs.nodes * self._part(needs.gpus, needs.cpus, needs.memory_bytes)

    def part_held(self, held: Holding) -> float:
        """Returns the same of what a started run holds on one host."""
        return self._part(sum(share.share for share in held.shares), held.cpus, held.memory_bytes)

    def _part(self, gpus: float, cpus: float, memory_bytes: int) -> float:
        return max(
            gpus / self.gpus if self.gpus else 0.0,
            cpus / self.cpus if self.cpus else 0.0,
            memory_bytes / self.memory_bytes if self.memory_bytes else 0.0,
        )
