"""Measure hits with the accelerator beside the same without it and `functools.lru_cache`, in one process and in turn.

    python -m benchmarks.accelerator          about 20 seconds; --quick: a few

Two copies of areole are imported: one as it is, one with AREOLE_PURE=1. What counts is the ratios.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

LOOPS = 20_000


def import_both() -> tuple[Any, Any]:
    """Return areole as it is, and a second copy without the accelerator."""
    copies = []
    for pure in ("0", "1"):
        os.environ["AREOLE_PURE"] = pure
        for name in [name for name in sys.modules if name.partition(".")[0] == "areole"]:
            del sys.modules[name]
        copies.append(importlib.import_module("areole"))
        for name in copies[-1].__all__:  # each is imported when it is first asked for
            getattr(copies[-1], name)
    return copies[0], copies[1]


def same(key: Any) -> Any:
    return key


def same_of_three(key: Any, more: Any, most: Any) -> Any:
    return key


async def same_later(key: Any) -> Any:
    return key


def holder(decorate: Callable[..., Any]) -> Any:
    class Holder:
        @decorate
        def method(self, key: Any) -> Any:
            return key

    return Holder()


def statements(areole: Any) -> dict[str, tuple[str, Any]]:
    """Return what is timed of one copy: a statement, and what `x` is in it."""
    memoize, cache = areole.AtomicCache.memoize, areole.AtomicCache
    stores = [
        areole.Storage(max_items=100),
        areole.Storage(max_items=100, policy="s3fifo"),
        areole.Storage(max_items=100, default_ttl=60),
    ]
    for store in stores:
        store.set(1, b"1")
    filled = cache(same)
    filled[1]
    return {
        "f(k)": ("x(1)", memoize(same)),
        "f(k), ttl": ("x(1)", memoize(same, ttl=60)),
        "f(k), s3fifo": ("x(1)", memoize(same, max_items=100)),
        "f(k), lru": ("x(1)", memoize(same, max_items=100, policy="lru")),
        "f(k), stats": ("x(1)", memoize(same, stats=True)),
        "f(k, 1, 2)": ("x(1, 2, 3)", memoize(same_of_three)),
        "f(k, b=1, c=2)": ("x(1, more=2, most=3)", memoize(same_of_three)),
        "obj.m(k)": ("x.method(1)", holder(memoize)),
        "await f(k)": ("await x(1)", memoize(same_later)),
        "cache[k]": ("x[1]", cache(same)),
        "cache[k], ttl": ("x[1]", cache(same, ttl=60)),
        "cache.get(k)": ("x.get(1)", filled),
        "Storage.get, lru": ("x.get(1)", stores[0]),
        "Storage.get, s3fifo": ("x.get(1)", stores[1]),
        "Storage.get, ttl": ("x.get(1)", stores[2]),
    }


def others() -> dict[str, tuple[str, Any]]:
    found = {
        "lru_cache f(k)": ("x(1)", functools.lru_cache(None)(same)),
        "lru_cache f(k), bounded": ("x(1)", functools.lru_cache(100)(same)),
        "lru_cache f(k, 1, 2)": ("x(1, 2, 3)", functools.lru_cache(None)(same_of_three)),
        "lru_cache f(k, b=1, c=2)": ("x(1, more=2, most=3)", functools.lru_cache(None)(same_of_three)),
        "lru_cache obj.m(k)": ("x.method(1)", holder(functools.lru_cache(None))),
        "bare await f(k)": ("await x(1)", same_later),
        "dict.__getitem__": ("x(1)", {1: 1}.__getitem__),
    }
    try:
        cachebox = importlib.import_module("cachebox")
    except ImportError:
        return found
    caches = {"cachebox LRU get": cachebox.LRUCache(100), "cachebox TTL get": cachebox.TTLCache(100, 60)}
    for cache in caches.values():
        cache[1] = b"1"
    return found | {name: ("x.get(1)", cache) for name, cache in caches.items()}


BESIDE = {
    "f(k, 1, 2)": "lru_cache f(k, 1, 2)",
    "f(k, b=1, c=2)": "lru_cache f(k, b=1, c=2)",
    "f(k), s3fifo": "lru_cache f(k), bounded",
    "f(k), lru": "lru_cache f(k), bounded",
    "obj.m(k)": "lru_cache obj.m(k)",
    "await f(k)": "bare await f(k)",
    "Storage.get, lru": "cachebox LRU get",
    "Storage.get, s3fifo": "cachebox LRU get",
    "Storage.get, ttl": "cachebox TTL get",
}


def timer_of(statement: str, x: Any) -> Callable[[], float]:
    """Return what times one round, in nanoseconds per statement; `x` is a local variable, and the key a constant."""
    kind = "async def" if "await" in statement else "def"
    step = f"    for _ in repeat(None, r): {statement}\n"  # a loop that makes no numbers
    source = f"{kind} run(x, r, clock):\n    {statement}\n    start = clock()\n{step}    return clock() - start\n"
    names: dict[str, Any] = {"repeat": itertools.repeat}
    exec(source, names)
    call = functools.partial(names["run"], x, LOOPS, time.perf_counter_ns)
    return (lambda: asyncio.run(call()) / LOOPS) if kind != "def" else lambda: call() / LOOPS


def measure(rows: dict[str, tuple[str, Any]], rounds: int) -> dict[str, float]:
    """Time all rows in turn; the smallest of the rounds is what disturbs least."""
    timers = {name: timer_of(*row) for name, row in rows.items()}
    best = dict.fromkeys(timers, float("inf"))
    for _ in range(rounds):
        for name, timer in timers.items():
            best[name] = min(best[name], timer())
    return best


def calls_a_second(function: Callable[[int], Any], number: int, is_hot: bool) -> float:
    """Return how many million calls a second so many threads make, each on a thousand keys of its own, or on one."""
    start = threading.Barrier(number)
    took: list[float] = []

    def work(first: int) -> None:
        keys = [0] * 1000 if is_hot else list(range(first, first + 1000))
        call = function
        for key in keys:
            call(key)
        start.wait()
        begin = time.perf_counter()
        for _ in range(200):
            for key in keys:
                call(key)
        took.append(time.perf_counter() - begin)

    threads = [threading.Thread(target=work, args=(each * 5000,)) for each in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return number * 0.2 / max(took)


def main() -> None:
    rounds = 5 if "--quick" in sys.argv else 20
    fast, pure = import_both()
    print(sys.version.split()[0], "accelerated" if fast.accelerated else "the accelerator is not there")
    rows = {("", name): row for name, row in others().items()}
    rows |= {("fast", name): row for name, row in statements(fast).items()}
    rows |= {("pure", name): row for name, row in statements(pure).items()}
    best: Any = measure(rows, rounds)  # type: ignore[arg-type]
    print(f"{'ns':24} {'accelerated':>12} {'pure':>8} {'beside':>8}   accelerated / pure, / beside")
    for name in statements(fast):
        beside = best.get(("", BESIDE.get(name, "lru_cache f(k)")), float("nan"))
        a, b = best["fast", name], best["pure", name]
        print(f"{name:24} {a:12.1f} {b:8.1f} {beside:8.1f}   {a / b:.2f}  {a / beside:.2f}")
    print(f"dict.__getitem__ {best['', 'dict.__getitem__']:.1f}")
    functions = {
        "accelerated": fast.AtomicCache.memoize(same),
        "pure": pure.AtomicCache.memoize(same),
        "lru_cache": functools.lru_cache(None)(same),
    }
    for what, number, is_hot in (("1 thread", 1, False), ("2 threads", 2, False), ("2 threads, one key", 2, True)):
        most = dict.fromkeys(functions, 0.0)
        for _ in range(max(3, rounds // 3)):
            for name, function in functions.items():
                most[name] = max(most[name], calls_a_second(function, number, is_hot))
        print(f"{what}, million calls a second:", ", ".join(f"{name} {rate:.1f}" for name, rate in most.items()))


if __name__ == "__main__":
    main()
