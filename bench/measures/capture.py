"""What storing a large tree costs: the first time, and again when nothing has changed."""

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.calls import Call, call
from bench.contest import Contestant, Turn, enter, take_turns
from bench.context import Bench
from bench.dvc import Dvc
from bench.results import OURS, Aim, Row, Wanted, compare
from bench.workspace import PAYLOADS, environment, tool

NAME = "capture"
FILES = 10_000
_FILES_IN_A_FOLDER = 100
_CPU, _WALL = "CPU", "wall"
_GIT, _DVC, _DIGESTS, _SCAN = "git", "DVC", "`sha256sum`", "a bare scan in Python"
_SETTLED_S = 2.5
"""Neither git nor fetchml trusts the time stamps of a file that is younger when it is read."""


def measure(bench: Bench) -> list[Row]:
    """Returns the rows about the first time and about the next."""
    files = FILES // 10 if bench.quick else FILES
    tree = bench.folder / "tree"
    _plant(tree, files)
    time.sleep(_SETTLED_S)
    repeat = bench.count(5, 2)
    digests = _digests(bench, tree)
    dvc = enter(lambda: Dvc(bench.folder / "capture-dvc", tree))
    first = {
        OURS: enter(lambda: _ours(bench, tree, again=False)),
        _GIT: enter(lambda: _git(bench, tree, again=False)),
        _DVC: _dvc(dvc, again=False),
        _DIGESTS: digests,
    }
    title = f"first `fetchml sync` of {files} files, `git add`, `dvc add`, `sha256sum` of all"
    rows = compare(title, take_turns("first", first, repeat, warm_up=True), (Wanted(_CPU), Wanted(_WALL)))
    again = {
        OURS: enter(lambda: _ours(bench, tree, again=True)),
        _GIT: enter(lambda: _git(bench, tree, again=True)),
        _DVC: _dvc(dvc, again=True),
        _DIGESTS: digests,
        _SCAN: _scan(bench, tree),
    }
    title = f"`fetchml sync` of {files} unchanged files, `git add` and `git status`, `dvc add` and `dvc status`"
    wanted = (Wanted(_CPU, Aim("ratio", 2), (_SCAN,)), Wanted(_WALL))
    return rows + compare(title, take_turns("again", again, repeat, warm_up=True), wanted)


def _plant(tree: Path, files: int) -> None:
    """Makes a tree of small files, as a large repository has them."""
    for number in range(files):
        folder = tree / f"package{number // _FILES_IN_A_FOLDER}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"module{number}.py").write_text(f"value = {number}\n" * (100 + number % 300), encoding="utf-8")


def _ours(bench: Bench, tree: Path, *, again: bool) -> Turn:
    home = bench.folder / "capture-home"
    env = environment(HOME=bench.folder, FETCHML_HOME=home)
    return _turn(lambda: [call([tool("fetchml"), "sync", "--quiet"], env, tree)], home, again=again)


def _git(bench: Bench, tree: Path, *, again: bool) -> Turn:
    # Beside the tree, so that fetchml finds no repository and pays for no question to git.
    folder = bench.folder / "capture-git"
    env = environment(HOME=bench.folder, GIT_DIR=folder, GIT_WORK_TREE=tree, GIT_CONFIG_NOSYSTEM="1")

    def work() -> list[Call]:
        started = [] if folder.exists() else [call(["git", "init", "--quiet"], env, tree)]
        added = [*started, call(["git", "add", "--all"], env, tree)]
        return [*added, call(["git", "status", "--porcelain"], env, tree)] if again else added

    return _turn(work, folder, again=again)


def _turn(work: Callable[[], list[Call]], store: Path, *, again: bool) -> Turn:
    """Returns what does the work, on an empty store or on one that has everything."""

    def turn(_: int) -> dict[str, float]:
        if not again:
            shutil.rmtree(store, ignore_errors=True)
        return _cost(work())

    return turn


def _digests(bench: Bench, tree: Path) -> Turn:
    env = environment(HOME=bench.folder)
    words = ["sh", "-c", "find . -type f -print0 | xargs -0 sha256sum | tail -n 1"]
    return lambda _: _cost([call(words, env, tree)])


def _dvc(dvc: Dvc | str, *, again: bool) -> Contestant:
    if isinstance(dvc, str):
        return dvc

    def turn(_: int) -> dict[str, float]:
        if not again:
            dvc.forget()
        return _cost([dvc.add(), dvc.status()] if again else [dvc.add()])

    return turn


def _scan(bench: Bench, tree: Path) -> Turn:
    words = [sys.executable, "-I", str(PAYLOADS / "scan.py")]
    return lambda _: _cost([call(words, environment(HOME=bench.folder), tree)])


def _cost(calls: list[Call]) -> dict[str, float]:
    return {_CPU: sum(done.cpu_s for done in calls), _WALL: sum(done.wall_s for done in calls)}
