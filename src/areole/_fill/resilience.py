"""Resilience: what a cache does to stay up when its fills fail, or take long.

A value that is filled under one has three moments by the cache's clock (see StaleTimes), so that a hit goes on
comparing one number, and costs what it costs without all this. A leader publishes them in the order value, times,
deadline. A reader loads the value last; so a reader that sees new times sees the new value, and old times with a new
value are the cautious way to be wrong.

After RFC 5861 (stale-while-revalidate, stale-if-error) and FusionCache (fail-safe, soft and hard timeouts, eager
refresh, throttling), by Jody Donetti.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from numbers import Real
from typing import Final, Literal

from .._core.entry import UNPUBLISHED, Entry, StaleTimes
from .._core.ttl import EXPIRED_AT_ONCE, as_float, seconds_of
from .._platform.arguments import check_plain, shown, suggests_names

__all__ = ["Resilience", "StaleRules", "stale_rules_of"]

THROTTLE_SECONDS: Final = 1.0
"""Seconds for which a failed fill is not tried again while a value can be served, where no `negative_ttl` says."""

LEAST_CHANCE: Final = 0.001
"""At what chance of a refresh the probabilistic form begins to draw; see `StaleRules.ahead`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resilience:
    """What a cache does when its fills fail or take long. All of it is off by default; times are seconds or timedeltas.

    Args:
        stale_ttl: for this long after its ttl a value may still be served. It is served without waiting, while one
            background fill per key refreshes it (in a daemon thread, or for a task in a task on its loop). Nothing
            older than ttl + stale_ttl is returned. `get`, `peek`, `in`, `len` and iteration never see a stale value.
        fail_safe: serve a stale value only as a fallback: the first lookup after the ttl fills, others wait with it,
            and all get the stale value if the fill raises an Exception, or takes longer than `soft_timeout`.
        soft_timeout: how long a lookup waits for a fill where there is a stale value. The fill goes on and is stored.
        hard_timeout: how long it waits where there is none, or no soft_timeout; then it raises FillTimeout, and the
            fill goes on. With either timeout fills run in threads of areole's, in the context of the lookup that began
            them.
        refresh_ahead: a fraction between 0 and 1: a lookup in that last part of the ttl starts a background fill.
            "xfetch": lookups start one at random, more likely the nearer the end is and the longer the last fill took
            (Vattani, Chierichetti, Lowenstein: "Optimal probabilistic cache stampede prevention", VLDB 2015).
        jitter: a fraction, 0 <= jitter < 1: each ttl is shortened at random by up to that part of it, so that entries
            that were filled together do not expire together.
        negative_ttl: how long a failure counts: `cache_exceptions` keeps it for this long (otherwise for the ttl), and
            where a stale value can be served, no other fill is tried (otherwise for one second).
        random: returns numbers x with 0 <= x < 1; for tests.

    Raises:
        TypeError, ValueError: for an argument; the message names it.
    """

    stale_ttl: float | timedelta | None = None
    fail_safe: bool = False
    soft_timeout: float | timedelta | None = None
    hard_timeout: float | timedelta | None = None
    refresh_ahead: float | Literal["xfetch"] | None = None
    jitter: float = 0.0
    negative_ttl: float | timedelta | None = None
    random: Callable[[], float] = random.random

    _rules: StaleRules = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_fractions(self.refresh_ahead, self.jitter)
        if not isinstance(self.fail_safe, bool):
            raise TypeError(f"fail_safe must be a bool, not {type(self.fail_safe).__name__}: stale_ttl says how long")
        check_plain("random", self.random)
        object.__setattr__(self, "_rules", StaleRules(self))
        self._check_together(self._rules)

    def _check_together(self, rules: StaleRules) -> None:
        if rules.fail_safe and rules.stale_ttl is None:
            raise ValueError("fail_safe needs a stale_ttl: for how long may a stale value be served?")
        if rules.soft_timeout is None:
            return
        if not rules.fail_safe:
            raise ValueError(
                "soft_timeout is for fail_safe, which waits for a fill before it serves a stale value: set fail_safe, "
                "or use hard_timeout"
            )
        if rules.hard_timeout is not None and rules.soft_timeout >= rules.hard_timeout:
            raise ValueError(f"soft_timeout must be less than hard_timeout, not {self.soft_timeout!r}")


Resilience.__init__ = suggests_names()(Resilience.__init__)  # type: ignore[method-assign]


