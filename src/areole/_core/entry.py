"""Entry and Flight: one key's value, and the fill that is running for it.

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

import threading
from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ..typing import RemovalCause
from .wait_graph import Caller, current_caller

if TYPE_CHECKING:
    from .._fill.task_waiter import Waiter
    from .wait_graph import Wait

__all__ = ["NOT_YET", "Empty", "Entry", "Flight", "Removal", "StoredEntry"]

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

    def __init__(self, key: Any, flight: Flight | None = None) -> None:
        self.key = key
        self.value: Any = Empty
        self.deadline: float | None = NOT_YET
        self.flight = flight

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


class Flight:
    """The future of one fill.

    The latch is a lock, held from birth, so from before the flight can be seen; the leader releases it in a `finally`,
    when it has settled the flight or whatever has ended it. An interrupt between the birth and the leader's
    `try` leaves a flight that nobody has seen. So *an open latch on a flight that is still attached to an entry* means
    that the leader is gone, and the thread that sees it may clear up after it: invariant 4 does not rest on cleaning
    code that could itself be interrupted (but for the release, see `_locks`).

    Settled means: `value` is not Empty, or `error` is not None; the value counts if both are there (an interrupt came
    after it). What is settled is final once the latch is open.

    `error` is the leader's alone: other callers read nothing of it but its type. A waiter gets a copy of `for_waiters`;
    if that is None, as the leader was interrupted or knew of no waiter, the waiter looks again. If a task, or another
    thread, leads on behalf of a caller, that caller gets the very object, by `for_requester`: a list which it
    removes when it leaves. See _exceptions.
    """

    __slots__ = (
        "deadline",
        "entry",
        "error",
        "for_requester",
        "for_waiters",
        "is_detached",
        "is_joined",
        "joined",
        "latch",
        "leader",
        "leads",
        "old",
        "removed",
        "value",
        "waiters",
    )
    look_every: float = inf
    """For how many seconds a thread may wait without looking whether the leader is still there."""
    may_be_left = False
    """Whether others may retract it while its leader is about to settle it: then that needs the index's lock."""
    runs_a_loop = False
    """Whether this stands for a loop that its waiter's own thread runs, see `aio._blocking`."""

    def __init__(self, key: Any, entry_type: type[Entry] = Entry) -> None:
        self.leader: Caller = current_caller()
        self.latch = threading.Lock()
        self.latch.acquire()
        self.value: Any = Empty
        self.error: BaseException | None = None
        self.for_waiters: Exception | None = None
        self.for_requester: list[BaseException] | None = None
        self.is_joined = False  # whether a lookup has found it, which may wait for it
        self.deadline: float | None = NOT_YET  # until when `for_waiters` is stored; not while NOT_YET
        self.is_detached = False  # its entry was taken out of the index: set under the index's lock
        self.leads = False
        self.joined: Flight | None = None  # the flight that was found instead, where this one does not lead
        self.old: Entry | None = None  # the ready entry whose place a refresh takes: set before that can be seen
        self.removed: Sequence[Removal] = ()  # what it put out of the cache: to be told once the latch is open
        self.waiters: dict[Waiter, None] = {}  # tasks to be woken, once the latch is open
        self.entry = entry_type(key, self)  # this cycle is broken as soon as the flight is over

    @property
    def is_pending(self) -> bool:
        return self.value is Empty and self.error is None

    @property
    def has_no_leader(self) -> bool:
        """Say whether nobody is there any more to bring an outcome: the leader left, or is not in this process.

        A stored exception is an outcome that is there for good. Its latch tells nothing in the child of a fork, where a
        waiter that had just taken it, and was about to release it, does not exist.
        """
        return self.leader.is_gone or self.is_stored or not self.latch.locked()

    @property
    def is_running(self) -> bool:
        """Say whether a leader is there still, who has not settled it."""
        return self.is_pending and not self.has_no_leader

    def join(self, wait: Wait) -> None:
        """Note a wait; called under the lock of the graph of waits. Of a thread's fill, nobody needs their number."""

    def leave(self, wait: Wait) -> bool:
        """Forget it; say whether it was the last, and the fill is to be cancelled: never that of a thread."""
        return False

    def go_on(self) -> None:
        """Have the fill go on, even if all leave; called by one that waits. That of a thread does anyway."""

    def cancel(self) -> None:
        """Cancel the fill, after `leave` has said so."""
        raise NotImplementedError

    @property
    def is_stored(self) -> bool:
        """Say whether `error` is kept for later callers too (`cache_exceptions`), until `deadline`."""
        return self.deadline != NOT_YET

    def stores_error(self, now: float) -> bool:
        return self.is_stored and (self.deadline is None or self.deadline > now)
