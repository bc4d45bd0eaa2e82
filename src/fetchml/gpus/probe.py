"""A process of its own that asks the drivers: `python -m fetchml.gpus.probe [ROOT]`.

A driver that hangs takes the thread that asked it along, and the process that thread is in can then not even be killed.
So it is this one that asks, and nothing else of fetchml: for each line on its input it writes the readings as one line
of JSON, and it ends when its input does. See docs/decisions/0027-drivers-are-asked-by-a-process-of-their-own.md.
"""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from fetchml.gpus.amd import AmdReader
from fetchml.gpus.apple import AppleReader
from fetchml.gpus.intel import IntelReader
from fetchml.gpus.nvml import NvidiaReader
from fetchml.gpus.readings import Readings, tidy


class Reader:
    """Reads every kind of device.

    Args:
        root: Where `/sys`, `/dev` and `/proc` are.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._readers = (NvidiaReader(root), AmdReader(root), IntelReader(root), AppleReader())

    def read(self) -> Readings:
        """Returns what all drivers say; one that breaks hides no other."""
        found = Readings()
        for reader in self._readers:
            try:
                found += reader.read()
            except Exception as error:  # noqa: BLE001  # whatever a driver hands out
                found += Readings(faults=(f"{type(reader).__name__}: {tidy(error)}",))
        return found


def main() -> None:
    """Answers until the input ends."""
    # What drivers print must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    reader = Reader(Path(sys.argv[1] if len(sys.argv) > 1 else "/"))
    while sys.stdin.buffer.readline():
        try:
            answers.write(json.dumps(asdict(reader.read())).encode() + b"\n")
        except BrokenPipeError:
            return


if __name__ == "__main__":
    main()
