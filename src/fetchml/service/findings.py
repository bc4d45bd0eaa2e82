"""What checking a record or a snapshot found."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from fetchml.errors import Corrupt

SignatureState = Literal["trusted", "unknown", "invalid"]
"""`trusted`: by a key of this host, or one in `keys/trusted/`; `unknown`: by another key; `invalid`: by none."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check and what it found."""

    name: str
    ok: bool
    expected: str = ""
    actual: str = ""
    file: str | None = None
    """The file that was looked at: a path in the run folder, or in the code tree."""

    def __str__(self) -> str:
        text = self.name if self.file is None or self.file in self.name else f"{self.file}: {self.name}"
        return f"{text}: expected {self.expected}, found {self.actual or 'something else'}"


@dataclass(frozen=True, slots=True)
class Report:
    """All checks of one run, or of one snapshot."""

    run_id: str | None
    """None for a snapshot."""
    checks: tuple[Check, ...]
    checked_at: datetime
    commit_id: str | None = None
    """The snapshot, where it is known."""
    warnings: tuple[str, ...] = ()
    """What a reader should know although nothing is wrong."""
    signature: SignatureState | None = None
    """None if there is none."""
    seconds: float = 0.0
    unreadable: int | None = None
    """Exit code of the error that kept it from being checked."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return all(check.ok for check in self.checks)

    @property
    def errors(self) -> tuple[str, ...]:
        """What is wrong, one line each."""
        return tuple(str(check) for check in self.checks if not check.ok)

    @property
    def title(self) -> str:
        """What was checked."""
        return self.run_id or f"commit {self.commit_id}"

    @property
    def exit_code(self) -> int:
        """The exit code that tells how it went."""
        return 0 if self.ok else self.unreadable or Corrupt.exit_code


@dataclass(slots=True)
class Findings:
    """Checks as they are made."""

    checks: list[Check] = field(default_factory=list[Check])
    warnings: list[str] = field(default_factory=list[str])
    signature: SignatureState | None = None
    commit_id: str | None = None

    def passed(self, name: str, file: str | None = None) -> None:
        """Notes a check that found nothing wrong."""
        self.checks.append(Check(name, True, file=file))

    def failed(self, name: str, expected: str, actual: str, file: str | None = None) -> None:
        """Notes a check that found something wrong."""
        self.checks.append(Check(name, False, expected, actual, file))

    def equal(self, name: str, expected: str, actual: str, file: str | None = None) -> None:
        """Notes whether two values are the same."""
        self.checks.append(Check(name, expected == actual, expected, actual, file))
