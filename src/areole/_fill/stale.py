"""StaleServing: what a lookup of a resilient cache does beside filling, whether a thread or a task asks.

Such a lookup has passed the `deadline` of an entry, or found none. By the moments of the entry (see resilience):

    live, to be refreshed   it asks for a background fill, and returns the value
    stale                   the same; with fail_safe it fills, or waits, and has the stale value to fall back on
    of no use, or none      it fills, or waits

A background fill is a refresh: a flight whose entry takes the place of the old one, and shows the old value until there
is a new one. What is refreshed is *this* entry: the claim is made when the fill begins, by `replace_if`. So

  - At most one background fill per key runs: of several that were asked for, one finds its entry still in the index.
  - An invalidation, a `set`, a `clear` before it begins removes that entry, and the fill is not made. One that comes
    later removes the entry of the flight, and its value is stored nowhere (invariants 3, 9).

What failed is not tried again for a while (`throttle_seconds`), if a value can be served meanwhile. A fallback looks
the key up again: what it serves is in the index then, and so neither invalidated nor older than the newest there is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from .._core.entry import Empty, Entry
from .._core.flight import Flight
from .._core.sources import note_source
from .._platform.locks import run_locked
from ..errors import FillTimeout
from .protocol import Fills
from .resilience import StaleRules
from .rules import Claim, FillRules

__all__ = ["StaleServing", "throttle"]

_log = logging.getLogger("areole")


class StaleServing:
    """One lookup that may be served a stale value; or one refresh, which may not, and which counts as no lookup.

    `fills` are a ThreadFills or a TaskFills: they have `refresh_behind`, and `claim_in_worker`.
    """

    __slots__ = (
        "_call",
        "_fills",
        "_followed",
        "_had_fallback",
        "_is_counted",
        "_is_refresh",
        "_key",
        "_rules",
        "_stale",
        "now",
        "value",
    )

    def __init__(
        self,
        fills: Any,
        key: Any,
        call: Callable[[], Any],
        rules: FillRules,
        stale: StaleRules,
        is_refresh: bool = False,
    ) -> None:
        self._fills = fills
        self._key = key
        self._call = call
        self._rules = rules
        self._stale = stale
        self._is_refresh = is_refresh
        self._is_counted = is_refresh  # with fail_safe, only its end tells whether it is a miss
        self._followed: Flight | None = None  # its own flight, or the one that it waits for
        self._had_fallback = False
        self.now = 0.0
        """The clock's reading of this turn: when the fill began, where this lookup leads."""
        self.value: Any = Empty
        """What `can_serve_instead` has found."""

    def try_without_waiting(self, now: float | None) -> Any:
        """Return a value that there is to be served without waiting, or Empty; if it is stale, or due, refresh it.

        The clock is read here, unless the failed hit has (`now`), and not again before the wait: it may raise, and
        nothing comes between a claim that is won and its end.
        """
        self.now = now = self._fills.state.clock() if now is None else now
        entry = None if self._is_refresh else self._fills.state.find(self._key)
        if entry is None or entry.times is None:
            return Empty
        stale = self._stale
        flight = entry.flight  # before the moments, as in entry: they are final without
        deadline, times = entry.deadline, entry.times
        is_live = entry.is_live(now)
        if times is None or not (is_live or stale.serves_stale(entry, now)):
            return Empty
        if times.throttled_until <= now and (not is_live or stale.is_due(deadline, times, now)):
            if flight is None:
                self._fills.refresh_behind(entry, self._call, self._rules)
            elif flight.is_orphaned:
                self._fills.detach(flight)  # it settled meanwhile, or was interrupted, or left behind by a fork
        return self._read(entry, is_live)

    def _read(self, entry: Entry, is_live: bool) -> Any:
        """Return the value of `entry`, and count this lookup."""
        state, value = self._fills.state, entry.value
        if not is_live and self._rules.tier is not None:
            note_source(state.name, self._key, "stale")
        if not self._is_counted:
            self._is_counted = True
            if not is_live:
                state.counters.stale_hits.increment_and_get()
            elif state.on_hit is not None:
                state.on_hit(entry)
        return value

    def claim(self, flight: Flight, in_worker: bool = True) -> Claim:
        """Claim as `Fills` does, here or in a thread of the pool."""
        fills, stale = self._fills, self._stale
        self._had_fallback = False
        if self._is_refresh:
            claim: Callable[[Flight], Claim] = fills.claim_refresh
        else:
            claim = partial(fills.claim, now=self.now, stale=stale, is_counted=self._is_counted)
        found = None
        if in_worker and stale.has_timeouts:
            found = fills.claim_in_worker(flight, claim, self._call, self._rules)
        found = claim(flight) if found is None else found
        self._followed = flight.joined or flight
        if found is Claim.HIT or not (stale.fail_safe or found is Claim.LOOK_AGAIN):
            self._is_counted = True
        return found

    def patience(self) -> float | None:
        """Return for how many seconds to wait; None: what the cache says."""
        followed, stale = self._followed, self._stale
        if stale.fail_safe and not self._is_refresh and followed is not None and followed.old is not None:
            self._had_fallback = followed.entry.is_usable(self.now)
        return stale.patience(self._had_fallback)

    def drop_flights(self) -> None:
        """Release what may lead to an exception whose traceback leads to this."""
        self._followed = None

    def has_result(self, value: Any) -> Any:
        """Count this lookup, which got `value` from a fill, as a miss, unless it was counted, or is to look again."""
        if value is not Empty:
            self._count_miss()
        return value

    def _count_miss(self) -> None:
        if not self._is_counted:
            self._is_counted = True
            self._fills.state.counters.misses.increment_and_get()

    def can_serve_instead(self, error: BaseException) -> bool:
        """Say whether to serve `value`, or (Empty) to look again, where filling or waiting raised `error`.

        A lookup that has given up a wait early, as there was a stale value, looks again where that is gone. That the
        fill has ended since does not matter:

            1. a lookup gives up      2. the fill ends      3. its value is invalidated: there is nothing to serve
        """
        followed = self._followed
        try:
            if followed is None or not self._stale.fail_safe or self._is_refresh:
                return False
            is_late = followed.is_pending
            # A wait that would never end is the program's fault, whatever there is to serve.
            if isinstance(error, FillTimeout if is_late else Exception):
                self.value = self._fall_back(is_late)
                # The fill itself may raise one, of another cache.
                gave_up = isinstance(error, FillTimeout) and not isinstance(followed.error, FillTimeout)
                if self.value is not Empty or (gave_up and self._had_fallback):
                    return True
            self._count_miss()
            return False
        finally:
            del followed, error

    def _fall_back(self, is_late: bool) -> Any:
        """Return the value that may be served now in the place of one that did not come, or Empty."""
        state = self._fills.state
        entry, now = state.find(self._key), state.clock()
        if entry is None or not entry.is_usable(now):
            return Empty
        times = entry.times
        if is_late and times is not None:  # until then nobody waits for the fill that is so slow
            times.throttled_until = now + self._stale.throttle_seconds
        return self._read(entry, entry.is_live(now))


def throttle(fills: Fills, flight: Flight, stale: StaleRules | None) -> None:
    """Have the old value of a failed refresh served without another one for a while, and log the failure.

    Only its type: a message or a traceback may show keys and values.
    """
    if stale is None or flight.old is None or flight.value is not Empty:
        return
    state = fills.state
    with suppress(Exception):  # from the clock; what counts is the error of the fill
        entry: Any = flight.entry
        run_locked(state.index.lock, entry.throttle, state.clock() + stale.throttle_seconds)
    _log.warning("%s: a refresh raised %s", state.name, type(flight.error).__name__)
