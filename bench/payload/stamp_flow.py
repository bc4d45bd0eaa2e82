"""The same payload as a stock Prefect flow."""

import json
import os
import time

from prefect import flow


@flow
def stamp(path: str) -> None:
    """Writes down when it began and ended."""
    began = time.time_ns()
    with open(f"{path}.part", "w", encoding="ascii") as file:
        json.dump({"began_ns": began, "ended_ns": time.time_ns()}, file)
    os.rename(f"{path}.part", path)
