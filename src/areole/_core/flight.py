"""Flight: the fill that is running for a key."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, Any

from .._platform import fork
from .entry import UNPUBLISHED, Empty, Entry, Removal
from .wait_graph import Participant, current_participant

if TYPE_CHECKING:
    from .wait_graph import Wait

__all__ = ["Flight"]


class Flight:
    """The future of one fill.

    The latch is a lock, held from birth, so from before the flight can be seen; the leader releases it in a `finally`,
    when it has settled the flight or whatever has ended it. An interrupt between the birth and the leader's
    `try` leaves a flight that nobody has seen. So *an open latch on a flight that is still attached to an entry* means
    that the leader is gone, and the thread that sees it may clear up after it: invariant 4 does not rest on cleaning
    code that could itself be interrupted (but for the release, see `locks`).

    Settled means: `value` is not Empty, or `error` is not None; the value counts if both are there (an interrupt came
    after it). What is settled is final once the latch is open.

    `error` is the leader's alone: other callers read nothing of it but its type. A waiter gets a copy of `for_waiters`;
    if that is None, as the leader was interrupted or knew of no waiter, the waiter looks again. If a task, or another
    thread, leads on behalf of a caller, that caller gets the very object, by `for_requester`: a list which it
    removes when it leaves. See exceptions.
    """

    __slots__ = (
        "began",
        "deadline",
        "entry",
        "error",
        "for_requester",
        "for_waiters",
        "has_entered",
        "is_detached",
        "is_joined",
        "joined",
        "latch",
        "leader",
        "leads",
        "old",
        "removed",
        "source",
        "tags",
        "tags_epoch",
        "value",
        "waiters",
    )
    poll_interval: float = inf
    """For how many seconds a thread may wait without looking whether the leader is still there."""
    is_abandonable = False
    """Whether others may retract it while its leader is about to settle it: then that needs the index's lock."""
    began: float | None
    """When the fill began, by the cache's clock; set where the times of fills are noted, until that is done."""
    has_entered: bool
    """Whether its leader has entered the lock that the fill needs, see `_fill.under_lock`; not set where it has not."""
    source: Any
    """Where its value comes from, in a cache in front of a shared one, or is to come from; not set in others."""

    @property
    def found_stale(self) -> bool:
        """Whether it has kept a value that is stale in the shared cache, so that all are to look again."""
        return self.error is None and getattr(self, "source", None) == "stale"

    tags: tuple[str, ...]
    """What its value is tagged with; like the next set only where the fill may have tags, see `_state.tags`."""
    tags_epoch: object
    """What the table's `epoch` was when the fill began. None: see the next one."""

    @property
    def was_overtaken(self) -> bool:
        """Whether a tag was invalidated during the fill, which has brought tags: others than its leader look again."""
        return getattr(self, "tags_epoch", self) is None

    runs_a_loop = False
    """Whether this stands for a loop that its waiter's own thread runs, see `_fill.blocking`."""

    def __init__(self, key: Any, entry_type: type[Entry] = Entry) -> None:
        self.leader: Participant = current_participant()
        self.latch = threading.Lock()
        self.latch.acquire()
        self.value: Any = Empty
        self.error: BaseException | None = None
        self.for_waiters: Exception | None = None
        self.for_requester: list[BaseException] | None = None
        self.is_joined = False  # whether a lookup has found it, which may wait for it
        self.deadline: float | None = UNPUBLISHED  # until when `for_waiters` is stored; not while UNPUBLISHED
        self.is_detached = False  # its entry was taken out of the index: set under the index's lock
        self.leads = False
        self.joined: Flight | None = None  # the flight that was found instead, where this one does not lead
        self.old: Entry | None = None  # the ready entry whose place a refresh takes: set before that can be seen
        self.removed: Sequence[Removal] = ()  # what it removed from the cache: to be reported once the latch is open
        self.waiters: dict[Any, None] = {}  # tasks to be woken, once the latch is open
        self.entry = entry_type(key, self)  # this cycle is broken as soon as the flight is over

    def another(self) -> Flight:
        """Return one for the same key, that nobody has seen."""
        return Flight(self.entry.key, type(self.entry))

    @property
    def is_pending(self) -> bool:
        return self.value is Empty and self.error is None

    @property
    def is_orphaned(self) -> bool:
        """Say whether nobody is there any more to bring an outcome: the leader left, or is not in this process.

        A stored exception is an outcome that is there for good. Its latch tells nothing in the child of a fork, where a
        waiter that had just taken it, and was about to release it, does not exist.
        """
        return self.leader.epoch != fork.epoch or self.deadline != UNPUBLISHED or not self.latch.locked()

    @property
    def is_running(self) -> bool:
        """Say whether a leader is there still, who has not settled it."""
        return self.value is Empty and self.error is None and not self.is_orphaned

    def add_waiter(self, wait: Wait) -> None:
        """Note a wait; called under the lock of the graph of waits. Of a thread's fill, nobody needs their number."""

    def remove_waiter(self, wait: Wait) -> bool:
        """Forget it; say whether it was the last, and the fill is to be cancelled: never that of a thread."""
        return False

    def keep_running(self) -> None:
        """Have the fill go on, even if all leave; called by one that waits. That of a thread does anyway."""

    def cancel(self) -> None:
        """Cancel the fill, after `remove_waiter` has said so."""
        raise NotImplementedError

    @property
    def is_stored(self) -> bool:
        """Say whether `error` is kept for later callers too (`cache_exceptions`), until `deadline`."""
        return self.deadline != UNPUBLISHED

    def stores_error(self, now: float) -> bool:
        return self.is_stored and (self.deadline is None or self.deadline > now)
