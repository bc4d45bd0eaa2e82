"""What each user has used of the lab, fading with time."""

from datetime import datetime

HALF_LIFE_S = 3 * 86_400.0
"""After this long, what was used counts half."""


class DecayedUsage:
    """Adds up what users used: seconds of the whole lab, halved every half-life.

    Args:
        half_life_s: After how many seconds it counts half.
    """

    def __init__(self, half_life_s: float = HALF_LIFE_S) -> None:
        self._half_life_s = half_life_s
        self._used: dict[str, tuple[float, float]] = {}

    def add(self, user: str, lab_seconds: float, at: datetime) -> None:
        """Counts a run that has ended.

        Args:
            user: Whose it was.
            lab_seconds: Its duration, times the part of the lab it held.
            at: When it ended.
        """
        moment = at.timestamp()
        used, since = self._used.get(user, (0.0, moment))
        if moment < since:  # told late: fade what is new instead
            lab_seconds, moment = self._faded(lab_seconds, since - moment), since
        self._used[user] = self._faded(used, moment - since) + lab_seconds, moment

    def at(self, now: datetime) -> dict[str, float]:
        """Returns what every user has used, as it counts now."""
        moment = now.timestamp()
        return {user: self._faded(used, moment - since) for user, (used, since) in self._used.items()}

    def _faded(self, used: float, age_s: float) -> float:
        return used * 0.5 ** (max(0.0, age_s) / self._half_life_s)
