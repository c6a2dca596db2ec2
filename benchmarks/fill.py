"""Compare what a fill adds in two source trees, and what the hits after it take.

    python -m benchmarks.fill --against /path/to/other/src     see benchmarks.against
    python -m benchmarks.fill --against ... --rows fill        fills alone
    python -m benchmarks.fill --batches                        100 keys by one call, beside 100 calls, in this tree

What a fill adds is its time beyond a plain call of the function. "full" caches evict a value with each fill.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from . import against
from .contenders import GET, ITEM, LOOPS, METHOD, ONE, SET
from .measure import make_block

__all__ = ["KINDS", "main", "measure", "rows"]

FILLS = 1000
PASSES = 2


def _fill(key: int) -> int:
    return -key


async def _async_fill(key: int) -> int:
    return -key


_call, _look_up = LOOPS[ONE], LOOPS[ITEM]


def _await(target: Any, keys: Iterable[int]) -> None:
    async def main() -> None:
        for k in keys:
            await target(k)

    asyncio.run(main())


@dataclass(frozen=True, slots=True)
class Kind:
    """`make` gives a new target, which `fill` fills and `hit` uses then; `bare_loop` calls `bare` without a cache."""

    fill: Callable[[Any, Iterable[int]], None]
    make: Callable[[], Any]
    hit: Callable[[Any, Iterable[int]], None]
    bare_loop: Callable[[Any, Iterable[int]], None] = LOOPS[ONE]
    bare: Any = _fill


def _memoized(function: Any = _fill, **options: Any) -> Callable[[], Any]:
    def make() -> Any:
        from areole import AtomicCache

        return AtomicCache.memoize(function, **options)

    return make


def _mapping(**options: Any) -> Callable[[], Any]:
    def make() -> Any:
        from areole import AtomicCache

        return AtomicCache(_fill, **options)

    return make


def _method() -> Any:
    class Holder:
        @_decorate
        def m(self, k: int) -> int:
            return -k

    return Holder()


def _decorate(function: Any) -> Any:
    from areole import AtomicCache

    return AtomicCache.memoize(function)


def _store(**options: Any) -> Callable[[], Any]:
    def make() -> Any:
        from areole import Storage

        return Storage(**options)

    return make


LARGE, SMALL = 2 * FILLS, 100
KINDS = {
    "f(k)": Kind(_call, _memoized(), _call),
    "obj.m(k)": Kind(LOOPS[METHOD], _method, LOOPS[METHOD]),
    "cache[k]": Kind(_look_up, _mapping(), _look_up),
    "f(k), ttl": Kind(_call, _memoized(ttl=3600), _call),
    "cache[k], ttl": Kind(_look_up, _mapping(ttl=3600), _look_up),
    "await f(k)": Kind(_await, _memoized(_async_fill), _await, _await, _async_fill),
}
for _policy in ("lru", "s3fifo"):
    for _items, _full in ((LARGE, ""), (SMALL, ", full")):
        _options: dict[str, Any] = {"max_items": _items, "policy": _policy}
        KINDS |= {
            f"f(k), {_policy}{_full}": Kind(_call, _memoized(**_options), _call),
            f"cache[k], {_policy}{_full}": Kind(_look_up, _mapping(**_options), _look_up),
            f"store.set(k, k), {_policy}{_full}": Kind(LOOPS[SET], _store(**_options), LOOPS[GET]),
        }


def measure(name: str, hits: bool) -> float:
    """Return nanoseconds: what a fill adds to a call of the function, or what a hit takes."""
    kind = KINDS[name]
    best = []
    for each in range(PASSES):
        keys, target = make_block(each, SMALL if hits else FILLS), kind.make()
        kind.fill(target, keys[:50])  # what a first fill alone does
        if hits:
            kind.fill(target, keys)
            best.append(_time(kind.hit, target, keys * 50))
        else:
            best.append(_time(kind.fill, target, keys[50:]) - _time(kind.bare_loop, kind.bare, keys[50:]))
    return min(best)


def _time(loop: Any, target: Any, keys: list[int]) -> float:
    return against.cpu_time(lambda: loop(target, keys)) / len(keys)


def rows() -> against.Rows:
    return {
        f"{'hit' if hits else 'fill'}, {name}": against.Row(lambda n=name, h=hits: partial(measure, n, h))  # type: ignore[misc]
        for hits in (False, True)
        for name in KINDS
    }


# ---- many keys by one call

BATCH, ROUNDS = 100, 200


def _fill_many(keys: list[int]) -> list[int]:
    return [-key for key in keys]


async def _async_fill_many(keys: list[int]) -> list[int]:
    return [-key for key in keys]


async def _await_each(cache: Any, keys: list[int]) -> None:
    for k in keys:
        await cache[k]


def measure_batches() -> str:
    """Return a table: microseconds for 100 keys, one by one and at once. The columns of one row can be compared."""
    from areole import AsyncAtomicCache, AtomicCache

    loop = asyncio.new_event_loop()
    wait = loop.run_until_complete

    def fetch(cache: Any, keys: list[int]) -> Any:
        return cache.fetch_many(keys)

    rows: dict[str, list[tuple[Callable[[], Any], Callable[..., Any]]]] = {
        "threads": [(lambda: AtomicCache(_fill), _look_up), (lambda: AtomicCache(fill_many=_fill_many), fetch)],
        "threads, ttl": [
            (lambda: AtomicCache(_fill, ttl=9), _look_up),
            (lambda: AtomicCache(fill_many=_fill_many, ttl=9), fetch),
        ],
        "tasks": [
            (lambda: AsyncAtomicCache(_async_fill), lambda cache, keys: wait(_await_each(cache, keys))),
            (lambda: AsyncAtomicCache(fill_many=_async_fill_many), lambda cache, keys: wait(fetch(cache, keys))),
        ],
    }
    lines = [["", "100 fills", "one batch", "ratio", "100 hits", "at once", "ratio"]]
    for name, (single, many) in rows.items():
        fills, batch, hits, at_once = [_least(*way, hits=hits) for hits in (False, True) for way in (single, many)]
        ratios = f"{batch / fills:.2f}", f"{at_once / hits:.2f}"
        lines.append([name, f"{fills:.0f}", f"{batch:.0f}", ratios[0], f"{hits:.0f}", f"{at_once:.0f}", ratios[1]])
    loop.close()
    return "\n".join("  ".join(f"{cell:>12}" for cell in line) for line in lines)


def _least(make: Callable[[], Any], ask: Callable[[Any, list[int]], object], hits: bool) -> float:
    times = []
    for _ in range(ROUNDS):
        cache, keys = make(), list(range(BATCH))
        if hits:
            ask(cache, keys)
        times.append(against.cpu_time(partial(ask, cache, keys)))
    return min(times) / 1000


def main(arguments: list[str] | None = None) -> int:
    """Run the comparison as the command line says; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fill", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="about a minute, and noisier")
    parser.add_argument("--check", action="store_true", help="exit status 1 if a row is over the bound")
    parser.add_argument("--batches", action="store_true", help="100 keys by one call, beside 100 calls, in this tree")
    against.add_options(parser)
    options = parser.parse_args(arguments)
    if options.batches:
        print(measure_batches())
        return 0
    if not options.against and not options.serve:
        parser.error("--against: which other source tree? Give the folder that holds areole/")
    return against.run("benchmarks.fill", rows(), options)


if __name__ == "__main__":
    sys.exit(main())
