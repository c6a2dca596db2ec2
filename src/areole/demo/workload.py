"""The work of `python -m areole`: a costly function over real files, and a crowd of threads that ask for it.

The function parses a module of the standard library and summarises it. Each way of calling it gets the same requests
and a cache of its own that is cold when its clock starts. What is counted and checked:

- Every run of the function is counted by `list.append` on a list of its key: one atomic step on both builds, so no run
  is lost however many threads are in it.
- Every answer is checked. A thread compares each batch of answers with what it got for the same batch before (lists
  compare their items by identity first, so this costs a hit a few nanoseconds) and keeps those that differ; after the
  run all that was kept is compared with summaries that were computed on one thread, before any cache was made.
"""

from __future__ import annotations

import ast
import functools
import random
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import cycle
from math import inf
from pathlib import Path
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import Any, TypeAlias

from .._cache.atomic_cache import AtomicCache

__all__ = ["WAYS", "Result", "Summary", "Way", "choose_modules", "draw_requests", "run_way", "summarise"]

SEED = 20260101
REQUESTS = 4096  # a thread's own sequence, before it starts anew
PATIENCE = 60  # seconds after the deadline until a thread that is still at work counts as stuck
FAREWELL = 5  # seconds that a thread which is to stop has for the batch that it is in
SKIPPED = {"test", "tests", "idle_test", "site-packages", "dist-packages"}
SMALLEST, LARGEST = 1_000, 64_000  # bytes: an empty module costs nothing, a huge one holds up its thread for too long


@dataclass(frozen=True, slots=True)
class Summary:
    """What one module holds. Nesting is in blocks: 1 for the module's own statements."""

    lines: int
    functions: int
    classes: int
    imports: int
    longest_function: int
    deepest_nesting: int


Summariser: TypeAlias = Callable[[str], Summary]

# Up to CPython 3.11.7 and 3.12.1, all threads that are in `ast.parse` share one counter of its depth: a collection of
# garbage may let another thread in, and a SystemError comes of that (gh-106905). No such Python is free-threaded.
_parsing: AbstractContextManager[Any] = threading.Lock() if sys.version_info < (3, 13) else nullcontext()


