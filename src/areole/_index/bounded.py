"""BoundedIndex: a dict of entries with a limit on their number, on their total weight, or on both.

An entry is *stored* from the moment its value is published until it is removed. A pending entry (a running fill) is in
the dict, but is not stored: it has no weight and is never evicted. The entry of a refresh is stored while it shows the
old value; when that has to go, the entry stays behind as a pending one.

Locking
    `entries`      read without a lock; written under `lock`, except for `setdefault` where that is one atomic step.
    accounting     item count, total weight, eviction order and deadlines: read and written under `lock`.
    `lock`         re-entrant. Fill functions, weighers, listeners and clocks never run under it.

Guarantees
    - When `lock` is released, neither limit is exceeded (invariant 7).
    - Expired entries are removed before a live entry is evicted.
    - Each removal is reported exactly once: by the operation that took the entry out of the dict. One that cannot
      report it, as it raises or returns something else, leaves it in `unreported` for the next one.

Recovery
    The accounting is derived from the dict: an operation that was cut short has it built again by the next, O(n).

Re-entrant calls
    A key's `__eq__` and `__hash__`, and any finalizer, may call this index while its lock is held. They read and write
    the dict as usual; the operation around them does the accounting before it returns. See `accounting`.

Not guaranteed
    A constant time under the lock: a dict, a set or the heap of deadlines that outgrows its table, and a rebuild, take
    time in proportion to the number of entries.
"""

from __future__ import annotations

from builtins import len  # a memoized one may stand in `builtins`, and would be called in the midst of a step
from collections.abc import Collection, Sequence
from operator import call
from sys import getsizeof
from typing import Any

from .._core.entry import Empty, Entry, Removal
from ..typing import RemovalCause
from .accounting import EXPIRED, SWEPT_A_TIME, Accounting, is_kept
from .dict import INSERTS_TAKE_THE_LOCK, MOST_ROUNDS
from .limits import OVERHEAD

__all__ = ["BoundedIndex", "is_kept"]

OVERSIZE, REPLACED = RemovalCause.OVERSIZE, RemovalCause.REPLACED


