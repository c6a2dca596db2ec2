"""Entry: one key's value.

An entry belongs to the leader that made it, who publishes it by its `deadline`, the last of its fields that a hit
depends on:

    state       value      deadline           flight
    pending     Empty      UNPUBLISHED        the running fill
    ready       a value    None or a reading  None
    refreshing  the old    the old            the running fill; then ready, with the new ones
    failed      Empty      UNPUBLISHED        the completed flight with the stored exception (`cache_exceptions`)

The atomic steps relied on: loading and storing one slot (see `locks`). A reader that sees a live deadline sees a
value, which was stored before it. An entry has one flight in its life, given at birth; a reader that decides that an
entry has *neither* value nor flight reads `flight` first and `deadline` after it, because the leader stores the
deadline first and `flight = None` after it. The other way round:

    1. a reader loads deadline: UNPUBLISHED    3. the reader loads flight: None
    2. the leader publishes, clears flight     4. "no flight, no value: an expired entry", and a fresh value is dropped.
"""

from __future__ import annotations

import functools
from math import inf
from typing import Any, Final, TypeAlias

from ..typing import RemovalCause

__all__ = [
    "UNPUBLISHED",
    "Empty",
    "Entry",
    "IdleTimes",
    "Removal",
    "StaleTimes",
    "StoredEntry",
    "TimedEntry",
    "noting_each_hit",
]

UNPUBLISHED: Final = -inf
"""The deadline of an entry without a value: in the past, whatever the clock says, so that a hit needs one look."""


Removal: TypeAlias = tuple[Any, Any, RemovalCause]
"""A key, the value that left, and why: the arguments of a removal listener."""


class Empty:
    """Stands for "no value". A class, and used as itself: classes are not reference-counted between threads."""


class StaleTimes:
    """The times of a value that may be served for longer than it is live, and how long its fill took.

    Each publication makes another one. All but the last two never change.
    """

    __slots__ = ("asked", "deadline", "expires", "stale_until", "throttled_until", "took")

    def __init__(self, deadline: float | None, expires: float, stale_until: float, took: float = 0.0) -> None:
        self.deadline = deadline  # from here on a lookup looks closer: the point of refreshing ahead, or `expires`
        self.expires = expires  # the end of the ttl
        self.stale_until = stale_until  # from here on it is of no use to anything
        self.took = took
        self.throttled_until = UNPUBLISHED  # after a failed or a slow fill: when the next one may be tried
        self.asked = 0  # the `fork.epoch` in which the pool was asked to refresh it; 0: it was not

    def of_successor(self, deadline: float | None) -> StaleTimes:
        """Return those of an entry that shows the same value."""
        return StaleTimes(deadline, self.expires, self.stale_until, self.took)

    def ended_at(self, deadline: float | None) -> StaleTimes:
        """Return those of the same value, which nothing is served after `deadline`."""
        end = inf if deadline is None else deadline
        return StaleTimes(deadline, end, end, self.took)


class IdleTimes(StaleTimes):
    """The times of a value that expires at `end`, or once nobody has read it for `idle` seconds.

    A hit stores `used`, and nothing else; so `expires` moves on, while the entry's `deadline` stays where it was. A hit
    past that looks closer, and moves it: under the index's lock, as an entry whose value is gone must not get another
    deadline. Two hits may store `used` in either order: then `expires` is early by the time between them.
    """

    __slots__ = ("end", "idle", "used")

    def __init__(self, end: float | None, used: float, idle: float) -> None:
        self.end = inf if end is None else end
        self.used = used
        self.idle = idle
        self.took = 0.0
        self.throttled_until = UNPUBLISHED
        self.asked = 0

    @property
    def expires(self) -> float:  # type: ignore[override]
        return min(self.end, self.used + self.idle)

    deadline = stale_until = expires

    def of_successor(self, deadline: float | None) -> StaleTimes:
        return IdleTimes(self.end, self.used, self.idle)

    def ended_at(self, deadline: float | None) -> StaleTimes:
        return IdleTimes(deadline, self.used, self.idle)


