"""There can be thousands of caches, and they are freed when they are dropped.

Asks: 3,000 caches, one key in each; then all are dropped.
Survives: each works; there are no more than ten threads more; nine in ten of the values are no longer held afterwards.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

from ..contender import Contender
from ..outcome import Wrong
from ..tools import Effort, Tracked, alive, until


def run(contender: Contender, effort: Effort) -> str:
    references: list[weakref.ref[Any]] = []
    number = effort.count(3_000, least=1_100)
    before = threading.active_count()
    caches: list[Any] = []
    for i in range(number):
        caches.append(contender.cached(lambda key: Tracked(key, references)))
        if caches[-1].call(i).key != i:
            raise Wrong(f"cache {i} gives another key's value")
    if any(caches[i].call(i).key != i for i in range(number)):
        raise Wrong("a cache gives another's value")
    threads = threading.active_count() - before
    caches.clear()
    if not until(lambda: alive(references) <= number // 10, 2.0):
        held = f"{alive(references)} of {number:,} caches are held after the last use"
        raise Wrong(held + (f"; {threads} threads more" if threads > 10 else ""))
    if threads > 10:
        raise Wrong(f"{threads} threads more")
    return f"{number:,} caches"
