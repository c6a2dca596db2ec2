"""A cache that has been used, and what is to be exported of it."""

from __future__ import annotations

from contextlib import suppress

from areole import AtomicCache
from areole.testing import ManualClock

__all__ = ["NUMBERS", "used_cache"]

NUMBERS = {
    "hits": 1,
    "misses": 4,
    "waits": 0,
    "fills": 4,
    "fill_failures": 1,
    "stale_hits": 0,
    "background_fills": 0,
    "hung_fills": 0,
    "shared_hits": 0,
    "evictions evicted": 1,
    "evictions oversize": 1,
    "evictions expired": 0,
    "items": 1,
    "max_items": 1,
    "max_bytes": 1000,
}
"""Of `used_cache`: each number, by its name and, of an eviction, its cause; "bytes" is its `size_in_bytes`."""


def used_cache(name: str) -> AtomicCache[str, int]:
    """Return a cache that has found a value once, and filled four, of which one failed: each fill took 0.2 seconds."""
    clock = ManualClock()

    def fill(key: str) -> int:
        clock.advance(0.2)
        return int(key)

    cache = AtomicCache(
        fill, name=name, stats=True, clock=clock, max_items=1, max_bytes=1000, weigher=lambda key, value: value
    )
    for key in ("4", "4", "fails", "5", "2000"):
        with suppress(ValueError):
            cache[key]
    return cache
