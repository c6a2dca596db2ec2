"""Keys that were removed leave no memory behind.

Asks: four rounds of 50,000 distinct keys each, filled, and removed again one by one (or by clearing, or evicted by a
limit of 1,000 items).
Survives: the rounds after the first add less than half of what the first took, all three together; in a short run 4 MB
are granted besides, for what an allocator keeps in pieces does not shrink with the number of keys.
"""

from __future__ import annotations

from typing import Any

from ..contender import Contender
from ..outcome import Wrong
from ..tools import Effort, resident_bytes

ROUNDS = 4
GRANTED = 4_000_000
"""Bytes. areole on 3.11: +3.1 MB was seen in a short run, and none that goes on: rounds 2 to 16 add nothing."""


def run(contender: Contender, effort: Effort) -> str:
    cached = contender.cached(_value_of)
    removes = cached.offers("invalidate")
    if not removes and not cached.offers("clear"):
        cached = contender.cached(_value_of, max_items=1_000)
    number = effort.count(50_000, least=20_000)
    start, peak, ends = resident_bytes(), 0, []
    for each in range(ROUNDS):
        keys = range(each * number, (each + 1) * number)
        for key in keys:
            cached.call(key)
        peak = peak or resident_bytes()
        for key in keys if removes else ():
            cached.invalidate(key)
        if not removes and cached.offers("clear"):
            cached.clear()
        ends.append(resident_bytes())
    taken, added = max(peak - start, 1_000_000), ends[-1] - ends[0]
    reported = f"{added / 1e6:+.1f} MB after {ROUNDS - 1} more rounds; the first took {taken / 1e6:.1f} MB"
    if added > taken / 2 + (GRANTED if effort.scale < 1 else 0):
        raise Wrong(reported)
    return reported


def _value_of(key: Any) -> bytes:
    return bytes(100)
