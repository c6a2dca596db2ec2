"""Compare what a fill adds in two source trees: each kind of fill in turn, in a process for each tree.

    python -m benchmarks.fill --against /path/to/other/src     about half a minute
    python -m benchmarks.fill --against ... --check            exit status 1 where a fill adds over 1.35 times as much
    python -m benchmarks.fill --against ... --hits             hits instead: what each takes, loop included

`git worktree add --detach /path/to/other COMMIT` makes a tree of an older commit. What a fill adds is its time beyond a
plain call of the function, in CPU time of its thread. In each round both processes measure each kind once, one right
after the other; the ratio is the median of the rounds' ratios. "full" caches evict a value with each fill.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from .build import this_build
from .contenders import GET, ITEM, LOOPS, METHOD, ONE, SET
from .measure import make_block
from .report import table
from .samples import Spread, spread_of

__all__ = ["KINDS", "Peer", "compare", "main", "measure"]

FILLS = 1000
PASSES = 3
BOUND = 1.35
OWN_SOURCE = Path(__file__).resolve().parent.parent / "src"


# ---- in the child


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
    gc.collect()
    gc.disable()
    try:
        start = time.thread_time_ns()
        loop(target, keys)
        return (time.thread_time_ns() - start) / len(keys)
    finally:
        gc.enable()


def _serve(hits: bool) -> None:
    """Say which areole this is; then measure each kind whose name comes in, until there are no more."""
    import areole

    print(json.dumps(areole.__file__), flush=True)
    for line in sys.stdin:
        print(json.dumps(measure(json.loads(line), hits)), flush=True)


# ---- in the parent


class Peer:
    """A process that measures one source tree."""

    def __init__(self, source: Path, hits: bool = False) -> None:
        command = [sys.executable, "-m", "benchmarks.fill", "--serve", *["--hits"] * hits]
        environment = os.environ | {"PYTHONPATH": str(source)}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=OWN_SOURCE.parent, text=True
        )
        imported = Path(self._answer())
        if not imported.is_relative_to(source):
            self._process.communicate()
            raise SystemExit(f"{source} has no areole: {imported} was imported; give the folder that holds areole/")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate()

    def measure(self, name: str) -> float:
        stdin: IO[str] = self._process.stdin  # type: ignore[assignment]
        stdin.write(json.dumps(name) + "\n")
        stdin.flush()
        return float(self._answer())

    def _answer(self) -> Any:
        line = self._process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            raise SystemExit("the process that measures has ended; what it said is above")
        return json.loads(line)


def compare(new: Peer, old: Peer, names: Iterable[str], rounds: int) -> dict[str, tuple[Spread, Spread, Spread]]:
    """Measure all kinds in both processes in turn; return the new times, the old ones, and their ratios."""
    names = list(names)
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in names}
    for each in range(rounds + 1):
        for name in names:
            order = [(0, new), (1, old)]
            for i, peer in order if each % 2 else reversed(order):
                nanoseconds = peer.measure(name)
                if each:  # the first round warms up
                    times[name][i].append(nanoseconds)
    return {
        name: (spread_of(news), spread_of(olds), spread_of([a / b for a, b in zip(news, olds, strict=True)]))
        for name, (news, olds) in times.items()
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the comparison as the command line says; return the exit status."""
    options = _parse(arguments)
    if options.serve:
        _serve(options.hits)
        return 0
    if options.against is None:
        raise SystemExit("--against: which other source tree? Give the folder that holds areole/")
    build = this_build({})
    print(*build.lines(), sep="\n")
    with Peer(options.source, options.hits) as new, Peer(options.against, options.hits) as old:
        results = compare(new, old, KINDS, options.rounds)
    rows = [
        (
            name,
            "",
            f"{news.median:.0f}",
            f"{olds.median:.0f}",
            f"{ratio.median:.2f}",
            f"{ratio.quarter:.2f}..{ratio.three_quarters:.2f}",
        )
        for name, (news, olds, ratio) in results.items()
    ]
    what = "What a hit takes" if options.hits else "What a fill adds"
    print(
        table(
            f"{what}, in {options.source} and in {options.against}",
            ("kind", "", "ns", "ns there", "times", "quartiles"),
            rows,
        )
    )
    missed = [name for name, (_, _, ratio) in results.items() if ratio.median > options.bound]
    if missed:
        print(f"\nover {options.bound} times:", *missed, sep="\n  ")
    return 1 if options.check and missed else 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fill", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--against", type=_folder, metavar="SRC", help="the folder of the other tree that holds areole/"
    )
    parser.add_argument("--source", type=_folder, default=OWN_SOURCE, metavar="SRC", help="in place of this checkout's")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--hits", action="store_true", help="compare hits instead")
    parser.add_argument("--bound", type=float, default=BOUND, help=f"what counts as missed (default: {BOUND})")
    parser.add_argument("--check", action="store_true", help="exit status 1 if a kind is over the bound")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _folder(text: str) -> Path:
    return Path(text).resolve()


if __name__ == "__main__":
    sys.exit(main())
