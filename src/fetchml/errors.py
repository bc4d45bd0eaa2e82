"""Every error a user can meet, by what the caller does next.

The class says what to do (`ConfigError`: fix the input, `Unavailable`: try again, ...), `code` is a stable word for
scripts, and the exit status follows from the class. Exit statuses are part of the command line's contract:
`docs/reference/exit-codes.md`.
"""

from typing import ClassVar


class FetchmlError(Exception):
    """Something fetchml refuses to do or could not do.

    Args:
        summary: What failed, one sentence without a full stop, the offending value in backticks.
        detail: What was expected, or the underlying cause; may span lines.
        hint: The next thing the user can do.
        code: Stable word for scripts; each class has a default.
    """

    exit_code: ClassVar[int] = 70
    action: ClassVar[str] = "report"
    default_code: ClassVar[str] = "error"

    def __init__(
        self, summary: str, *, detail: str | None = None, hint: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(summary)
        self.summary = summary
        self.detail = detail
        self.hint = hint
        self.code = code or self.default_code

    def __str__(self) -> str:
        lines = [self.summary]
        if self.detail:
            lines.append(self.detail)
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, object]:
        """Returns the error as the object that `--json` prints on stderr."""
        return {
            "error": {
                "code": self.code,
                "summary": self.summary,
                "detail": self.detail,
                "hint": self.hint,
                "exit_code": self.exit_code,
            }
        }


class ConfigError(FetchmlError):
    """The input is wrong; nothing was changed. Fix it and call again."""

    exit_code = 2
    action = "fix-input"
    default_code = "bad-input"


class NotFound(FetchmlError):
    """What was named does not exist."""

    exit_code = 3
    action = "fix-input"
    default_code = "not-found"


class Conflict(FetchmlError):
    """The request does not fit the present state: it exists already, has ended, or belongs to another owner."""

    exit_code = 4
    action = "look-again"
    default_code = "conflict"


class Refused(FetchmlError):
    """Policy, preflight or capacity says no, and will say no again until the request changes."""

    exit_code = 5
    action = "change-request"
    default_code = "refused"


class Unavailable(FetchmlError):
    """A service, a disk or a device does not answer now; the same call may succeed later."""

    exit_code = 6
    action = "retry"
    default_code = "unavailable"


class Corrupt(FetchmlError):
    """Stored bytes are not what their digest or schema says."""

    exit_code = 7
    action = "restore"
    default_code = "corrupt"


class Forbidden(FetchmlError):
    """The caller lacks the permission, in the file system or in the queue."""

    exit_code = 8
    action = "ask-owner"
    default_code = "forbidden"


class Bug(FetchmlError):
    """fetchml contradicts itself."""

    exit_code = 70
    action = "report"
    default_code = "bug"
