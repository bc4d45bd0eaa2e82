"""Stock Prefect: a server, deployments and workers with default settings, in a folder and on a port of their own."""

import re
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from bench.calls import Call, call
from bench.docker_host import remove_containers
from bench.processes import Background, end_marked
from bench.say import say
from bench.stamps import Stamp, await_stamp
from bench.waiting import Failed, until
from bench.workspace import copy_payload, environment, tool
from fetchml.prefect_api.client import PrefectClient, is_healthy

DEFAULT_POLL_S = 10.0
"""PREFECT_WORKER_QUERY_SECONDS as it comes."""

_FLOW = "stamp"
_LABEL = "fetchml.bench"
_FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
_PARAMETERS = {
    "title": "Parameters",
    "type": "object",
    "properties": {"path": {"title": "path", "type": "string", "position": 0}},
    "required": ["path"],
}
_IN_CONTAINER = "/bench"
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class PrefectStack:
    """One server and what runs against it.

    Args:
        path: Folder for PREFECT_HOME, the logs and what payloads write.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._flows = copy_payload("stamp_flow.py", path / "flows").parent
        self._stamps = path / "stamps"
        self._stamps.mkdir(parents=True)
        self._stamps.chmod(0o777)
        self._home = path / "prefect"
        self._api_url = f"http://127.0.0.1:{_free_port()}/api"
        self._client = PrefectClient(self._api_url)
        self._server: Background | None = None
        self._stamp_count = 0
        self.env = environment(
            HOME=path,
            PREFECT_HOME=self._home,
            PREFECT_API_URL=self._api_url,
            PREFECT_SERVER_ANALYTICS_ENABLED="false",
            DO_NOT_TRACK="1",
        )

    def start(self) -> None:
        """Starts the server as `prefect server start` does."""
        say("starting stock Prefect")
        port = self._api_url.removesuffix("/api").rpartition(":")[2]
        words = [tool("prefect"), "server", "start", "--host", "127.0.0.1", "--port", port]
        server = self._server = Background(words, self.env, self._path / "server.log")

        def healthy() -> bool:
            server.require_alive()
            return is_healthy(self._api_url, timeout_s=5)

        until(healthy, "the stock Prefect server", poll_s=0.2)

    def run(self, *words: str) -> Call:
        """Calls `prefect`."""
        return call([tool("prefect"), "--no-prompt", *words], self.env, self._path)

    def deploy(self, pool: str, kind: str, image: str | None = None) -> None:
        """Makes a work pool and the deployment `stamp/<pool>` in it, as `prefect deploy` would.

        Args:
            pool: Its name.
            kind: Its type: process or docker.
            image: Image of a docker pool; it gets the flow and the place for stamps as volumes.
        """
        self.run("work-pool", "create", pool, "--type", kind)
        variables: dict[str, object] = {}
        folder = str(self._flows)
        if image is not None:
            folder = _IN_CONTAINER
            volumes = [f"{self._flows}:{_IN_CONTAINER}:ro", f"{self._stamps}:{self._stamps}"]
            variables = {"image": image, "volumes": volumes, "labels": {_LABEL: str(self._path)}}
        flow = self._client.post("/flows/", {"name": _FLOW})
        self._client.post(
            "/deployments/",
            {
                "name": pool,
                "flow_id": flow["id"],
                "entrypoint": "stamp_flow.py:stamp",
                "work_pool_name": pool,
                "job_variables": variables,
                "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": folder}}],
                "parameter_openapi_schema": _PARAMETERS,
            },
        )

    @contextmanager
    def worker(
        self, pool: str, kind: str, *, limit: int | None = None, poll_s: float | None = None
    ) -> Generator[Background]:
        """Runs `prefect worker start` for a block.

        Args:
            pool: The pool it takes runs from.
            kind: Type of worker.
            limit: Runs at a time; None for no limit.
            poll_s: Seconds between two looks at the queue; None keeps the default.
        """
        words = [tool("prefect"), "worker", "start", "--pool", pool, "--type", kind, "--name", f"bench-{pool}"]
        words += [] if limit is None else ["--limit", str(limit)]
        env = self.env if poll_s is None else {**self.env, "PREFECT_WORKER_QUERY_SECONDS": f"{poll_s:g}"}
        worker = Background(words, env, self._path / f"worker-{pool}.log")
        try:

            def polls() -> bool:
                worker.require_alive()
                found = cast("list[dict[str, Any]]", self._client.post(f"/work_pools/{pool}/workers/filter"))
                return bool(found)

            until(polls, f"the stock worker of {pool}", poll_s=0.2)
            yield worker
        finally:
            worker.stop()

    def submit(self, pool: str) -> tuple[Call, str, Path]:
        """Calls `prefect deployment run`; returns the call, the flow run's id and where its stamp will be."""
        self._stamp_count += 1
        path = self._stamps / f"{self._stamp_count}.json"
        done = self.run("deployment", "run", f"{_FLOW}/{pool}", "--param", f"path={path}")
        found = _UUID.search(done.output)
        if found is None:
            raise Failed(f"`prefect deployment run` named no flow run: {done.output[:300]}")
        return done, found.group(), path

    def stamp(self, flow_run_id: str, path: Path) -> Stamp:
        """Waits for the stamp of a flow run."""

        def not_failed() -> None:
            state = self._client.get(f"/flow_runs/{flow_run_id}")["state"]
            if state["type"] in _FINAL and state["type"] != "COMPLETED":
                raise Failed(f"a flow run of stock Prefect is {state['name']}: {state['message']}")

        return await_stamp(path, "stock Prefect", not_failed)

    def await_ended(self, flow_run_ids: list[str]) -> None:
        """Waits until flow runs have completed.

        Raises:
            Failed: One of them ended in another state.
        """

        def count(*states: str) -> int:
            chosen = {"id": {"any_": flow_run_ids}, "state": {"type": {"any_": list(states)}}}
            return int(self._client.post("/flow_runs/count", {"flow_runs": chosen}))

        until(lambda: count(*_FINAL) == len(flow_run_ids), "stock Prefect's flow runs to end", poll_s=0.2)
        if count("COMPLETED") != len(flow_run_ids):
            raise Failed("a flow run of stock Prefect failed")

    def seed(self, count: int) -> None:
        """Makes ended flow runs, so that lists have something to list."""
        say(f"making {count} flow runs in stock Prefect")
        flow = self._client.post("/flows/", {"name": _FLOW})
        for number in range(count):
            state = {"type": "COMPLETED", "name": "Completed"}
            self._client.post("/flow_runs/", {"flow_id": flow["id"], "name": f"seed-{number}", "state": state})

    def close(self) -> None:
        """Stops the server and whatever flow runs or containers are left."""
        self._client.close()
        try:
            if self._server is not None:
                self._server.stop()
        finally:
            end_marked("PREFECT_HOME", str(self._home), grace_s=2)
            remove_containers(f"{_LABEL}={self._path}")


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
