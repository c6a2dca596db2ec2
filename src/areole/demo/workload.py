"""The work of the demonstration: a costly function over real files, and many threads that call it.

The function parses a module of the standard library. Each variant gets the same requests, and a cache that is empty
when its clock starts. Each run of the function appends the time that it took to a list of its key: one atomic step on
both builds, so that no run is lost. Every result is compared with what one thread computed before.
"""

from __future__ import annotations

import ast
import functools
import random
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import cycle
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any, NamedTuple, TypeAlias

from .._cache.atomic_cache import AtomicCache
from .threads import run_threads

__all__ = ["VARIANTS", "Result", "Summary", "Variant", "choose_modules", "draw_requests", "run_variant", "summarise"]

SEED = 20260101
REQUESTS = 4096  # of one thread, before it starts with the first again
TIMEOUT = 60  # seconds after the end until a thread that still runs counts as hanging
SKIPPED = {"test", "tests", "idle_test", "site-packages", "dist-packages"}
SMALLEST, LARGEST = 1_000, 64_000  # bytes: an empty module costs nothing, a huge one holds up its thread for too long


class Summary(NamedTuple):
    """What one module holds."""

    lines: int
    functions: int
    classes: int


Summariser: TypeAlias = Callable[[str], Summary]

# Up to CPython 3.11.7 and 3.12.1 all threads in `ast.parse` share one counter of its depth: a garbage collection may
# let another thread in, which ends in a SystemError (gh-106905). No such Python is free-threaded.
_parsing: AbstractContextManager[Any] = threading.Lock() if sys.version_info < (3, 13) else nullcontext()


def summarise(path: str) -> Summary:
    """Parse the module in this file and count what it holds. Raises OSError, SyntaxError or ValueError if it cannot."""
    source = Path(path).read_bytes()
    with _parsing:
        tree = ast.parse(source, path)
    nodes = list(ast.walk(tree))
    return Summary(
        lines=len(source.splitlines()),
        functions=sum(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in nodes),
        classes=sum(isinstance(node, ast.ClassDef) for node in nodes),
    )


def choose_modules(root: Path, limit: int, tick: Callable[[str], None]) -> dict[str, Summary]:
    """Choose modules under `root` of at most `limit` bytes together; return their summaries, most popular first.

    The rule: in an order shuffled by the seed, each module outside of tests and installed packages that is neither tiny
    nor huge, fits into what is left of the limit, and parses.
    """
    paths = sorted(path for path in root.rglob("*.py") if SKIPPED.isdisjoint(path.relative_to(root).parts))
    random.Random(SEED).shuffle(paths)
    chosen: dict[str, Summary] = {}
    for path in paths:
        try:
            size = path.stat().st_size
            if SMALLEST <= size <= min(LARGEST, limit):
                chosen[str(path)] = summarise(str(path))
                limit -= size
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue
        tick(f"choosing modules: {len(chosen)} so far")
    return chosen


def draw_requests(paths: Sequence[str], threads: int) -> list[list[str]]:
    """Draw a sequence of requests for each thread, the same in every run.

    By Zipf's law, the n-th path is asked for 1/n as often as the first.
    """
    weights = [1 / rank for rank in range(1, len(paths) + 1)]
    return [random.Random(f"{SEED}/{thread}").choices(paths, weights, k=REQUESTS) for thread in range(threads)]


class Variant(NamedTuple):
    """A way of calling the function: through what `memoize` makes of it, for a `share` of the time.

    `batch` is how many calls a thread makes between two looks at the clock. Where `fills_once`, a redundant fill is a
    fault.
    """

    name: str
    memoize: Callable[[Summariser], Summariser]
    share: float
    batch: int = 64
    fills_once: bool = False


VARIANTS = (
    Variant("uncached", lambda function: function, share=1 / 6, batch=1),
    Variant("functools.cache", functools.cache, share=5 / 12),
    Variant("AtomicCache.memoize", AtomicCache.memoize, share=5 / 12, fills_once=True),
)


class Result(NamedTuple):
    """What one variant did. A fill is a run of the function; it is redundant if its key has had one before."""

    variant: str
    calls: int
    fills: int
    redundant_fills: int
    redundant_seconds: float
    seconds: float
    hits_per_second: float
    wrong_results: int


def run_variant(
    variant: Variant,
    requests: Sequence[list[str]],
    expected: Mapping[str, Summary],
    seconds: float,
    tick: Callable[[str], None],
) -> Result:
    """Let one thread for each sequence of requests call the function for `seconds`; check and count."""
    took: dict[str, list[float]] = {path: [] for path in expected}
    is_over = threading.Event()

    def fill(path: str) -> Summary:
        start = thread_time()
        summary = summarise(path)
        took[path].append(thread_time() - start)
        return summary

    def watch() -> None:
        elapsed, fills = perf_counter() - start, sum(map(len, took.values()))
        tick(f"{variant.name}: {elapsed:.1f} of {seconds:.1f} s, {fills:,} fills for {len(took)} modules")
        if elapsed >= seconds:
            is_over.set()

    call = functools.partial(_call, variant.memoize(fill), expected, variant.batch, is_over)
    start = perf_counter()
    counts = run_threads([functools.partial(call, each) for each in requests], seconds + TIMEOUT, watch, is_over.set)
    elapsed = perf_counter() - start
    calls, wrong = map(sum, zip(*counts, strict=True))
    fills, redundant = sum(map(len, took.values())), [each for runs in took.values() for each in runs[1:]]
    return Result(variant.name, calls, fills, len(redundant), sum(redundant), elapsed, (calls - fills) / elapsed, wrong)


def _call(
    function: Summariser, expected: Mapping[str, Summary], size: int, is_over: threading.Event, requests: list[str]
) -> tuple[int, int]:
    """Call `function` in batches until it is over; return the numbers of calls and of wrong results.

    Only results that are not those of the same batch before are looked at one by one: lists compare their items by
    identity first, which costs a hit a few nanoseconds.
    """
    batches = [requests[i : i + size] for i in range(0, len(requests), size)]
    seen: list[list[Summary]] = [[] for _ in batches]
    calls = wrong = 0
    for i, batch in cycle(enumerate(batches)):
        results = [function(path) for path in batch]
        calls += len(batch)
        if results != seen[i]:
            seen[i] = results
            wrong += sum(result != expected[path] for path, result in zip(batch, results, strict=True))
        if is_over.is_set():
            return calls, wrong
    raise AssertionError("there are no requests")
