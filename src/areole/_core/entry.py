"""Entry: one key's value.

An entry belongs to the leader that made it, who publishes it by its `deadline`, the last of its fields that a hit
depends on:

    state       value      deadline           flight
    pending     Empty      NOT_YET            the fill that is on its way
    ready       a value    None or a reading  None
    refreshing  the old    the old            the fill that is on its way; then ready, with the new ones
    failed      Empty      NOT_YET            the settled flight with the stored exception (`cache_exceptions`)

The atomic steps relied on: loading and storing one slot (see `_locks`). A reader that sees a live deadline sees a
value, which was stored before it. An entry has one flight in its life, given at birth; a reader that decides that an
entry has *neither* value nor flight reads `flight` first and `deadline` after it, because the leader stores the
deadline first and `flight = None` after it. The other way round:

    1. a reader loads deadline: NOT_YET        3. the reader loads flight: None
    2. the leader publishes, clears flight     4. "no flight, no value: an expired entry", and a fresh value is dropped.
"""

from __future__ import annotations

from math import inf
from typing import Any, Final, TypeAlias

from ..typing import RemovalCause

__all__ = ["NOT_YET", "Empty", "Entry", "Removal", "StoredEntry"]

NOT_YET: Final = -inf
"""The deadline of an entry without a value: in the past, whatever the clock says, so that a hit needs one look."""


Removal: TypeAlias = tuple[Any, Any, RemovalCause]
"""A key, the value that left, and why: the arguments of a removal listener."""


class Empty:
    """Stands for "no value". A class, and used as itself: classes are not reference-counted between threads."""


class Entry:
    """What an index holds for a key."""

    __slots__ = ("deadline", "flight", "key", "value")
    is_plain = True
    """Whether its first value is published by two stores, and no index need know."""

    def __init__(self, key: Any, flight: Any = None) -> None:
        self.key = key
        self.value: Any = Empty
        self.deadline: float | None = NOT_YET
        self.flight = flight  # a Flight, or None

    @property
    def is_published(self) -> bool:
        return self.deadline != NOT_YET

    def is_live(self, now: float) -> bool:
        """Say whether there is a value to be read; an entry has expired at exactly its deadline."""
        deadline = self.deadline
        return deadline is None or deadline > now

    # What follows differs in the entries of resilient caches (see _resilience), whose values are of use for longer than
    # they are live.

    is_servable = is_live
    """Say whether the value may still be served by anything; until then nobody drops it."""

    @property
    def expires(self) -> float | None:
        """The end of the ttl."""
        return self.deadline

    @property
    def stale_until(self) -> float | None:
        return self.deadline

    def publish(self, value: Any, deadline: Any) -> None:
        self.value = value
        self.deadline = deadline  # from here on the entry is a hit

    def show(self, old: Entry) -> None:
        """Show the value of `old`, a ready entry whose place this one is to take, for as long as it counts."""
        self.key, self.value, self.deadline = old.key, old.value, old.expires

    def expire_at(self, deadline: float | None) -> None:
        self.deadline = deadline


class StoredEntry(Entry):
    """An entry of a store with limits; what follows the key is the index's, and is written under its lock.

    Each policy's own makes all of it in one `__init__`: calls of others up the line would cost more than the rest.
    """

    __slots__ = ("asks", "filing", "hash", "is_stored", "weight")
    is_plain = False
    asks: bool | None  # False or None: the policy has no use for more hits, until it says so again
    hash: (
        Any  # of the key, an int where it is needed: set before the lock is taken, under which none should have to run
    )
    weight: int
    is_stored: bool
    filing: list[Any] | None  # its slip among those that expire, see _filing; None: it never does
