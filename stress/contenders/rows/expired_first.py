"""Expired entries are removed before live ones are evicted.

Asks: a cache of 10 items holds 5 without a ttl and, newer, 5 that have expired; 5 more come.
Survives: the 5 that live are all still there.
"""

from __future__ import annotations

import time

from ..contender import Contender
from ..outcome import Wrong
from ..tools import Effort


def run(contender: Contender, effort: Effort) -> str:
    contender.require("item_ttl")
    cached = contender.cached(lambda key: "filled", max_items=10)
    for i in range(5):
        cached.store(i, "lives")
    for i in range(5, 10):
        cached.store(i, "expires", contender.least_ttl)
    time.sleep(contender.least_ttl + 0.05)
    for i in range(10, 15):
        cached.store(i, "new")
    left = sum(cached.contains(i) for i in range(5))
    if left < 5:
        raise Wrong(f"{5 - left} of 5 live ones were evicted")
    return ""
