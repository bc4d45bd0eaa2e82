"""`python -m fetchml.worker`: the worker as `fetchml up` starts it.

`prefect worker start --type fetchml` runs the same worker in the foreground.
"""

import argparse
import asyncio
import os
import signal
import sys

from fetchml.config.layers import load
from fetchml.errors import FetchmlError
from fetchml.home import Home

_GATEWAY_EVERY_S = 2.0


def main() -> int:
    """Runs the worker until it is told to stop; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m fetchml.worker", description=__doc__)
    parser.add_argument("--pool", required=True, help="work pool to take runs from")
    arguments = parser.parse_args()
    try:
        settings = load(with_project=False).settings
        # Prefect reads its settings as it is imported. Its own default of ten seconds is for clouds.
        os.environ.setdefault("PREFECT_WORKER_QUERY_SECONDS", str(settings.worker_poll))
        os.environ.setdefault("PREFECT_WORKER_HEARTBEAT_SECONDS", "10")
        return asyncio.run(_serve(arguments.pool))
    except FetchmlError as error:
        print(error, file=sys.stderr)
        return error.exit_code


async def _serve(pool: str) -> int:
    from fetchml.worker.prefect_worker import FetchmlWorker

    await _await_gateway()
    serving = asyncio.current_task()
    assert serving is not None  # noqa: S101  # this is a coroutine
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    try:
        await FetchmlWorker(work_pool_name=pool).start()
    except asyncio.CancelledError:
        print("the worker has stopped; what runs goes on", file=sys.stderr)
    return 0


async def _await_gateway() -> None:
    """Waits until the gateway of the lab answers; Prefect's worker would give up where there is none."""
    link = Home(load(with_project=False).settings).link
    if link is None:
        return
    is_told = False
    while not await asyncio.to_thread(link.answers):
        if not is_told:
            print(f"waiting for the gateway at {link.login.url}", file=sys.stderr)
            is_told = True
        await asyncio.sleep(_GATEWAY_EVERY_S)


if __name__ == "__main__":
    sys.exit(main())
