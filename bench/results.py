"""What was measured: series of seconds, rows that compare two of them, and aims."""

from dataclasses import dataclass
from statistics import median
from typing import Literal, assert_never

OURS = "fetchml"


@dataclass(frozen=True, slots=True)
class Series:
    """The same thing measured several times, in seconds."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle value."""
        return median(self.values)


@dataclass(frozen=True, slots=True)
class Aim:
    """What a row should show; nothing fails if it does not."""

    of: Literal["seconds", "ratio", "difference"]
    """Our median, our median over the peer's, or our median less the peer's in seconds."""
    limit: float

    def __str__(self) -> str:
        match self.of:
            case "seconds":
                return f"≤ {self.limit * 1000:g} ms"
            case "ratio":
                return f"≤ {self.limit:g} of the peer"
            case "difference":
                return f"peer + less than {self.limit:g} s"
            case _:
                assert_never(self.of)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    measure: str
    """What was done."""
    quantity: str
    """What was counted: CPU or wall time, and until when."""
    ours: Series | None
    peer: str | None = None
    """What it is compared with; None if it stands alone."""
    theirs: Series | None = None
    aim: Aim | None = None
    reason: str | None = None
    """Why something was not measured."""

    @property
    def ratio(self) -> float | None:
        """Our median over the peer's."""
        if self.ours is None or self.theirs is None or self.theirs.median == 0:
            return None
        return self.ours.median / self.theirs.median

    @property
    def difference_s(self) -> float | None:
        """Our median less the peer's."""
        return None if self.ours is None or self.theirs is None else self.ours.median - self.theirs.median

    @property
    def met(self) -> bool | None:
        """Whether the aim is met; None if there is no aim or nothing to compare."""
        if self.aim is None or self.ours is None:
            return None
        match self.aim.of:
            case "seconds":
                return self.ours.median <= self.aim.limit
            case "ratio":
                return None if self.ratio is None else self.ratio <= self.aim.limit
            case "difference":
                return None if self.difference_s is None else self.difference_s < self.aim.limit
            case _:
                assert_never(self.aim.of)


@dataclass(frozen=True, slots=True)
class Measured:
    """All that one contestant showed."""

    series: dict[str, Series]
    """By quantity."""
    reason: str | None = None
    """Why there is nothing, or not all."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A quantity that becomes rows, one for each peer."""

    quantity: str
    aim: Aim | None = None
    against: tuple[str, ...] | None = None
    """Peers the aim is about; None means all."""


def compare(measure: str, measured: dict[str, Measured], wanted: tuple[Wanted, ...]) -> list[Row]:
    """Returns the rows of a measure: each quantity against each peer, or alone if there are no peers."""
    ours = measured[OURS]
    peers = [name for name in measured if name != OURS]
    rows: list[Row] = []
    for want in wanted:
        own = ours.series.get(want.quantity)
        if not peers:
            rows.append(Row(measure, want.quantity, own, aim=want.aim, reason=ours.reason))
        for peer in peers:
            theirs = measured[peer]
            aim = want.aim if want.against is None or peer in want.against else None
            series = theirs.series.get(want.quantity)
            rows.append(Row(measure, want.quantity, own, peer, series, aim, ours.reason or theirs.reason))
    return rows
