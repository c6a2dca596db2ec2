"""What a bounded index counts: items, weight, eviction order, deadlines; and how an operation on it runs.

See `bounded` for what is promised. The dict is the truth, and the accounting is derived from it:

    _dirty    True while an operation runs. If it is cut short (by an interrupt, a fork, or a method of a key that
              raises), the next operation builds the accounting again, O(n).
    _depth    How many operations run inside another one of the same thread: a method of a key, or a finalizer, calls
              the index. Such a nested operation changes the dict at once, so that all see it. The accounting belongs to
              the outer operation, which may be in the middle of changing it; so a nested one only notes in `_nested`
              which entries it has changed. When its own step is over, the outer one accounts for each of these by
              whether the dict holds it, and then makes room.

What nested code has stored, an assignment of the operation around it may replace in the dict. The outermost one alone
says so, as it takes the notes: such an entry was stored, is not in the dict, and was not noted as removed. It looks in
this order, as what removes an entry has noted that before it ends. Else

    1. A looks: nested code has stored D, and not removed it     2. a signal handler removes D, and reports it
    3. A looks: the dict does not hold D                         -- "replaced", and D is reported again.

What a note says is never taken back, so that one may be made inside another.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from math import inf
from operator import call
from typing import Any, Final, TypeVar

from .._core.entry import UNPUBLISHED, Empty, Entry, Removal
from .._eviction.policy import make_policy
from .._platform.locks import run_locked
from ..typing import RemovalCause
from .deadline_queue import DeadlineQueue
from .dict import MOST_ROUNDS, DictIndex, SameKey

__all__ = ["EVICTED", "EXPIRED", "Accounting", "is_kept"]

R = TypeVar("R")

EVICTED, EXPIRED = RemovalCause.EVICTED, RemovalCause.EXPIRED  # an enum's attribute takes as long as ten others

SWEPT_A_TIME: Final = 2
"""How many expired entries each write removes, whether or not it needs the room."""


class _Note:
    """What nested code has done to an entry, which weighed so much before."""

    __slots__ = ("is_removed", "is_stored", "weight")

    def __init__(self, weight: int) -> None:
        self.weight = weight
        self.is_stored = self.is_removed = False  # for good


class Accounting(DictIndex):
    """See the module. `weigh(key, value)` gives an entry's weight; `max_entry_weight` is the most that one may have."""

    __slots__ = (
        "_deadlines",
        "_depth",
        "_dirty",
        "_max_entry_weight",
        "_max_items",
        "_max_weight",
        "_nested",
        "_policy_name",
        "_trusts_marks",
        "_weight",
        "entry_type",
        "items",
        "max_entry_weight",
        "max_items",
        "max_weight",
        "policy",
        "record_access",
        "weigh",
    )
    is_bounded = True

    def __init__(
        self,
        *,
        max_items: int | None,
        max_weight: int | None,
        max_entry_weight: float | None,
        weigh: Callable[[Any, Any], int],
        policy: object,
        lock: Any = None,
    ) -> None:
        super().__init__(lock)
        self.max_items = max_items
        self.max_weight = max_weight
        self.max_entry_weight = max_entry_weight
        self._max_items = sys.maxsize if max_items is None else max_items
        self._max_weight = sys.maxsize if max_weight is None else max_weight
        self.weigh: Callable[[Any, Any], int] = weigh  # type: ignore[assignment]
        self.policy: Any = make_policy(policy)
        self._policy_name = policy
        self.entry_type = self.policy.entry_type
        self.record_access = self.policy.record_access
        self._dirty = False
        self._depth = 0
        self._nested: dict[Any, _Note] = {}  # see `_note_nested`
        self._trusts_marks = True  # see `_is_attached`
        self._start()
        self.register()  # a twin too, which shares a lock

    def twin(self) -> Any:
        return type(self)(
            max_items=self.max_items,
            max_weight=self.max_weight,
            max_entry_weight=self.max_entry_weight,
            weigh=self.weigh,
            policy=self._policy_name,
            lock=self.lock,
        )

    def _start(self) -> None:
        self.policy.clear()
        self._deadlines = DeadlineQueue()
        self.items = 0
        self._weight = 0
        self._reset_max_entry_weight()

    def _reset_max_entry_weight(self) -> None:
        self._max_entry_weight = sys.maxsize if self.max_entry_weight is None else int(self.max_entry_weight)

    @property
    def is_accounted(self) -> bool:
        """Whether the accounting, and with it the policy, says what is in the dict; asked under the lock."""
        return not (self._dirty or self._nested)

    # ---- operations

    def _do(self, step: Callable[..., R], *args: Any) -> tuple[R, list[Removal]]:
        """Run `step` under the lock; return its result, and what it has removed, which the caller reports."""
        removed: list[Removal] = []
        taken: list[bool] = []  # `run_locked`, written out
        try:
            taken += map(call, self._acquire)
            is_nested = False
            if self._dirty or self._nested:
                is_nested = self._begin(removed)
            self._dirty = True
            try:
                result = step(*args, removed)
            except Exception:
                self._end_failed(is_nested, removed)
                raise
            self._dirty = is_nested  # before the look: from here on what comes inside is an operation of its own
            if self._nested or self._depth or self.unreported:
                self._end(is_nested, removed)
            return result, removed
        finally:
            if taken:
                self.lock.release()

    def _begin(self, removed: list[Removal]) -> bool:
        """Say whether another operation of this thread is around this one; else recover from one that was cut short."""
        if self.lock._recursion_count() > 1:
            self._depth += 1
            return True
        self._depth += self._dirty
        self._merge_nested(removed)
        return False

    def _end(self, is_nested: bool, removed: list[Removal]) -> None:
        if is_nested:
            self._depth -= 1  # stays if it was cut short: see `_merge_nested`
        elif self._nested or self._depth:
            self._merge_nested(removed)
        removed += self.take_unreported()

    def _end_failed(self, is_nested: bool, removed: list[Removal]) -> None:
        """Keep what was removed for the next operation; recover, and make room for what nested code has stored."""
        if not is_nested:
            self._depth += 1
            self._merge_nested(removed)
        self.unreported.extend(removed)

    def _merge_nested(self, removed: list[Removal]) -> None:
        """Make the changes of nested operations, and room for what they have stored; again, if that led to others.

        A method of a key may store something whenever it is called. So after some rounds nothing more is stored.
        """
        for rounds in count():
            self._dirty = True
            if self._depth:  # one was cut short
                self._rebuild()
            if rounds >= MOST_ROUNDS:
                self._max_entry_weight = -1
            changes, entries = self._take_notes()
            present = set(entries)
            for entry, note in changes.items():
                weight, entry.weight = entry.weight, note.weight
                try:
                    self._unaccount(entry)
                finally:
                    entry.weight = weight
                if entry in present and is_kept(entry):
                    self._account(entry)
            self._make_room(0, -inf, removed, 0)
            if rounds >= MOST_ROUNDS:
                self._reset_max_entry_weight()  # while `_dirty`: if it is cut short, `_rebuild` does it
            self._dirty = False
            if not (self._nested or self._depth):
                break

    def _take_notes(self) -> tuple[dict[Any, _Note], list[Any]]:
        """Return what nested operations have noted, and the entries; drop what an assignment has replaced unseen."""
        notes, self._nested = self._nested, {}
        entries = self.snapshot()
        for entry in {entry for entry, note in notes.items() if note.is_stored}.difference(entries):
            since = self._nested.get(entry)
            if not (notes[entry].is_removed or (since is not None and since.is_removed)):
                super()._drop(entry)
        return notes, entries

    def _rebuild(self) -> None:
        """Build the accounting again from the dict. What nested operations change from here on is in `_nested`."""
        self._trusts_marks = False
        self._depth = 0
        while True:
            entries = self._take_notes()[1]
            if not self._nested:
                break
        self._start()
        for entry in entries:
            entry.is_stored, entry.expiry = False, None
        for entry in entries:
            if is_kept(entry):
                self._account(entry)

    def repair_in_child(self) -> None:
        super().repair_in_child()
        self._dirty = True

    def _insert_again(self, entry: Entry) -> Entry:
        """Do so as an operation: what this drops, and what comes inside, is to be accounted for."""
        self._trusts_marks = False
        return self._return_result(self._do(self._insert_again_step, entry))

    def _insert_again_step(self, entry: Entry, removed: list[Removal]) -> Entry:
        return super()._insert_again(entry)

    def _return_result(self, done: tuple[R, list[Removal]]) -> R:
        """Return a result; what was removed beside it, which is rare, the next operation reports."""
        result, removed = done
        if removed:
            run_locked(self.lock, self.unreported.extend, removed)
        return result

    # ---- accounting

    def _account(self, entry: Any) -> None:
        """Add a stored entry; of one that is in, file its new deadline."""
        if self._depth:
            return self._note_nested(entry, True)
        if not entry.is_stored:
            self.policy.add(entry)
            entry.is_stored = True
            self.items += 1
            self._weight += entry.weight
            if entry in self._nested:  # noted before it had this weight
                self._nested[entry].weight = entry.weight
        elif entry.expiry is not None:
            self._deadlines.cancel(entry)
        until = entry.deadline if entry.times is None else entry.times.stale_until
        if until == UNPUBLISHED:  # a stored exception
            until = getattr(entry.flight, "deadline", None)
        if until is not None:
            self._deadlines.schedule(entry, until)

    def _unaccount(self, entry: Any) -> None:
        if self._depth:
            self._note_nested(entry, False)
        elif entry.is_stored:
            self.policy.remove(entry)
            entry.is_stored = False
            if entry.expiry is not None:
                self._deadlines.cancel(entry)
            self.items -= 1
            self._weight -= entry.weight

    def _note_nested(self, entry: Any, is_in: bool | None = None) -> None:
        """Have the outer operation account for `entry`, whose weight may change after the first note.

        `is_in`: it was stored, or removed, for good; None: neither. Where both are noted, it is removed: what a nested
        operation has just stored, code nested in that one may have removed before it is noted as stored.
        """
        note = self._nested.setdefault(entry, _Note(entry.weight))
        if is_in:
            note.is_stored = True
        elif is_in is not None:
            note.is_removed = True

    def _note_removed(self, entry: Any) -> None:
        super()._note_removed(entry)
        if self._nested:
            self._note_nested(entry, False)

    # ---- room

    def _make_room(self, weight: int, now: float, removed: list[Removal], more: int = 1) -> None:
        """Remove what must go so that another fits: expired entries first."""
        while self.items + more > self._max_items or self._weight + weight > self._max_weight:
            if self._depth or not self.items:
                return
            entry = self._deadlines.pop_expired(now) if self._deadlines.due <= now else None
            if entry is not None:
                self._evict_or_unpublish(entry, EXPIRED, removed)
                continue
            entry = self.policy.evict()
            entry.is_stored = False  # what follows is written out: it is most of what a `set` does
            self.items -= 1
            self._weight -= entry.weight
            if entry.expiry is not None:
                self._deadlines.cancel(entry)
            if entry.flight is not None or self._retiring or self._successors:
                self._evict_or_unpublish(entry, EVICTED, removed)
                continue
            try:
                popped: Any = self.entries.pop(entry.key, None)
            except Exception:
                popped = None
            if popped is entry or self._pop_otherwise(entry, popped) is entry:
                removed.append((entry.key, entry.value, EVICTED))
                if self._nested:
                    self._note_nested(entry, False)

    def _sweep(self, most: int, now: float, removed: list[Removal]) -> None:
        """Remove at most so many expired entries."""
        for _ in range(0 if self._depth else most):
            entry = self._deadlines.pop_expired(now)
            if entry is None:
                break
            self._evict_or_unpublish(entry, EXPIRED, removed)

    def _evict_or_unpublish(self, entry: Any, cause: RemovalCause, removed: list[Removal]) -> None:
        """Remove an entry that has to go; one that is being refreshed stays, and is pending from now on.

        So a lookup of its key joins the running fill, whose outcome is stored.

        The lock makes one step of looking at its flight and acting on that: whatever ends a flight, by publishing or by
        retracting it, clears `entry.flight` under it too. Else

            1. a sweep looks: the entry has a flight     2. that fails, and leaves the entry what it shows
            3. the sweep makes it pending                -- with neither a value nor a flight, for ever.
        """
        flight = entry.flight
        if flight is None or flight.is_orphaned or not entry.is_published:
            return self._remove(entry, cause, removed)
        value = self._retiring[entry] = entry.value  # before the looks: nested code may remove it, and report it
        try:
            was_shown = entry.is_published and not flight.is_detached
            self._unaccount(entry)
            entry.expire_at(UNPUBLISHED)  # not its value, which a reader may be about to load
        finally:
            is_reported = self._retiring.pop(entry, Empty) is Empty
        if was_shown and not is_reported:
            removed.append((entry.key, value, cause))

    def _remove(self, entry: Any, cause: RemovalCause, removed: list[Removal]) -> None:
        """Remove an entry for good; it and its key live on in `removed` until the lock is released."""
        if self._pop_key(entry) and entry.is_published:
            removed.append((entry.key, entry.value, cause))

    def _pop_key(self, entry: Any) -> bool:
        """Remove `entry` from the dict and from the accounting; say whether it was in the dict."""
        self._unaccount(entry)
        try:
            popped: Any = self.entries.pop(entry.key, None)
        except Exception:
            popped = None
        if popped is not entry:
            popped = self._pop_otherwise(entry, popped)
        if popped is entry and (entry.flight is not None or self._retiring or self._successors or self._nested):
            self._note_removed(entry)
        if not self.entries:
            self._shrink()
        return popped is entry

    def _pop_otherwise(self, entry: Any, popped: Any) -> Any:
        """Remove `entry` where its key found `popped` instead: its hash has changed, or it raises.

        Or nested code has removed it.
        """
        if popped is None and entry.hash is not None:
            with suppress(Exception):
                popped = self.entries.pop(SameKey(entry.key, entry.hash), None)
        if popped is None and entry in self.snapshot():
            for each in self._discard({entry}):
                if each is entry:
                    popped = each
                else:
                    self._drop(each)
        elif popped is not None and popped is not entry:
            self._drop(popped)
        return popped

    def _drop(self, entry: Entry) -> None:
        """Drop what nested code has stored where an outer operation was to remove, or to store, something.

        A value may always go, while one that is put back could outlive an invalidation.
        """
        super()._drop(entry)
        self._note_nested(entry, False)

    def _holds(self, entry: Any) -> bool:
        return self.entries.get(entry.key) is entry


def is_kept(entry: Any) -> bool:
    """Say whether an entry of the dict is to be in the accounting: with a value, or with a stored exception."""
    if entry.is_published:
        return True
    flight = entry.flight
    return flight is not None and bool(flight.is_stored)
