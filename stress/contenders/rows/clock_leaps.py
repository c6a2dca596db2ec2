"""A clock that leaps and goes back does no harm.

Asks: under a ttl of 10 s the clock (given to the cache, or that function of `time` which it reads) leaps ten years
ahead, goes back by an hour, and leaps again.
Survives: every value is the key's own; after each leap ahead it is a new one; nothing raises.
"""

from __future__ import annotations

import time
from typing import Any

from ..contender import Contender
from ..outcome import NotOffered, Wrong
from ..tools import Effort

TEN_YEARS = 10 * 365 * 86400.0


class Clock:
    def __init__(self) -> None:
        self.offset = 0.0
        self._real = time.monotonic

    def __call__(self) -> float:
        return self._real() + self.offset

    def nanoseconds(self) -> int:
        return int(self() * 1e9)


def run(contender: Contender, effort: Effort) -> str:
    contender.require("ttl")
    clock, options = Clock(), {}
    if "clock" in contender.features:
        options["clock"] = clock
    elif contender.clock_name is None:
        raise NotOffered("a clock that can be set from Python")
    calls: list[Any] = []

    def fill(key: Any) -> Any:
        calls.append(key)
        return key, len(calls)

    if contender.clock_name is not None and not options:
        ours = clock.nanoseconds if contender.clock_name.endswith("_ns") else clock
        setattr(time, contender.clock_name, ours)
    cached = contender.cached(fill, ttl=10.0, **options)
    if cached.call(1) != cached.call(1):
        raise Wrong("a value is filled twice while the clock stands")
    for leap, is_ahead in ((TEN_YEARS, True), (-3600.0, False), (TEN_YEARS, True), (3600.0, True)):
        _leap(cached, clock, leap, is_ahead, calls)
    return "given" if options else f"time.{contender.clock_name} replaced"


def _leap(cached: Any, clock: Clock, leap: float, is_ahead: bool, calls: list[Any]) -> None:
    before = len(calls)
    clock.offset += leap
    for key in (1, 2, 1):
        if cached.call(key)[0] != key:
            raise Wrong("another key's value")
    if is_ahead and calls[before:].count(1) != 1:
        raise Wrong(f"{calls[before:].count(1)} fills of a key whose ttl has passed, where one is right")
