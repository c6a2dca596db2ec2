"""Compare two source trees, row by row. `benchmarks.hits`, `.storage`, `.aio` and `.fill` do it alike:

    git worktree add --detach /path/to/other COMMIT
    python -m benchmarks.hits --against /path/to/other/src     some minutes; --quick: one or two
    ... --check         exit status 1 if a row is slower by more than the bound
    ... --bound 1.1     the bound, as a ratio (default: 1.05)
    ... --rows TEXT     only rows that have TEXT in their names; may be given more than once

Each tree runs in a process of its own, and both measure each row in turn, in many short rounds. Other work on the
machine only ever adds time, so of each process the least counts. Two processes of one tree may still differ by some
percent as long as they live, by where their objects lie in memory: so there are several pairs of processes, and the
ratio is the median of theirs. Rows over the bound are measured again, in twice as many pairs. A row is then marked
SLOWER, or "unclear" if a quarter of the pairs, or the least time of all pairs, says the opposite. Times on one thread
are CPU times of that thread, and hold on a loaded machine too; those on two threads, which --quick leaves out, need an
idle one. Less is better.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from .build import this_build
from .contenders import Contender, loop_of_its_own
from .crew import Crew
from .measure import make_block
from .report import table
from .samples import Spread, spread_of

__all__ = ["Peer", "Row", "Rows", "add_options", "compare", "cpu_time", "fill_rows", "hit_rows", "run"]

OWN_SOURCE = Path(__file__).resolve().parent.parent / "src"
BOUND = 1.05
BURST = 0.001  # seconds that a row of hits takes in one round


@dataclass(frozen=True, slots=True)
class Row:
    """`make` returns a function that measures once. Where that is slow or always the same, a pair does it `once`."""

    make: Callable[[], Callable[[], float]]
    once: bool = False


Rows = dict[str, Row]


@dataclass(frozen=True, slots=True)
class Plan:
    pairs: int
    rounds: int


FULL, QUICK = Plan(pairs=7, rounds=41), Plan(pairs=3, rounds=11)


# ---- rows


def hit_rows(contenders: Iterable[Contender], shapes: Collection[str], threads: int = 1) -> Rows:
    """Return a row of hits for each contender in each of its shapes."""
    return {name: Row(_hits(*case, threads)) for name, case in _cases("hit", contenders, shapes, threads)}


def fill_rows(contenders: Iterable[Contender], shapes: Collection[str], threads: int = 1) -> Rows:
    """Return rows of fills of cold keys by a new cache."""
    return {name: Row(_fills(*case, threads)) for name, case in _cases("fill", contenders, shapes, threads)}


def _cases(
    what: str, contenders: Iterable[Contender], shapes: Collection[str], threads: int
) -> Iterator[tuple[str, tuple[Contender, str]]]:
    suffix = f", {threads} threads" if threads > 1 else ""
    for contender in contenders:
        for shape in contender.shapes:
            if shape in shapes:
                yield f"{what}, {contender.name} {shape}{suffix}", (contender, shape)


def _hits(contender: Contender, shape: str, threads: int) -> Callable[[], Callable[[], float]]:
    def make() -> Callable[[], float]:
        target, loop = contender.make(shape), loop_of_its_own(shape)
        keys = [make_block(i, 1000) for i in range(threads)]
        for block in keys:
            contender.warm(shape, target, block)
            loop(target, block)
        # with a GIL threads take turns after 5 ms
        passes = max(1, round((BURST if threads == 1 else 15 * BURST) * 1e9 / cpu_time(lambda: loop(target, keys[0]))))

        def burst(i: int) -> None:
            for _ in range(passes):
                loop(target, keys[i])

        return lambda: _time(threads, burst) / (threads * passes * 1000)

    return make


def _fills(contender: Contender, shape: str, threads: int) -> Callable[[], Callable[[], float]]:
    def make() -> Callable[[], float]:
        loop = loop_of_its_own(shape)
        keys = [make_block(i + 100, 1000) for i in range(threads)]

        def measure() -> float:
            target = contender.make(shape)
            return _time(threads, lambda i: loop(target, keys[i])) / (threads * 1000)

        return measure

    return make


def _time(threads: int, work: Callable[[int], None]) -> float:
    """Return nanoseconds: CPU time on one thread, else from the first thread's start to the last one's end."""
    if threads == 1:
        return cpu_time(lambda: work(0))
    if not _crew:
        _crew.append(Crew(threads).__enter__())
    return _crew[0].time(threads, work) * 1e9


_crew: list[Crew] = []  # daemon threads, which stay for the life of the process


def cpu_time(work: Callable[[], object]) -> float:
    """Return the nanoseconds of CPU time that `work` takes on this thread, with the collector off."""
    gc.disable()
    try:
        start = time.thread_time_ns()
        work()
        return time.thread_time_ns() - start
    finally:
        gc.enable()


# ---- the process that measures


def _serve(rows: Rows) -> None:
    """Say which areole this is; then measure each row whose name comes in. The answer is null for what fails."""
    import areole

    print(json.dumps(areole.__file__), flush=True)
    ready: dict[str, Callable[[], float]] = {}
    for line in sys.stdin:
        name, answer = json.loads(line), None
        try:
            if name not in ready:
                ready[name] = rows[name].make()
            answer = ready[name]()
        except Exception:
            traceback.print_exc()
        print(json.dumps(answer), flush=True)


class Peer:
    """A process in which one benchmark measures one source tree."""

    def __init__(self, benchmark: str, source: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", benchmark, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(source), "PYTHONHASHSEED": "0"},
            cwd=OWN_SOURCE.parent,
            text=True,
        )
        imported = Path(self._answer())
        if not imported.is_relative_to(source):
            self._process.communicate()
            raise SystemExit(f"{source} has no areole: {imported} was imported; give the folder that holds areole/")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate()

    def measure(self, name: str) -> float | None:
        """Return what the row takes, or None if this tree cannot do it: why is on stderr then."""
        stdin: IO[str] = self._process.stdin  # type: ignore[assignment]
        stdin.write(json.dumps(name) + "\n")
        stdin.flush()
        answer = self._answer()
        return None if answer is None else float(answer)

    def _answer(self) -> Any:
        line = self._process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            raise SystemExit("the process that measures has ended; what it said is above")
        return json.loads(line)


# ---- the process that compares


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a row took in the new tree and in the old one, pair by pair: the least of all rounds."""

    new: list[float]
    old: list[float]

    @property
    def ratio(self) -> Spread:
        return spread_of([a / b for a, b in zip(self.new, self.old, strict=True)])

    def verdict(self, bound: float) -> str:
        if self.ratio.median <= bound:
            return ""
        pairs_agree = self.ratio.quarter > 1 and min(self.new) / min(self.old) > bound
        return "SLOWER" if pairs_agree else "unclear"


