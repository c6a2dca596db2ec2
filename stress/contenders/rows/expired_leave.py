"""Expired values are freed.

Asks: 2,000 keys are filled under a small ttl, and expire; then 2,000 others are filled, and what the documentation
offers for dropping expired entries is called, for up to some seconds.
Survives: nine in ten of the old values are no longer held.
"""

from __future__ import annotations

import time
import weakref
from typing import Any

from ..contender import Contender
from ..outcome import Wrong
from ..tools import Effort, Tracked, alive, until


def run(contender: Contender, effort: Effort) -> str:
    ttl = contender.least_ttl
    references: list[weakref.ref[Any]] = []
    cached = contender.cached(lambda key: Tracked(key, references), ttl=ttl)
    number = effort.count(2_000, least=500)
    for key in range(number):
        cached.call(key)
    old = references[:]
    time.sleep(ttl + 0.05)
    for key in range(number, 2 * number):
        cached.call(key)

    def have_left() -> bool:
        cached.tidy()
        return alive(old) <= number // 10

    if until(have_left, max(2.0, 3 * ttl)):
        return f"{alive(old)} of {number} still held"
    raise Wrong(f"{alive(old)} of {number} expired values still held")
