"""DVC: data version control, in an environment of its own, with its repository around a copy of the tree."""

import shutil
from pathlib import Path

from bench.calls import Call, call
from bench.say import say
from bench.waiting import Failed
from bench.workspace import environment, tool

VERSION = "3.67.1"


class Dvc:
    """One DVC repository with one tree.

    Args:
        path: Folder for the environment, the repository and what DVC keeps beside it.
        tree: What is copied into it, with its time stamps.

    Raises:
        Failed: It cannot be installed.
    """

    def __init__(self, path: Path, tree: Path) -> None:
        path.mkdir(parents=True)
        self._repository = path / "repository"
        self._tree = self._repository / "tree"
        self._env = environment(HOME=path, DVC_NO_ANALYTICS="1", DVC_SITE_CACHE_DIR=path / "site")
        self._command = path / "venv" / "bin" / "dvc"
        say(f"installing DVC {VERSION}")
        uv = tool("uv")
        install = [uv, "pip", "install", "--quiet", "--python", str(path / "venv"), f"dvc=={VERSION}"]
        for words in ([uv, "venv", "--quiet", str(path / "venv")], install):
            call(words, environment(), path)
        shutil.copytree(tree, self._tree, copy_function=shutil.copy2)
        self._init()

    def run(self, *words: str) -> Call:
        """Calls `dvc` in the repository."""
        return call([str(self._command), *words], self._env, self._repository)

    def forget(self) -> None:
        """Makes the repository as it was before anything was added."""
        shutil.rmtree(self._repository / ".dvc")
        (self._repository / "tree.dvc").unlink(missing_ok=True)
        self._init()

    def add(self) -> Call:
        """Adds the tree."""
        return self.run("add", "--quiet", "tree")

    def status(self) -> Call:
        """Compares the tree with what was added.

        Raises:
            Failed: DVC says that it was changed, which it was not.
        """
        done = self.run("status")
        if "up to date" not in done.output:
            raise Failed(f"DVC says of an unchanged tree: {done.output.strip()[:200]}")
        return done

    def _init(self) -> None:
        self.run("init", "--quiet", "--no-scm")
        self.run("config", "core.analytics", "false")
        self.run("config", "core.check_update", "false")
