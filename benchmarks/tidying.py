"""Measure the longest lookup while threads fill a cache under a ttl that holds a million live values.

    python -m benchmarks.tidying               about a minute, most of it to fill the cache; --quick: some seconds
    python -m benchmarks.tidying --check       exit status 1 if a lookup takes more than 20 ms

Each lookup fills a key of its own, and tidies the cache up a little. What counts is the CPU time of the thread, so that
it does not matter how many threads share a core. The collector is off: its pauses are not the cache's.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from dataclasses import dataclass
from typing import Any

from .build import this_build
from .crew import Crew

__all__ = ["BOUND", "Longest", "main", "measure"]

BOUND = 20.0
"""Milliseconds."""


@dataclass(frozen=True, slots=True)
class Longest:
    """`lookup` is in milliseconds; `looks` is how many parts of the cache were looked through meanwhile."""

    lookup: float
    looks: int
    fills: int


def measure(live: int, threads: int, fills_each: int) -> Longest:
    from areole import AtomicCache
    from areole._expiry.lazy_expirer import LazyExpirer

    looks: list[int] = []
    look_through = LazyExpirer._look_through

    def count(self: Any, *args: Any) -> int:
        looks.append(1)
        return look_through(self, *args)

    cache: Any = AtomicCache(lambda key: key, ttl=1e6)
    was_on = gc.isenabled()
    gc.disable()
    try:
        for key in range(live):
            cache[key]
        LazyExpirer._look_through = count  # type: ignore[method-assign]
        with Crew(threads) as crew:
            longest = crew.run(threads, lambda i: _longest(cache, live + i * fills_each, fills_each))
    finally:
        LazyExpirer._look_through = look_through  # type: ignore[method-assign]
        if was_on:
            gc.enable()
    return Longest(max(longest), len(looks), threads * fills_each)


def _longest(cache: Any, first: int, count: int) -> float:
    longest, clock = 0, time.thread_time_ns
    for key in range(first, first + count):
        start = clock()
        cache[key]
        longest = max(longest, clock() - start)
    return longest / 1e6


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark as the command line says; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tidying", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="100,000 live values")
    parser.add_argument("--check", action="store_true", help=f"exit status 1 if a lookup takes more than {BOUND:g} ms")
    options = parser.parse_args(arguments)
    live, threads, fills_each = (100_000, 32, 1_000) if options.quick else (1_000_000, 32, 10_000)
    print(*this_build({}).lines(), sep="\n")
    found = measure(live, threads, fills_each)
    print(
        f"{live:,} live values, {threads} threads, {found.fills:,} fills, {found.looks} looks: "
        f"the longest lookup took {found.lookup:.2f} ms of its thread's time (bound: {BOUND:g})"
    )
    return 1 if options.check and found.lookup > BOUND else 0


if __name__ == "__main__":
    sys.exit(main())
