"""Stale times across processes: what a lookup takes of a value in the store, and until when it is kept here.

What is filled under a Resilience is stored for its ttl and stale_ttl, and says for how many seconds before the store's
deadline it is stale. So it is fresh while the store's own time to live is above that, and no clocks are compared. A
lookup of a cache in front of the store comes here on a miss, or to refresh what is kept (see `_fill.stale`):

    in the store          nothing is kept here                  a copy is kept, and due or stale
    fresh                 taken                                 taken
    fresh, but due        taken, and due here at once           filled under the key's token
    stale                 taken as stale: all look again        the same
    nothing               filled                                filled

To "look again" is to find what was just kept here, as if it had become stale here, and to go by the rules of
`_fill.stale`: serve it and refresh it behind, or fill with it as a fallback.

  R1. Of several processes one refreshes a key behind: the one whose token stands. The others leave their copy as it is
      for a while, then look again, and find in the store what the first has filled, or take the token of one that died.
      With `fail_safe` a stale copy is not refreshed behind, and every process fills.
  R2. A value that is stale in the store is taken at most once for each copy that is kept here. Else a lookup that is to
      look again would find the same for ever: so not in a cache that would not keep it, as it is too large.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

from .._core.entry import Entry, StaleTimes
from .._core.ttl import EXPIRED_AT_ONCE
from .._fill.resilience import StaleRules
from .outcome import Found

__all__ = ["Wanted", "times_of"]


class Wanted:
    """What a lookup in front of the store wants, by its rules and by what is kept here (`entry`)."""

    __slots__ = ("_fits", "_has_copy", "_took", "leaves", "rules")

    def __init__(self, rules: StaleRules, entry: Entry | None, now: float, fits: Callable[[Any, Any], bool]) -> None:
        times = None if entry is None or not entry.is_published else entry.times
        self.rules = rules
        self._has_copy = times is not None
        self._took = 0.0 if times is None else times.took
        self._fits = fits
        self.leaves = times is not None and (times.expires > now or not rules.fail_safe)
        """It refreshes behind, and leaves that to another process which does so."""

    @property
    def stale_ttl(self) -> float:
        return self.rules.stale_ttl or 0.0

    def takes(self, value: Any, raw: Any, seconds: float, ttl: Callable[[], float | None]) -> bool:
        """Say whether a value that is fresh for so many seconds is taken; below 0, it is stale since then."""
        if seconds <= 0:
            return not self._has_copy and seconds + self.stale_ttl > 0 and self._fits(value, raw)
        if not self.leaves or self.rules.refresh_ahead is None:
            return True
        whole = ttl()
        return seconds > self.rules.ahead(inf if whole is None else whole, self._took)


def times_of(
    rules: StaleRules, found: Found, whole: float | None, most: float, began: float, now: float
) -> StaleTimes | float:
    """Return the moments of a copy: `found` is fresh for so many seconds, and of use for `left`.

    `whole` is its ttl in the store, and a copy is fresh for `most` seconds.
    """
    left = inf if found.left is None else found.left
    if left <= 0:
        return EXPIRED_AT_ONCE
    fresh = inf if found.seconds is None else found.seconds
    took = now - began
    seconds = min(fresh, most)
    if found.source == "filled" and 0 < seconds < inf:
        seconds = rules.shortened(seconds)
    expires = now + seconds
    due = min(expires - rules.ahead(max(seconds, 0.0), took), now + fresh - rules.ahead(whole or inf, took))
    times = StaleTimes(due, expires, min(now + left, expires + (rules.stale_ttl or 0.0)), took)
    if found.is_left:
        times.throttled_until = now + rules.throttle_seconds
        times.deadline = min(times.throttled_until, expires)
    return times
