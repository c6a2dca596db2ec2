"""Measure what noting a hit costs an exact lru: the ways that there are, each in a function that does nothing else.

    python -m benchmarks.lru_note             about 5 seconds

Each is compiled with globals of its own, as the wrappers of `memoize` are, and is no method: less than `Storage.get`
has to do. The last column is atomic_lru's `get` over it, of which issue 3 wants 4.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from itertools import count
from statistics import median
from typing import Any

from .contenders import GET, AtomicLru
from .measure import make_block

KEYS = 1000
ROUNDS = 101
PASSES = 4

WAYS = {
    "no note": "return entry.value",
    "the next number, by a call": "entry.last_used = tick(); return entry.value",
    "the next number, by a loop": "for entry.last_used in ticks: return entry.value",
    "the clock's reading": "entry.last_used = clock(); return entry.value",
    "appended to a log, which nobody empties": "log(entry); return entry.value",
}

_GET = """
def get(key, default=None):
    try:
        entry = entries[key]
        {way}
    except KeyError:
        return default
"""

_LOOP = """
def loop(get, keys):
    for k in keys:
        get(k)
"""


class Entry:
    __slots__ = ("last_used", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self.last_used = 0


def make_get(way: str, keys: list[int]) -> Callable[[Any], Any]:
    ticks = count(1)
    names = {"entries": {key: Entry(key) for key in keys}, "ticks": ticks, "tick": ticks.__next__}
    names |= {"clock": time.perf_counter_ns, "log": deque[Any](maxlen=10 * len(keys)).append}
    exec(_GET.format(way=way), names)
    get: Any = names["get"]
    return get  # type: ignore[no-any-return]


def make_loop() -> Callable[[Any, list[int]], None]:
    """Return a loop with bytecode of its own: the interpreter adapts it to what it calls."""
    names: dict[str, Any] = {}
    exec(_LOOP, names)
    return names["loop"]  # type: ignore[no-any-return]


def measure(gets: dict[str, Callable[[Any], Any]], keys: list[int]) -> dict[str, float]:
    """Return medians in nanoseconds a hit; each round measures every way once."""
    loops = {name: make_loop() for name in gets}
    found: dict[str, list[float]] = {name: [] for name in gets}
    for _ in range(ROUNDS):
        for name, get in gets.items():
            began = time.perf_counter()
            for _ in range(PASSES):
                loops[name](get, keys)
            found[name].append((time.perf_counter() - began) / PASSES / len(keys) * 1e9)
    return {name: median(each[1:]) for name, each in found.items()}  # the first warms up


def main() -> int:
    keys = list(make_block(0, KEYS))
    gets = {name: make_get(way, keys) for name, way in WAYS.items()}
    peer = AtomicLru(2 * KEYS)
    if peer.version() is not None:
        store = peer.make(GET)
        peer.warm(GET, store, keys)
        gets["atomic_lru"] = store.get
    medians = measure(gets, keys)
    for name, ns in medians.items():
        ratio = f"{medians['atomic_lru'] / ns:6.2f}" if "atomic_lru" in medians else ""
        print(f"{name:<42}{ns:6.0f} ns{ratio}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
