"""A whole fetchml of the bench's own, driven by its command line as a user drives it."""

from datetime import UTC, datetime
from pathlib import Path

from bench.calls import Call, call
from bench.docker_host import remove_containers
from bench.processes import end_marked
from bench.say import say
from bench.stamps import Stamp, await_stamp
from bench.waiting import Failed, until
from bench.workspace import copy_payload, environment, tool
from fetchml.config.settings import Settings
from fetchml.containers import STORE_LABEL
from fetchml.execution.ownership import is_owned
from fetchml.home import Home


class FetchmlStack:
    """A home folder with its server and worker.

    Args:
        path: Folder for the home and the project.
    """

    def __init__(self, path: Path) -> None:
        self._home_path = path / "home"
        self.project = path / "project"
        self.script = copy_payload("stamp.py", self.project).name
        # The payload is a bare script, as the peers get it.
        self.env = environment(HOME=path, FETCHML_HOME=self._home_path, FETCHML_REPRO_POLICY="best-effort")
        self.home = Home(Settings(home=self._home_path))

    def start(self) -> None:
        """Starts the server and the worker."""
        say("starting fetchml")
        self.run("up", "--quiet")

    def run(self, *words: str) -> Call:
        """Calls `fetchml`."""
        return call([tool("fetchml"), *words], self.env, self.project)

    def queue(self, *options: str) -> tuple[Call, str]:
        """Queues the payload; returns the call and the run's id."""
        done = self.run("queue", "--quiet", *options, self.script)
        return done, done.output.strip()

    def stamp(self, run_id: str) -> Stamp:
        """Waits for the payload of a run and returns its stamp."""
        folder = self.home.store.folder(run_id)

        def not_failed() -> None:
            manifest = self.home.store.read_manifest(run_id)
            if manifest.seal is not None and manifest.status.state != "completed":
                raise Failed(f"run {run_id} is {manifest.status.state}: {manifest.diagnosis}")

        return await_stamp(folder.results / "stamp.json", run_id, not_failed)

    def sealed_at(self, run_id: str) -> datetime:
        """Waits for the seal of a run and returns its moment."""
        store = self.home.store
        until(lambda: store.read_manifest(run_id).seal is not None, f"the seal of {run_id}", poll_s=0.2)
        manifest = store.read_manifest(run_id)
        if manifest.status.state != "completed":
            raise Failed(f"run {run_id} is {manifest.status.state}: {manifest.diagnosis}")
        return manifest.seal.sealed_at if manifest.seal is not None else datetime.now(UTC)

    def settle(self, run_id: str) -> None:
        """Waits until nothing of a run is left, so that it does not disturb what is measured next."""
        self.sealed_at(run_id)
        attempt = self.home.store.folder(run_id).attempt(1)
        until(lambda: not is_owned(attempt), f"the process of {run_id} to end")

    def close(self) -> None:
        """Stops everything that was started in the home folder."""
        try:
            self.run("down", "--quiet")
        finally:
            end_marked("FETCHML_HOME", str(self._home_path))
            remove_containers(f"{STORE_LABEL}={self.home.store_id}")
