"""The schedulers that are compared."""

from dataclasses import dataclass
from enum import StrEnum

from fetchml.admission.policy import EASY, STRICT_FIFO, Order, Passing, Policy


class Knowledge(StrEnum):
    """What a scheduler knows of how long runs take."""

    NOTHING = "nothing"
    LEARNED = "learned"
    """What runs that have ended by then tell."""
    PERFECT = "perfect"
    """The truth, which no scheduler can have."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A scheduler that takes part."""

    name: str
    policy: Policy
    knowledge: Knowledge
    words: str


CONTENDERS = {
    item.name: item
    for item in (
        Contender("fifo", STRICT_FIFO, Knowledge.NOTHING, "strict FIFO: whoever does not fit holds up all behind"),
        Contender(
            "prefect",
            Policy(name="prefect", order=Order.SUBMITTED, passing=Passing.ANY),
            Knowledge.NOTHING,
            "a Prefect pool with a slot per GPU, each run taking as many: whatever fits starts",
        ),
        Contender("easy", EASY, Knowledge.LEARNED, "EASY backfill in order of submission, durations learned"),
        Contender("easy-perfect", EASY, Knowledge.PERFECT, "EASY backfill that knows all durations"),
        Contender("default", Policy(), Knowledge.LEARNED, "what the queue does by default, durations learned"),
        Contender("default-perfect", Policy(), Knowledge.PERFECT, "the same with all durations known"),
    )
}
BASELINE = "fifo"
USUAL = ("fifo", "prefect", "easy-perfect", "default")
