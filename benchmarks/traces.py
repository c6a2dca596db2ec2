"""Synthetic traces: sequences of keys, made from a seed, with nothing but the standard library."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate, islice

__all__ = ["TRACES", "Trace"]

Keys = list[int]

SCAN_SHARE = 0.3  # of all requests, in "zipf with scans"
SCAN_LENGTH = 2.0  # in caches
LOOP_LENGTH = 1.1  # in caches
SHIFTS = 10  # how often popularity is dealt again


@dataclass(frozen=True, slots=True)
class Trace:
    """A kind of trace; `make(requests, keys, cache, seed)` makes one over so many keys, for a cache of that size."""

    name: str
    make: Callable[[int, int, int, int], Keys]


def _zipf(skew: float) -> Callable[[int, int, int, int], Keys]:
    """Requests drawn one by one; the key of rank r has a chance proportional to r ** -skew."""

    def make(requests: int, keys: int, cache: int, seed: int) -> Keys:
        chance = random.Random(f"{seed} zipf {skew}")
        weights = list(accumulate(rank**-skew for rank in range(1, keys + 1)))
        names = _shuffled(keys, chance)
        return [names[rank] for rank in chance.choices(range(keys), cum_weights=weights, k=requests)]

    return make


def _shuffled(keys: int, chance: random.Random) -> Keys:
    names = list(range(keys))
    chance.shuffle(names)
    return names


def _zipf_with_scans(requests: int, keys: int, cache: int, seed: int) -> Keys:
    """Zipf 1.0, interrupted by scans: runs of keys that were never asked for before and never will be again."""
    chance = random.Random(f"{seed} scans")
    zipf = iter(_zipf(1.0)(requests, keys, cache, seed))
    scan = max(1, int(SCAN_LENGTH * cache))
    between = int(scan * (1 - SCAN_SHARE) / SCAN_SHARE)
    trace: Keys = []
    fresh = keys
    while len(trace) < requests:
        trace += islice(zipf, chance.randint(between // 2, between * 3 // 2))
        trace += range(fresh, fresh + scan)
        fresh += scan
    return trace[:requests]


def _loop(requests: int, keys: int, cache: int, seed: int) -> Keys:
    """The same keys in the same order again and again, one in ten more than the cache holds."""
    length = int(LOOP_LENGTH * cache)
    return [i % length for i in range(requests)]


def _shifting(requests: int, keys: int, cache: int, seed: int) -> Keys:
    """Zipf 1.0, in which which key has which rank is dealt again now and then."""
    chance = random.Random(f"{seed} shifting")
    trace: Keys = []
    for ranks in _parts(_zipf(1.0)(requests, keys, cache, seed), SHIFTS):
        names = _shuffled(keys, chance)
        trace += [names[rank] for rank in ranks]
    return trace


def _parts(items: Keys, count: int) -> list[Keys]:
    size = -(-len(items) // count)
    return [items[start : start + size] for start in range(0, len(items), size)]


TRACES = (
    Trace("zipf 0.8", _zipf(0.8)),
    Trace("zipf 1.0", _zipf(1.0)),
    Trace("zipf 1.2", _zipf(1.2)),
    Trace("zipf 1.0 with scans", _zipf_with_scans),
    Trace("loop", _loop),
    Trace("shifting popularity", _shifting),
)