class BoundedIndex(Accounting):
    """See the module."""

    __slots__ = ()

    def put(self, entry: Any, now: float, only_if_absent: bool = False) -> tuple[bool, list[Removal]]:
        """Store a ready entry in place of what is there; return whether it is in, and what that removed."""
        removed: list[Removal] = []
        taken: list[bool] = []  # `_do`, written out, as this is called the most
        try:
            taken += map(call, self._acquire)
            is_nested = False
            if self._dirty or self._nested:
                is_nested = self._begin(removed)
            self._dirty = True
            try:
                is_in = self._put(entry, now, only_if_absent, removed)
            except Exception:
                self._end_failed(is_nested, removed)
                raise
            self._dirty = is_nested
            if self._nested or self._depth or self.unreported:
                self._end(is_nested, removed)
            return is_in, removed
        finally:
            if taken:
                self.lock.release()

    def _put(self, entry: Any, now: float, only_if_absent: bool, removed: list[Removal]) -> bool:
        entries, key, weight = self.entries, entry.key, entry.weight
        while True:
            before = self._insertions  # before the look that a store relies on
            old: Any = entries.get(key)
            if weight > self._max_entry_weight or old is not None:
                is_in = self._put_over(old, entry, before, now, only_if_absent, removed)
                if is_in is not None:
                    return is_in
                continue  # nested code has removed `old`
            if self.items >= self._max_items or self._weight + weight > self._max_weight:
                self._make_room(weight, now, removed)
            if INSERTS_TAKE_THE_LOCK:
                entries[key] = entry
                if self._insertions == before:
                    self._insertions = before + 1
                else:
                    self._store_again(entry)
                break
            # A claim inserts without the lock. An assignment would replace it, and nobody would mark it as detached.
            if entries.setdefault(key, entry) is entry:
                self._insertions += 1
                break
        if self._depth:
            self._account(entry)
        else:  # `_account`, written out
            self.policy.add(entry)
            entry.is_stored = True
            self.items += 1
            self._weight += weight
            if entry.deadline is not None:
                self._deadlines.schedule(entry, entry.deadline)
        if self._deadlines.due <= now:
            self._sweep(SWEPT_A_TIME, now, removed)
        return True

    def _put_over(
        self, old: Any, entry: Any, before: int, now: float, only_if_absent: bool, removed: list[Removal]
    ) -> bool | None:
        """Store `entry` in place of `old`; None if nested code has removed that meanwhile."""
        if old is not None and only_if_absent and old.is_live(now):
            return False
        if entry.weight > self._max_entry_weight:
            return self._reject_oversize(old, entry.key, entry.value, now, removed)
        around = self._retiring.get(old, Empty) if self._retiring else Empty
        value = self._retiring[old] = old.value
        try:
            if self._nested and old not in self.snapshot():
                return None
            self._unaccount(old)
            self._make_room(entry.weight, now, removed)
            if old not in self._retiring:
                return None
            self.entries[entry.key] = entry
            is_alone = self._insertions == before
            is_reported = self._retiring.pop(old, Empty) is Empty
            self._note_removed(old)
            if old.is_published and not is_reported:  # before the next step, in which a key's method may raise
                removed.append((old.key, old.value, REPLACED if old.is_live(now) else EXPIRED))
            if is_alone:
                self._insertions = before + 1
            else:
                self._store_again(entry)
        finally:
            self._retiring.pop(old, None)
            if around is not Empty and around is not value:  # what a publication around this has replaced, and reports
                self._retiring[old] = around
        self._account(entry)
        self._sweep(SWEPT_A_TIME, now, removed)
        return True

    def _store_again(self, entry: Any) -> None:
        """Store an entry again, after code nested in the assignment, or between it and the look before, has inserted.

        What that has stored under the key is removed. Were insertions counted from the assignment on only,

            1. a set looks: there is nothing under its key       3. the set stores its own in the place of that:
            2. a finalizer sets the same key                        a value is gone, and was not reported.

        A key's method may insert something each time; then `entry` goes too, as its key could be in twice.
        """
        self._trusts_marks = False
        for _ in range(MOST_ROUNDS):
            if not self._pop_all_of(entry):
                return  # nested code has removed it already, and reported it
            before = self._insertions
            self.entries[entry.key] = entry
            if self._insertions == before:
                self._insertions = before + 1
                return
        if self._pop_all_of(entry):
            self._drop(entry)

    def _pop_all_of(self, entry: Any) -> bool:
        """Remove what is there under the key of `entry`; say whether that was."""
        is_there = False
        for _ in range(MOST_ROUNDS):
            other = self.entries.pop(entry.key, None)
            if other is None:
                break
            if other is entry:
                is_there = True
            else:
                self._drop(other)
        return is_there

    def publish(self, entry: Any, value: Any, deadline: Any, weight: int, now: float) -> Sequence[Removal]:
        self._set_hash(entry)
        return self._do(self._publish, entry, value, deadline, weight, now)[1]

    def _publish(self, entry: Any, value: Any, deadline: Any, weight: int, now: float, removed: list[Removal]) -> bool:
        """Give `entry` its value, if it is in."""
        if not self._is_attached(entry):
            return False  # removed while its fill was running: the value is for the waiters alone
        if self._depth:
            self._note_nested(entry)
        elif entry.is_published:
            self._unaccount(entry)
        if weight > self._max_entry_weight:
            return self._reject_oversize(entry, entry.key, value, now, removed)
        self._make_room(weight, now, removed)
        old = self._retiring[entry] = entry.value  # before the look: nested code may come in between, and report it
        old_weight = entry.weight
        if not entry.is_published:
            old = Empty
        try:
            if self._nested and not self._is_attached(entry):
                return False  # nested code has removed it, and reports what it showed
            cause = REPLACED if old is not Empty and entry.is_live(now) else EXPIRED
            entry.weight = weight
            entry.publish(value, deadline)
        finally:
            if entry.value is not value:
                entry.weight = old_weight
            is_reported = self._retiring.pop(entry, Empty) is Empty
        if old is not Empty and not is_reported:
            removed.append((entry.key, old, cause))
        entry.flight = None  # under the lock: see `_evict_or_unpublish`
        self._account(entry)
        self._sweep(SWEPT_A_TIME, now, removed)
        return True

    def _is_attached(self, entry: Any) -> bool:
        """Say whether `entry`, which its leader publishes, is in the dict: by the mark that a removal leaves.

        Not by its key, which would have to be hashed again. But an operation that was cut short may have removed the
        entry without a mark. So from then on it is by the key.
        """
        flight = entry.flight
        if flight is None or not self._trusts_marks:
            return self._holds(entry)
        return not flight.is_detached

    def _set_hash(self, entry: Any) -> None:
        """Note the hash of the key, outside of the lock, where the policy needs it: this may call Python code."""
        if self.policy.needs_hash:
            entry.hash = hash(entry.key)

    def keep_error(self, entry: Any, deadline: float | None, now: float) -> Sequence[Removal]:
        """Store an entry whose fill has raised, with what it raised; it counts like a value, and is not reported."""
        self._set_hash(entry)
        weight = 1 if self.max_weight is None else getsizeof(entry.key) + OVERHEAD
        return self._do(self._keep_error, entry, deadline, weight, now)[1]

    def _keep_error(self, entry: Any, deadline: float | None, weight: int, now: float, removed: list[Removal]) -> bool:
        if not self._is_attached(entry):
            return False
        if weight > self._max_entry_weight:
            self._pop_key(entry)
            return False
        self._make_room(weight, now, removed)
        entry.flight.deadline = deadline  # from here on it is stored
        entry.weight = weight
        self._account(entry)
        self._sweep(SWEPT_A_TIME, now, removed)
        return True

    def replace_if(self, old: Entry, new: Entry) -> bool:
        return self._return_result(self._do(self._replace_if, old, new))

    def _replace_if(self, old: Any, new: Any, removed: Any = None) -> bool:
        new.weight, new.hash = old.weight, old.hash
        is_replaced = super()._replace_if(old, new)
        if is_replaced and new.is_published:  # else nested code has removed `old`, and with it the value
            self._account(new)
        return is_replaced

    def _store_successor(self, old: Any, new: Any) -> bool:
        self._unaccount(old)  # first: from the assignment on it is out, also if nested code takes `new` out again
        is_in = super()._store_successor(old, new)
        self._retiring.pop(old, None)  # its value is that of `new` now: what this is nested in must not report it
        if self._nested or not is_in:
            self._note_nested(old, False if is_in else None)
        return is_in

    def remove_if(self, entry: Entry, expired_by: float | None = None) -> bool:
        return self._return_result(self._do(self._remove_if, entry, expired_by))

    def _remove_if(self, entry: Any, expired_by: float | None, removed: list[Removal]) -> bool:
        if not self._holds(entry) or (expired_by is not None and entry.is_usable(expired_by)):
            return False
        return self._pop_key(entry)

    def set_deadline(self, entry: Any, deadline: float | None) -> bool:
        """Give `entry` another deadline, if it is in."""
        return self._return_result(self._do(self._set_deadline, entry, deadline))

    def _set_deadline(self, entry: Any, deadline: float | None, removed: list[Removal]) -> bool:
        if not is_kept(entry) or not self._holds(entry):
            return False
        entry.expire_at(deadline)
        if self._depth:
            self._note_nested(entry)  # not as stored: the outer operation may be evicting it, and reports it
        else:
            self._account(entry)
        return True

    def count(self) -> tuple[int, int]:
        """Return how many entries are stored, and what they weigh."""
        return self._return_result(self._do(self._count))

    def _count(self, removed: list[Removal]) -> tuple[int, int]:
        if not self._depth:
            return self.items, self._weight
        weights = [entry.weight for entry in self.snapshot() if is_kept(entry)]  # type: ignore[attr-defined]
        return len(weights), sum(weights)

    def count_if_none_has_expired(self, now: float) -> int | None:
        """Return how many entries are stored; None if one of them may have passed the end of its use."""
        is_due = lambda removed: self._depth > 0 or self._deadlines.due <= now  # noqa: E731
        return None if self._return_result(self._do(is_due)) else self.count()[0]

    def sweep(self, most: int, now: float) -> Sequence[Removal]:
        """Remove at most so many entries that have expired, and return them."""
        return self._do(self._sweep, most, now)[1]

    def discard(self, entries: Collection[Entry]) -> list[Entry]:
        return self._return_result(self._do(self._discard_stored, set(entries)))

    def _discard_stored(self, unwanted: set[Entry], removed: list[Removal]) -> list[Entry]:
        gone = self._discard(unwanted)
        for entry in gone:
            self._unaccount(entry)
        return gone

    def _reject_oversize(self, old: Any, key: Any, value: Any, now: float, removed: list[Removal]) -> bool:
        """Remove what too large a value was to replace. One is reported as OVERSIZE: what lived, or else that value."""
        was_live = old is not None and old.is_live(now)
        if old is not None:
            self._remove(old, OVERSIZE if was_live else EXPIRED, removed)
        if not was_live:
            removed.append((key, value, OVERSIZE))
        return False