def compare(
    benchmark: str, rows: Rows, source: Path, against: Path, plan: Plan, results: dict[str, Comparison] | None = None
) -> dict[str, Comparison]:
    """Measure all rows in so many pairs of processes; add to `results`. A row that only one tree can do is left out."""
    results = {} if results is None else results
    for pair in range(plan.pairs):
        print(f"pair {pair + 1} of {plan.pairs}, {len(rows)} rows", file=sys.stderr, flush=True)
        with ExitStack() as stack:
            new, old = (stack.enter_context(Peer(benchmark, each)) for each in (source, against))
            for name, (a, b) in _least(rows, new, old, plan.rounds).items():
                found = results.setdefault(name, Comparison([], []))
                found.new.append(a)
                found.old.append(b)
    return results


def _least(rows: Rows, new: Peer, old: Peer, rounds: int) -> dict[str, tuple[float, float]]:
    times: dict[str, list[tuple[float | None, float | None]]] = {name: [] for name in rows}
    for each in range(rounds + 1):  # the first round warms up
        for name, row in rows.items():
            if row.once and each:
                continue
            if each % 2:
                a, b = new.measure(name), old.measure(name)
            else:
                b, a = old.measure(name), new.measure(name)
            times[name].append((a, b))
    least = {}
    for name, both in times.items():
        news, olds = ([t for t in side if t is not None] for side in zip(*(both[1:] or both), strict=True))
        if news and olds:
            least[name] = min(news), min(olds)
    return least


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `run` takes, besides --quick and --check."""
    parser.add_argument(
        "--against", type=_folder, metavar="SRC", help="compare with another tree: its folder of areole/"
    )
    parser.add_argument("--source", type=_folder, default=OWN_SOURCE, metavar="SRC", help="in place of this checkout's")
    parser.add_argument("--bound", type=float, default=BOUND, help="the ratio over which a row is slower (%(default)s)")
    parser.add_argument("--rows", action="append", metavar="TEXT", help="compare only rows with TEXT in their names")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)


def _folder(text: str) -> Path:
    return Path(text).resolve()


def run(benchmark: str, rows: Rows, options: argparse.Namespace) -> int:
    """Compare two trees, or serve such a comparison; return the exit status."""
    if options.serve:
        _serve(rows)
        return 0
    plan, start = QUICK if options.quick else FULL, time.perf_counter()
    wanted = {name: row for name, row in rows.items() if any(text in name for text in options.rows or [""])}
    print(*this_build({}).lines(), sep="\n", flush=True)
    results = compare(benchmark, wanted, options.source, options.against, plan)
    if over := {name: rows[name] for name, found in results.items() if found.verdict(options.bound)}:
        again = Plan(2 * plan.pairs, plan.rounds)
        compare(benchmark, over, options.source, options.against, again, results)
    print(comparison_table(results, options))
    slower = [name for name in over if results[name].verdict(options.bound) == "SLOWER"]
    left_out = wanted.keys() - results.keys()
    print(f"\n{len(slower)} of {len(results)} rows slower by over {options.bound - 1:.0%};", end=" ")
    print(f"{len(left_out)} cannot be compared;" if left_out else "", f"{time.perf_counter() - start:.0f} s")
    return 1 if options.check and (slower or left_out) else 0


def comparison_table(results: dict[str, Comparison], options: argparse.Namespace) -> str:
    rows = []
    for name, found in results.items():
        ratio, new, old = found.ratio, spread_of(found.new).median, spread_of(found.old).median
        numbers = (f"{new:.1f}", f"{old:.1f}", f"{ratio.median:.3f}", f"{ratio.low:.2f}..{ratio.high:.2f}")
        rows.append((name, found.verdict(options.bound), *numbers))
    title = f"{options.source} beside {options.against}: nanoseconds an operation, or what the row says"
    return table(title, ("row", "", "new", "old", "ratio", "of pairs"), rows)