class StaleRules:
    """What a Resilience comes to: its numbers, in seconds, and its rules."""

    def __init__(self, resilience: Resilience) -> None:
        self.stale_ttl = _span(resilience, "stale_ttl")
        self.soft_timeout = _span(resilience, "soft_timeout")
        self.hard_timeout = _span(resilience, "hard_timeout")
        self.negative_ttl = _span(resilience, "negative_ttl")
        self.fail_safe = resilience.fail_safe
        self.refresh_ahead = resilience.refresh_ahead
        self.jitter = float(resilience.jitter)
        self.random = resilience.random
        self.has_timeouts = self.soft_timeout is not None or self.hard_timeout is not None
        self.throttle_seconds = THROTTLE_SECONDS if self.negative_ttl is None else self.negative_ttl

    def check_ttl(self, ttl: object) -> None:
        """Raise ValueError if this is not for values that never expire."""
        for name in ("stale_ttl", "refresh_ahead", "jitter"):
            if ttl is None and getattr(self, name):
                raise ValueError(f"{name} needs a ttl: without one, values never expire")

    def check_cache(self, ttl: object, cache_exceptions: object, wait_timeout: object) -> None:
        """Raise ValueError if this is not for a cache with these arguments."""
        self.check_ttl(ttl)
        keeps_values = self.stale_ttl is not None or self.refresh_ahead is not None
        if self.negative_ttl is not None and not (keeps_values or cache_exceptions):
            raise ValueError("negative_ttl needs cache_exceptions, a stale_ttl or refresh_ahead: what is it for?")
        if self.hard_timeout is not None and wait_timeout is not None:
            raise ValueError("hard_timeout limits all waiting: leave out wait_timeout")

    def patience(self, has_stale: bool) -> float | None:
        """Return how many seconds a lookup waits for a fill; None: what the cache says."""
        return self.soft_timeout if has_stale and self.soft_timeout is not None else self.hard_timeout

    def times(self, seconds: float | None, began: float, now: float) -> StaleTimes | float | None:
        """Return the moments of a value whose fill began and ended then, and whose ttl is so many seconds."""
        if seconds in (UNPUBLISHED, EXPIRED_AT_ONCE):
            return seconds  # it is not to be stored: see `Fills.complete`
        took = now - began
        if seconds is None:
            return StaleTimes(None, math.inf, math.inf, took)
        if self.jitter:
            seconds = self.shortened(seconds)
        expires = now + seconds
        stale_until = expires if self.stale_ttl is None else expires + self.stale_ttl
        return StaleTimes(expires - self.ahead(seconds, took), expires, stale_until, took)

    def shortened(self, seconds: float) -> float:
        """Return a ttl, shortened by the jitter."""
        return seconds * (1 - self.jitter * self.random()) if self.jitter else seconds

    def ahead(self, seconds: float, took: float) -> float:
        """Return how many seconds before the end of the ttl a lookup is to look closer.

        XFetch draws at each read, and with it every hit would cost a random number and a logarithm. But a hit a long
        way from the end starts a fill almost never: where the chance is below LEAST_CHANCE it is taken for 0, and the
        draws begin at `-took * log(LEAST_CHANCE)` before the end. That is some 7 times as long as a fill takes, so that
        what is left out changes nothing for a cache that is read less than thousands of times in the time of one fill;
        if it is read more often, its fill begins there within some thousand hits, early enough all the same. To draw
        one moment a fill, and compare all hits with that, would be another thing: the chance that none of n reads has
        fired would not go down with n, and two fills in three would end after the value has expired.
        """
        if self.refresh_ahead is None or seconds == math.inf:
            return 0.0
        if isinstance(self.refresh_ahead, str):
            return max(0.0, -took * math.log(LEAST_CHANCE))
        return seconds * float(self.refresh_ahead)

    def serves_stale(self, entry: Entry, now: float) -> bool:
        """Say whether a lookup returns the value of `entry`, which is not live, without waiting for a fill.

        The lookup that serves and the claim that leaves the entry to it must go by this one rule. Where they had two:

            1. a call with fail_safe fails: no other fill before `throttled_until`
            2. a call with another Resilience, without stale_ttl: it may not serve the stale value
            3. its claim leaves the entry alone, because of `throttled_until`, for the lookup to serve    -- back to 2.
        """
        times = entry.times
        if self.stale_ttl is None or times is None or times.stale_until <= now:
            return False
        return not self.fail_safe or times.throttled_until > now

    def is_due(self, deadline: float | None, times: StaleTimes, now: float) -> bool:
        """Say whether a lookup of a live value with this deadline is to start a background fill."""
        if deadline is None or deadline > now:
            return False
        if self.refresh_ahead != "xfetch":
            return True
        return now - times.took * math.log(1 - self.random()) >= times.expires


def stale_rules_of(resilience: object) -> StaleRules:
    """Return the rules of a `resilience=`; TypeError, if it is none."""
    if not isinstance(resilience, Resilience):
        raise TypeError(f"resilience must be a Resilience or None, not {type(resilience).__name__}")
    return resilience._rules


def _span(resilience: Resilience, name: str) -> float | None:
    span = getattr(resilience, name)
    return None if span is None else seconds_of(span, name)


def _check_fractions(refresh_ahead: object, jitter: object) -> None:
    if refresh_ahead is not None and refresh_ahead != "xfetch":
        if isinstance(refresh_ahead, bool) or not isinstance(refresh_ahead, Real | str):
            kind = type(refresh_ahead).__name__
            raise TypeError(f'refresh_ahead must be a fraction between 0 and 1, "xfetch" or None, not {kind}')
        if isinstance(refresh_ahead, str) or not 0 < as_float(refresh_ahead) < 1:
            given = shown(refresh_ahead)
            raise ValueError(f'refresh_ahead must be a fraction between 0 and 1, or "xfetch", not {given}')
    if isinstance(jitter, bool) or not isinstance(jitter, Real):
        raise TypeError(f"jitter must be a fraction, 0 <= jitter < 1, not {type(jitter).__name__}")
    if not 0 <= as_float(jitter) < 1:
        raise ValueError(f"jitter must be a fraction, 0 <= jitter < 1, not {shown(jitter)}")