class Entry:
    """What an index holds for a key."""

    __slots__ = ("__weakref__", "deadline", "flight", "key", "value")
    # Weak references are for `_state.tags`. In all entries, as hits that meet two types of entries take a third longer.
    is_plain = True
    """Whether its first value is published by two stores, and no index need know."""
    times: StaleTimes | None = None
    """Of a value that was filled under a Resilience; only a TimedEntry has some."""

    def __init__(self, key: Any, flight: Any = None) -> None:
        self.key = key
        self.value: Any = Empty
        self.deadline: float | None = UNPUBLISHED
        self.flight = flight  # a Flight, or None

    @property
    def is_published(self) -> bool:
        return self.deadline != UNPUBLISHED

    @property
    def expires(self) -> float | None:
        """The end of the ttl."""
        return self.deadline

    @property
    def stale_until(self) -> float | None:
        return self.deadline

    def is_live(self, now: float) -> bool:
        """Say whether there is a value to be read; an entry has expired at exactly its deadline."""
        deadline = self.deadline
        return deadline is None or deadline > now

    def is_usable(self, now: float) -> bool:
        """Say whether the value may still be served by anything; until then nobody drops it."""
        return self.is_live(now)

    def publish(self, value: Any, deadline: Any) -> None:
        self.value = value
        self.deadline = deadline  # from here on the entry is a hit

    def carry_over(self, old: Entry) -> None:
        """Show the value of `old`, a ready entry that this one is to replace, for as long as it counts."""
        self.key, self.value, self.deadline = old.key, old.value, old.expires

    def expire_at(self, deadline: float | None) -> None:
        self.deadline = deadline


class TimedEntry(Entry):
    """An entry whose value may have StaleTimes.

    A writer stores `times` before `deadline`; a reader of both loads them in the opposite order. So the deadline of one
    publication is never seen with the times of an earlier one.
    """

    __slots__ = ("times",)
    is_plain = False
    times: StaleTimes | None

    def __init__(self, key: Any, flight: Any = None) -> None:
        super().__init__(key, flight)
        self.times = None

    @property
    def expires(self) -> float | None:
        deadline, times = self.deadline, self.times
        return deadline if times is None else times.expires

    @property
    def stale_until(self) -> float | None:
        deadline, times = self.deadline, self.times
        return deadline if times is None else times.stale_until

    def is_live(self, now: float) -> bool:
        expires = self.expires
        return expires is None or expires > now

    def is_usable(self, now: float) -> bool:
        until = self.stale_until
        return until is None or until > now

    def publish(self, value: Any, deadline: Any) -> None:
        """Publish `value`; `deadline` is a number or None, or StaleTimes."""
        self.value = value
        has_times = isinstance(deadline, StaleTimes)
        self.times, self.deadline = (deadline, deadline.deadline) if has_times else (None, deadline)

    def carry_over(self, old: Entry) -> None:
        if old.times is not None:
            self.times = old.times.of_successor(old.deadline)
        super().carry_over(old)

    def expire_at(self, deadline: float | None) -> None:
        """Change the end of the ttl, which nothing is served after."""
        if self.times is not None:
            self.times = self.times.ended_at(deadline)
            deadline = self.times.deadline
        self.deadline = deadline

    def make_stale(self, now: float) -> bool:
        """End the ttl, and leave the stale time, of a ready value that has one; under the index's lock."""
        if self.flight is not None or self.times is None:
            return False
        self.times = StaleTimes(now, min(now, self.times.expires), self.times.stale_until, self.times.took)
        self.deadline = now
        return True

    def look_again_later(self) -> None:
        """Let a value that was read meanwhile be a hit until its IdleTimes end; under the index's lock."""
        if self.times is not None and self.is_published:
            self.deadline = self.times.expires

    def throttle(self, until: float) -> None:
        """Have no fill begun before `until`, unless the ttl ends; under the index's lock, as `expire_at` is."""
        if self.times is not None:
            self.times.throttled_until = until
            if self.deadline is not None:
                self.deadline = min(until, self.times.expires)


class StoredEntry(TimedEntry):
    """An entry of a store with limits; what follows the key is the index's, and is written under its lock.

    Each policy's own makes all of it in one `__init__`: calls of others up the line would cost more than the rest.
    """

    __slots__ = ("expiry", "hash", "is_stored", "needs_access", "weight")
    needs_access: bool | None  # False or None: the policy has no use for more hits, until it says so again
    hash: (
        Any  # of the key, an int where it is needed: set before the lock is taken, under which none should have to run
    )
    weight: int
    is_stored: bool
    expiry: list[Any] | None  # its slip among those that expire, see deadline_queue; None: it never does


@functools.cache
def noting_each_hit(kind: type) -> Any:
    """Return the same kind of entry, for a store that is to be called at each hit, whatever its policy needs."""
    always = property(lambda entry: True, lambda entry, needs: None)
    return type(kind.__name__, (kind,), {"__slots__": (), "needs_access": always})
