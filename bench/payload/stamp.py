"""Writes down when it began and ended; the payload of every measured run."""

import time

began = time.time_ns()

import json  # noqa: E402  # its own first moment comes before everything
import os  # noqa: E402
import sys  # noqa: E402

path = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.environ["FETCHML_RESULTS"], "stamp.json")
with open(f"{path}.part", "w", encoding="ascii") as file:
    json.dump({"began_ns": began, "ended_ns": time.time_ns()}, file)
os.rename(f"{path}.part", path)
