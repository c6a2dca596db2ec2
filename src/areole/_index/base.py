"""What the indexes share: how an entry is replaced, published and removed in one step, whatever is nested in it.

A removal is two steps, look and pop, which the lock makes one:

    1. A looks: the index holds E             3. B removes E, and C inserts N
    2. B looks: the index holds E             4. A pops the key -- and N, which is not A's to remove, is gone.

The lock is re-entrant, since a key's `__eq__`, `__hash__` or `__del__`, any finalizer and a signal handler may run
under it and call the cache. It is held for a few bytecodes, and the caller of `remove_if` or `replace_if` holds the
entry (and with it the key and the value), so that nothing is freed under it.

Such nested code may remove an entry in the middle of an outer operation that looked it up. Both are on one thread, so
the nested one ends first, and the outer one must find out. It registers what it is about to do before it looks, in a
dict that each removal looks at:

    _successors[old] = new     A removal of `old` lets `new` show nothing from then on. Otherwise
                                   1. `replace_if` finds `old`, and `new` shows its value
                                   2. a finalizer invalidates the key: `old` is removed
                                   3. `replace_if` stores `new`: the invalidated value is back (invariant 3).
    _retiring[entry] = value   A removal that takes `entry` out with this value takes it out of here too, and is the one
                               that reports it; what publishes a new value reports the old one only if it is still
                               here. So each value is reported once, by the operation that took it by one `dict.pop`.
    _leaving[entry] = None     The same for what empties a cell, where looking and storing are two steps too.

A removal also marks the entry's flight as detached, by which the leader knows that its value is not to be stored,
without another lookup of the key.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import repeat
from operator import call
from typing import Any

from .._core.entry import UNPUBLISHED, Empty, Entry, Removal
from .._platform.locks import Guarded, run_locked
from ..typing import RemovalCause

__all__ = ["IndexBase"]


class IndexBase(Guarded):
    """What the indexes share; see the module."""

    __slots__ = (
        "_acquire",
        "_is_abandoned",
        "_leaving",
        "_placed",
        "_retiring",
        "_successors",
        "rebuilds",
        "tags",
        "unreported",
    )
    is_bounded = False
    max_items: int | None = None
    entry_type: type[Entry] = Entry
    record_access: Callable[[Any], None] | None = None

    def __init__(self, lock: Any = None) -> None:
        self._successors: dict[Entry, Entry] = {}  # see the module; both are used under the lock
        self._retiring: dict[Entry, Any] = {}
        self._leaving: dict[Entry, None] = {}
        self._placed: dict[Entry, None] = {}  # put into a cell while another one was being emptied or replaced
        self.unreported: deque[Removal] = deque()  # removed by an operation that could not report it: for the next one
        self.rebuilds = 0  # odd while `discard` has the entries out: what is not found then may be there all the same
        self._is_abandoned = False
        self.tags: Any = None
        super().__init__(lock)  # the lock makes one step of looking and removing or replacing
        self._acquire = (self.lock.acquire,)

    def twin(self) -> Any:
        raise NotImplementedError

    def repair_in_child(self) -> None:
        for register in (self._successors, self._retiring, self._leaving):
            register.clear()

    def find(self, key: Any) -> Entry | None:
        raise NotImplementedError

    def weigh(self, key: Any, value: Any) -> int:
        return 0

    def replace_if(self, old: Entry, new: Entry) -> bool:
        return run_locked(self.lock, self._replace_if, old, new)

    def _replace_if(self, old: Any, new: Any) -> bool:
        self._successors[old] = new
        try:
            if self.find(old.key) is not old:
                return False
            new.carry_over(old)  # under the lock: a task that ends late may publish into it until then
            if old not in self._successors:  # removed by nested code, which came before `new` showed all of it
                new.expire_at(UNPUBLISHED)
                return False
            if not self._store_successor(old, new):
                new.expire_at(UNPUBLISHED)
                return False
            return True
        finally:
            self._successors.pop(old, None)

    def _store_successor(self, old: Any, new: Any) -> bool:
        raise NotImplementedError

    def publish(self, entry: Entry, value: Any, deadline: Any, weight: int, now: float) -> Sequence[Removal]:
        """Give `entry`, which may show an old value, its new one; return what that removed.

        The lock makes one step of looking and publishing: an invalidation before it has reported the old value, one
        after it will report the new.
        """
        return run_locked(self.lock, self._publish_plainly, entry, value, deadline, now)

    def _publish_plainly(self, entry: Entry, value: Any, deadline: Any, now: float) -> Sequence[Removal]:
        if entry.deadline == UNPUBLISHED:
            if self._holds(entry):
                entry.publish(value, deadline)
            return ()
        old = self._retiring[entry] = entry.value
        try:
            if not self._holds(entry):
                return ()  # the one that removed it reports the value that it had then
            cause = RemovalCause.REPLACED if entry.is_live(now) else RemovalCause.EXPIRED
            entry.publish(value, deadline)
        finally:
            is_reported = self._retiring.pop(entry, Empty) is Empty
        return () if is_reported else [(entry.key, old, cause)]

    def _holds(self, entry: Entry) -> bool:
        """Say whether `entry` is in the index; of one with a flight, without looking its key up."""
        flight = entry.flight
        return self.find(entry.key) is entry if flight is None else not flight.is_detached

    def _note_removed(self, entry: Entry) -> None:
        """Let all know, under the lock, that `entry` was taken out: its leader, and operations in the middle."""
        flight = entry.flight
        if flight is not None:
            flight.is_detached = True
        if self._successors:
            successor = self._successors.pop(entry, None)
            if successor is not None:
                successor.expire_at(UNPUBLISHED)
        if self._retiring and self._retiring.get(entry, Empty) is entry.value:
            self._retiring.pop(entry, None)
        for register in (self._leaving, self._placed):
            if register:
                register.pop(entry, None)

    def _drop(self, entry: Entry) -> None:
        """Let `entry`, which is out of the index already, be removed for good, and its value be reported later."""
        self._note_removed(entry)
        if entry.is_published:
            self.unreported.append((entry.key, entry.value, RemovalCause.EVICTED))

    def take_unreported(self) -> list[Removal]:
        """Return what is to be reported, each removal to one caller: taking one is one call of C code (see `locks`)."""
        taken: list[Removal] = []
        with suppress(IndexError):
            taken += map(call, repeat(self.unreported.popleft))
        return taken

    def find_again(self, key: Any) -> Entry | None:
        """Find, under the lock, what was not found where a rebuild had it out.

        Where this thread is in the middle of that rebuild, as a key's method asks, the entry cannot be found. Then no
        entry is put back: a value may always go, while one that comes back could outlive an invalidation.
        """
        if self.rebuilds % 2:
            self._is_abandoned = True
        return self.find(key)

    def snapshot_again(self) -> list[Entry]:
        """The same for a snapshot."""
        if self.rebuilds % 2:
            self._is_abandoned = True
        return self.snapshot()

    def snapshot(self) -> list[Entry]:
        raise NotImplementedError
