"""What the fixtures of projects are called in tests that use them."""

from collections.abc import Callable, Mapping

from fetchml.snapshot.capture import Limits, Snapshot

LIMITS = Limits(max_bytes=1024 * 1024, max_files=100)

Git = Callable[..., str]
"""Runs git in the project and returns what it printed."""
Write = Callable[[Mapping[str, str]], None]
"""Writes files into the project, by path."""
Capture = Callable[[], Snapshot]
"""Captures the project into memory."""
