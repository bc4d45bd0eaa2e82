"""A process that has imported everything a flow needs and forks one process a run.

`import prefect` costs 1.4 s; a fork of a process that has done it costs milliseconds and keeps runs as isolated as a
fresh interpreter would. The nursery is started by the worker, does nothing but fork, and ends when the worker does;
the flow processes live on. The standard library's forkserver is not used: each child would first run the worker's own
main module again, which for `prefect worker start` is the whole Prefect command line.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from fetchml.errors import Unavailable

FLOW_PROCESS = "fetchml.flows.process"
"""Module whose `main(job)` a child runs; named and not imported, since worker and flows are strangers."""

_READY_TIMEOUT_S = 60


class Nursery:
    """The worker's side.

    Args:
        on_exit: Called with pid and exit code whenever a child has ended.
    """

    def __init__(self, on_exit: Callable[[int, int], None]) -> None:
        self._on_exit = on_exit
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._replies: asyncio.Queue[int | None] = asyncio.Queue()
        self._reading: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        """Starts the nursery; it is ready some time later."""
        own, its = socket.socketpair()
        with its:
            self._process = subprocess.Popen(  # noqa: ASYNC220  # returns at once, and must outlive the event loop
                [sys.executable, "-m", __name__, str(its.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(its.fileno(),),
                start_new_session=True,
            )
        reader, self._writer = await asyncio.open_connection(sock=own)
        self._ready.clear()
        self._replies = asyncio.Queue()
        self._reading = asyncio.create_task(self._read(reader))

    async def fork(self, job: dict[str, object]) -> int:
        """Starts a flow process and returns its pid.

        Raises:
            Unavailable: The nursery does not come up.
        """
        async with self._lock:
            if self._process is None or self._process.poll() is not None:
                await self.start()
            try:
                async with asyncio.timeout(_READY_TIMEOUT_S):
                    await self._ready.wait()
                    assert self._writer is not None  # set by start  # noqa: S101
                    self._writer.write(json.dumps(job).encode() + b"\n")
                    await self._writer.drain()
                    pid = await self._replies.get()
            except (TimeoutError, OSError) as error:
                raise Unavailable("no process can be started for a run", detail=str(error)) from error
            if pid is None:
                raise Unavailable("no process can be started for a run", detail="the nursery ended; see the log above")
            return pid

    def stop(self) -> None:
        """Ends the nursery; the processes it forked live on."""
        if self._reading is not None:
            self._reading.cancel()
        if self._writer is not None:
            self._writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            message = json.loads(line)
            match message:
                case {"ready": True}:
                    self._ready.set()
                case {"forked": pid}:
                    self._replies.put_nowait(pid)
                case {"exited": pid, "code": code}:
                    self._on_exit(pid, code)
                case _:
                    continue
        # It ended: whoever waits for it is told, and the next call starts another.
        self._ready.set()
        self._replies.put_nowait(None)


def serve(channel: socket.socket) -> None:
    """Forks on request until the worker closes the channel; runs in the nursery's own process."""
    from importlib import import_module

    main = import_module(FLOW_PROCESS).main
    import gc

    gc.collect()
    gc.freeze()  # what was imported stays shared between the children
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGCHLD, _noted)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # it ends with its channel
    _send(channel, {"ready": True})
    import select

    pending = b""
    while True:
        readable, _, _ = select.select([channel, reader], [], [])
        if reader in readable:
            with suppress(BlockingIOError):
                os.read(reader, 4096)
            _report(channel)
        if channel in readable:
            received = channel.recv(65_536)
            if not received:
                return
            *lines, pending = (pending + received).split(b"\n")
            for line in lines:
                pid = os.fork()
                if pid == 0:
                    _become(main, json.loads(line), [channel.fileno(), reader, writer])
                _send(channel, {"forked": pid})


def _noted(_number: int, _frame: FrameType | None) -> None:
    """Does nothing: the signal has woken the loop, which is all it is for."""


def _become(main: Callable[[dict[str, object]], int], job: dict[str, object], inherited: list[int]) -> None:
    """Turns a fresh fork into a flow process; never returns."""
    code = 70
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        for descriptor in inherited:
            os.close(descriptor)
        os.setsid()  # a Ctrl-C in the worker's terminal is not meant for the runs
        code = main(job)
    except BaseException as error:  # noqa: BLE001  # a child must never return into the nursery's loop
        if not isinstance(error, SystemExit):
            import traceback

            traceback.print_exc()
        else:
            code = error.code if isinstance(error.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _report(channel: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _send(channel, {"exited": pid, "code": os.waitstatus_to_exitcode(status)})


def _send(channel: socket.socket, message: dict[str, object]) -> None:
    with suppress(OSError):
        channel.sendall(json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
