"""The log of a container as Docker's API sends it: taking it apart, and going on where a reader stopped."""

import struct
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

_LINE_MAX = 16 * 1024


class Frame(NamedTuple):
    """A piece of a container's log."""

    stream: int
    """1 for stdout, 2 for stderr."""
    content: bytes


def frames(chunks: Iterator[bytes]) -> Iterator[list[Frame]]:
    """Takes the multiplexed stream apart: 8 bytes of header (stream, length), then the content.

    Format: Docker Engine API, "Attach to a container", stream format.
    """
    pending = bytearray()
    for chunk in chunks:
        pending += chunk
        position = 0
        complete: list[Frame] = []
        while len(pending) - position >= 8:
            stream, size = struct.unpack_from(">BxxxI", pending, position)
            end = position + 8 + size
            if end > len(pending):
                break
            complete.append(Frame(stream, bytes(pending[position + 8 : end])))
            position = end
        del pending[:position]
        if complete:
            yield complete


class LogCursor:
    """Where a reader of a log stands, so that a second request for it begins just after the first.

    A log can be asked for from a second on. Of that, the reader has a beginning already: as many frames as it has read
    with a time stamp of that second or later. This holds even where stamps of the two streams overtake each other.
    """

    def __init__(self) -> None:
        self._read: dict[int, int] = {}

    @property
    def since(self) -> int:
        """The second, since 1970, to ask for the log from."""
        return max(self._read, default=1) - 1

    def fresh(self, groups: Iterator[list[Frame]]) -> Iterator[list[Frame]]:
        """Yields, without their time stamps, the frames of a log from `since` on that were not read before."""
        known = sum(self._read.values())
        for group in groups:
            unread = group[known:]
            known -= len(group) - len(unread)
            found: list[Frame] = []
            for stream, content in unread:
                stamp, _, text = content.partition(b" ")
                second = _second(stamp[:19])
                self._read[second] = self._read.get(second, 0) + 1
                found.append(Frame(stream, text))
            if len(self._read) > 1:
                since = self.since
                self._read = {second: count for second, count in self._read.items() if second >= since}
            if found:
                yield found


class LineJoiner:
    """Puts the parts of each line together again, where a log keeps them in the order they were written.

    What it returns depends on the log alone, not on how it arrived, so that a position in it means the same every time.
    """

    def __init__(self) -> None:
        self._parts: dict[int, bytes] = {}

    def lines(self, group: list[Frame]) -> bytes:
        """Returns the lines that are complete with these frames."""
        complete: list[bytes] = []
        for stream, content in group:
            line = self._parts.pop(stream, b"") + content
            if line.endswith(b"\n") or len(line) > _LINE_MAX:
                complete.append(line)
            else:
                self._parts[stream] = line
        return b"".join(complete)

    def rest(self) -> bytes:
        """Returns what is left when the log has ended."""
        rest = b"".join(self._parts.values())
        self._parts.clear()
        return rest


@lru_cache(maxsize=16)
def _second(stamp: bytes) -> int:
    return int(datetime.fromisoformat(stamp.decode("ascii") + "+00:00").timestamp())
