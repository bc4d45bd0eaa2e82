"""What a command costs: CPU seconds, wall time, and the time until it has said its answer."""

from bench import archive
from bench.calls import Call, call
from bench.contest import Contestant, Turn, enter, take_turns
from bench.context import PREFECT, TSP, Bench
from bench.results import OURS, Aim, Row, Wanted, compare
from bench.say import say
from bench.workspace import environment, tool

NAME = "startup"
RUNS = 1000
_CPU, _WALL, _ANSWER = "CPU", "wall", "wall, until the answer"
_IDLE_POOL = "idle"


def measure(bench: Bench) -> list[Row]:
    """Returns the rows about `--help`, `status` and `queue`."""
    return [*_help(bench), *_status(bench), *_queue(bench)]


def _help(bench: Bench) -> list[Row]:
    env = environment(HOME=bench.folder)

    def spooler() -> Turn:
        stack = bench.spooler("spooler-help")
        return lambda _: _cost(stack.run("-h"))

    contestants: dict[str, Contestant] = {
        OURS: lambda _: _cost(call([tool("fetchml"), "--help"], env, bench.folder)),
        PREFECT: lambda _: _cost(call([tool("prefect"), "--help"], env, bench.folder)),
        TSP: enter(spooler),
    }
    title = "`fetchml --help`, `prefect --help`, `tsp -h`"
    measured = take_turns("help", contestants, bench.count(15, 3), warm_up=True)
    return compare(title, measured, (Wanted(_CPU, Aim("seconds", 0.12)), Wanted(_WALL)))


def _status(bench: Bench) -> list[Row]:
    runs = RUNS // 10 if bench.quick else RUNS
    home = bench.folder / "archive" / "home"
    home.parent.mkdir()
    say(f"making {runs} sealed runs")
    archive.fill(home, runs)
    env = environment(HOME=home.parent, FETCHML_HOME=home)

    def status(_: int) -> dict[str, float]:
        return _cost(call([tool("fetchml"), "status"], env, home.parent))

    def status_without_index(_: int) -> dict[str, float]:
        for path in (home / "store").glob("index.sqlite*"):
            path.unlink()
        return status(0)

    def stock() -> Turn:
        bench.prefect.seed(runs)
        return lambda _: _cost(bench.prefect.run("flow-run", "ls", "--limit", "10"))

    def spooler() -> Turn:
        stack = bench.spooler("spooler-list")
        stack.submit()
        return lambda _: _cost(stack.run())

    contestants = {OURS: status, PREFECT: enter(stock), TSP: enter(spooler)}
    title = f"`fetchml status` with {runs} sealed runs, `prefect flow-run ls --limit 10` with as many, `tsp`"
    measured = take_turns("status", contestants, bench.count(15, 3), warm_up=True)
    rows = compare(title, measured, (Wanted(_CPU, Aim("seconds", 0.2)), Wanted(_WALL)))
    title = f"`fetchml status` with {runs} sealed runs and no index, as after `index.sqlite` was deleted"
    measured = take_turns("status, no index", {OURS: status_without_index}, bench.count(5, 2), warm_up=True)
    return rows + compare(title, measured, (Wanted(_CPU), Wanted(_WALL)))


def _queue(bench: Bench) -> list[Row]:
    def ours() -> Turn:
        stack = bench.fetchml

        def turn(_number: int) -> dict[str, float]:
            done, run_id = stack.queue("--engine", "process")
            stack.settle(run_id)
            return _cost(done)

        return turn

    def stock() -> Turn:
        bench.prefect.deploy(_IDLE_POOL, "process")
        return lambda _: _cost(bench.prefect.submit(_IDLE_POOL)[0])

    def spooler() -> Turn:
        stack = bench.spooler("spooler-submit")

        def turn(_number: int) -> dict[str, float]:
            done, _, path = stack.submit()
            stack.stamp(path)
            return _cost(done)

        return turn

    contestants = {OURS: enter(ours), PREFECT: enter(stock), TSP: enter(spooler)}
    title = "`fetchml queue`, `prefect deployment run`, `tsp COMMAND`"
    measured = take_turns("queue", contestants, bench.count(15, 3), warm_up=True)
    return compare(title, measured, (Wanted(_CPU), Wanted(_WALL), Wanted(_ANSWER)))


def _cost(done: Call) -> dict[str, float]:
    return {_CPU: done.cpu_s, _WALL: done.wall_s, _ANSWER: done.answer_s}