def summarise(path: str) -> Summary:
    """Parse the module in this file and summarise it. Raises OSError, SyntaxError or ValueError if that cannot be."""
    with open(path, "rb") as file:
        source = file.read()
    with _parsing:
        tree = ast.parse(source, path)
    nodes = list(_walk(tree))
    functions = [node for node, _ in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return Summary(
        lines=len(source.splitlines()),
        functions=len(functions),
        classes=sum(isinstance(node, ast.ClassDef) for node, _ in nodes),
        imports=sum(len(node.names) for node, _ in nodes if isinstance(node, ast.Import | ast.ImportFrom)),
        longest_function=max((_length(node) for node in functions), default=0),
        deepest_nesting=max(depth for _, depth in nodes),
    )


def _walk(tree: ast.Module) -> Iterator[tuple[ast.AST, int]]:
    """Go through all nodes, each with the number of blocks around it.

    A statement is a block deeper than the one around it if it starts further right: so an `elif`, which the tree has
    inside its `if`, is as deep as that.
    """
    todo: list[tuple[ast.AST, int, int]] = [(tree, 0, -1)]
    while todo:
        node, depth, column = todo.pop()
        if isinstance(node, ast.stmt) and node.col_offset > column:
            depth, column = depth + 1, node.col_offset
        yield node, depth
        todo.extend((child, depth, column) for child in ast.iter_child_nodes(node))


def _length(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


# ---- what is asked for


def choose_modules(root: Path, limit: int, tick: Callable[[str], None]) -> dict[str, Summary]:
    """Choose modules under `root` that are at most `limit` bytes together; return their summaries, most popular first.

    The rule: in an order shuffled by the seed, each module outside of tests and installed packages that is neither tiny
    nor huge, fits into what is left of the limit, and parses.
    """
    chosen: dict[str, Summary] = {}
    left = limit
    for path in _candidates(root):
        try:
            size = path.stat().st_size
            if SMALLEST <= size <= min(LARGEST, left):
                chosen[str(path)] = summarise(str(path))
                left -= size
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue
        tick(f"choosing modules: {len(chosen)} so far")
    return chosen


def _candidates(root: Path) -> list[Path]:
    paths = sorted(path for path in root.rglob("*.py") if SKIPPED.isdisjoint(path.relative_to(root).parts))
    random.Random(SEED).shuffle(paths)
    return paths


def draw_requests(paths: Sequence[str], threads: int) -> list[list[str]]:
    """Draw a sequence of requests for each thread, the same in every run.

    By Zipf's law, the n-th path is asked for 1/n as often as the first.
    """
    weights = [1 / rank for rank in range(1, len(paths) + 1)]
    return [random.Random(f"{SEED}/{thread}").choices(paths, weights, k=REQUESTS) for thread in range(threads)]


# ---- who asks, and how


@dataclass(frozen=True, slots=True)
class Way:
    """A way of calling the function: through what `memoize` makes of it, for a `share` of the time.

    `batch` is how many calls a thread makes between two looks at the clock. Where `fills_once`, running the function
    twice for a key is a fault.
    """

    name: str
    memoize: Callable[[Summariser], Summariser]
    share: float
    batch: int = 64
    fills_once: bool = False


WAYS = (
    Way("uncached", lambda function: function, share=1 / 6, batch=1),
    Way("functools.cache", functools.cache, share=5 / 12),
    Way("AtomicCache.memoize", AtomicCache.memoize, share=5 / 12, fills_once=True),
)


@dataclass(frozen=True, slots=True)
class Result:
    """What one way has done. `fills_run_twice` counts runs for a key that had been run before."""

    name: str
    calls: int
    distinct_keys: int
    fills_run: int
    fills_run_twice: int
    seconds: float
    wrong_results: int

    @property
    def hits_per_second(self) -> float:
        return (self.calls - self.fills_run) / self.seconds


def run_way(
    way: Way,
    requests: Sequence[list[str]],
    expected: Mapping[str, Summary],
    seconds: float,
    tick: Callable[[str], None],
) -> Result:
    """Let one thread for each sequence of requests ask for `seconds`, then check and count what happened."""
    runs: dict[str, list[None]] = {path: [] for path in expected}

    def fill(path: str) -> Summary:
        runs[path].append(None)
        return summarise(path)

    def show() -> None:
        elapsed = max(0.0, perf_counter() - crowd.started)
        fills = sum(map(len, runs.values()))
        tick(f"{way.name}: {elapsed:.1f} of {seconds:.1f} s, {fills:,} fills for {len(runs)} modules")

    batches = [[each[i : i + way.batch] for i in range(0, len(each), way.batch)] for each in requests]
    crowd = _Crowd(way.memoize(fill), batches, seconds)
    asked = crowd.run(show)
    answers = [pair for each in asked for batch in each.to_check for pair in zip(*batch, strict=True)]
    fills = [len(each) for each in runs.values() if each]
    return Result(
        name=way.name,
        calls=sum(each.calls for each in asked),
        distinct_keys=len({path for path, _ in answers}),
        fills_run=sum(fills),
        fills_run_twice=sum(fills) - len(fills),
        seconds=max(each.ended for each in asked) - crowd.started,
        wrong_results=sum(answer != expected[path] for path, answer in answers),
    )


@dataclass(frozen=True, slots=True)
class _Asked:
    """What one thread did; `to_check` are batches of paths, each with its answers."""

    calls: int
    ended: float
    to_check: list[tuple[list[str], list[Summary]]]


class _Crowd:
    """Threads that call a function, each with batches of its own in a loop, from one moment until one deadline.

    The main thread waits on a queue and never in `join`: before Python 3.13 an interrupted `join` takes a thread that
    still runs for one that has ended.
    """

    def __init__(self, function: Summariser, batches: Sequence[Sequence[list[str]]], seconds: float) -> None:
        self.started = self._deadline = inf
        self._function = function
        self._seconds = seconds
        self._outcomes: SimpleQueue[_Asked | BaseException] = SimpleQueue()
        self._barrier = threading.Barrier(len(batches), self._start_clock)  # the last to come starts the clock
        self._threads = [
            threading.Thread(target=self._work, args=(each,), name=f"asker-{i}", daemon=True)
            for i, each in enumerate(batches)
        ]

    def run(self, show: Callable[[], None]) -> list[_Asked]:
        """Run all threads to their end, calling `show` now and then; raise what one of them has raised."""
        try:
            for thread in self._threads:
                thread.start()
            return [self._next_outcome(show) for _ in self._threads]
        finally:
            self._stop()

    def _next_outcome(self, show: Callable[[], None]) -> _Asked:
        while True:
            try:
                outcome = self._outcomes.get(timeout=0.1)
            except Empty:
                show()
                if perf_counter() > self._deadline + PATIENCE:
                    raise RuntimeError(f"a thread is still at work {PATIENCE} s after the end: it hangs") from None
                continue
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

    def _stop(self) -> None:
        """End the threads that still run, after an exception. `abort` first: no clock is started after it."""
        self._barrier.abort()
        self._deadline = -inf
        for thread in self._threads:
            if thread.is_alive():
                thread.join(FAREWELL)

    def _start_clock(self) -> None:
        self.started = perf_counter()
        self._deadline = self.started + self._seconds

    def _work(self, batches: Sequence[list[str]]) -> None:
        try:
            outcome: _Asked | BaseException = self._ask(batches)
        except BaseException as error:
            outcome = error
        self._outcomes.put(outcome)

    def _ask(self, batches: Sequence[list[str]]) -> _Asked:
        function, calls = self._function, 0
        seen: list[list[Summary]] = [[] for _ in batches]
        to_check = []
        self._barrier.wait()
        for number in cycle(range(len(batches))):
            batch = batches[number]
            answers = [function(path) for path in batch]
            calls += len(batch)
            if answers != seen[number]:
                seen[number] = answers
                to_check.append((batch, answers))
            if perf_counter() >= self._deadline:
                break
        return _Asked(calls, perf_counter(), to_check)
