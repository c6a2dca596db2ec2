"""BoundedIndex: a dict of entries with limits on how many they are and on what they weigh.

All changes of what is *stored* are made under the index's one lock: putting in, taking out, choosing who goes.
A flight's entry is in the dict without being stored: it gets there by `dict.setdefault`, counts and weighs nothing, and
cannot be evicted; it is stored when its leader publishes it. The entry of a refresh is stored while it shows the old
value; when that has to go, the entry stays behind as one that is pending. A hit takes no lock; it writes into the entry
what the policy wants to know.

Invariant 7: `weight` is the sum of the weights of the stored entries, `items` their number, and neither is over its
limit when the lock is let go. The dict is the truth, the rest are books. `_under_way` is None while these are in order:
each operation puts something of its own there first, and takes it away last.

    - One that was cut short, by an interrupt between any two instructions, has left it there: whoever comes next makes
      the books anew from the dict, before anything else.
    - One that comes inside another of the same thread, as a key's `__eq__` or `__hash__`, or a finalizer, calls the
      store, finds it there too, and does the same. The outer one finds at its end that its own is gone: it has gone on
      with books that changed under it, and makes them anew before the lock is let go.

A value is told to the listener by the operation that took its entry out of the dict, so once, however they nest. Where
that cannot tell, as it raises or has nobody to whom it returns, `_untold` keeps the value for the next one that can.

No holding of the lock takes longer the more is stored, but for making the books again; for what Python itself does
when a dict or a set outgrows its table, or is freed, once in many operations; and for what many removals have left
behind for one operation to drop (see `_filing`), where deadlines did not come in order.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from operator import call
from sys import getsizeof
from typing import Any, Final, TypeVar

from .._core.entry import UNPUBLISHED, Empty, Entry, Removal
from .._eviction.policy import make_policy
from .._platform.locks import run_locked
from ..typing import RemovalCause
from .deadline_queue import DeadlineQueue
from .dict import INSERTS_TAKE_THE_LOCK, DictIndex, SameKey
from .limits import OVERHEAD

__all__ = ["BoundedIndex", "is_kept"]

R = TypeVar("R")

EVICTED, EXPIRED = RemovalCause.EVICTED, RemovalCause.EXPIRED  # an enum's attribute takes as long as ten others
OVERSIZE, REPLACED = RemovalCause.OVERSIZE, RemovalCause.REPLACED

MOST_TRIES: Final = 50
"""How often an operation is done again because one inside it has made it fail; a key's method may do that each time."""

SWEPT_A_TIME = 2
"""How many expired entries each write takes out, whether or not there is need of room."""


class BoundedIndex(DictIndex):
    """See the module. `weigh(key, value)` gives an entry's weight; `most_weight_each` is what one may have at most."""

    __slots__ = (
        "_deadlines",
        "_most_items",
        "_most_weight",
        "_most_weight_each",
        "_nested",
        "_policy",
        "_policy_name",
        "_trusts_marks",
        "_under_way",
        "_untold",
        "_weight",
        "entry_type",
        "items",
        "max_items",
        "max_weight",
        "most_weight_each",
        "record_access",
        "weigh",
    )
    is_bounded = True

    def __init__(
        self,
        *,
        max_items: int | None,
        max_weight: int | None,
        most_weight_each: float | None,
        weigh: Callable[[Any, Any], int],
        policy: object,
        lock: Any = None,
    ) -> None:
        super().__init__(lock)
        self.max_items = max_items
        self.max_weight = max_weight
        self.most_weight_each = most_weight_each
        self._most_items = sys.maxsize if max_items is None else max_items
        self._most_weight = sys.maxsize if max_weight is None else max_weight
        self._most_weight_each = sys.maxsize if most_weight_each is None else int(most_weight_each)
        self.weigh: Callable[[Any, Any], int] = weigh  # type: ignore[assignment]
        self._policy: Any = make_policy(policy)
        self._policy_name = policy
        self.entry_type = self._policy.entry_type
        self.record_access = self._policy.record_access
        self._under_way: list[Any] | None = None
        self._nested: list[Any] = []  # what was in the dict as nested operations ended, until the outer one does
        self._trusts_marks = True  # see `_is_attached`
        self._untold: list[Removal] = []
        self._start_books()
        self.register()  # a twin too, which shares a lock

    def twin(self) -> BoundedIndex:
        return BoundedIndex(
            max_items=self.max_items,
            max_weight=self.max_weight,
            most_weight_each=self.most_weight_each,
            weigh=self.weigh,
            policy=self._policy_name,
            lock=self.lock,
        )

    @property
    def policy(self) -> Any:
        return self._policy

    # ---- what is counted

    def count(self) -> tuple[int, int]:
        """Return how many entries are stored, and what they weigh."""
        return self._tell_later(self._do(lambda removed: (self.items, self._weight)))

    def count_if_none_has_expired(self, now: float) -> int | None:
        """Return how many entries are stored; None if one of them may have passed the end of its use."""
        items, due = self._tell_later(self._do(lambda removed: (self.items, self._deadlines.due)))
        return items if due > now else None

    def _start_books(self) -> None:
        self._policy.clear()
        self._deadlines = DeadlineQueue()
        self.items = 0
        self._weight = 0

    def _do(self, step: Callable[..., R | None], *args: Any) -> tuple[R, list[Removal]]:
        """Do `step` under the lock, and return its result, and what this has put out.

        If an operation inside this one has made it fail, it is done again.
        """
        removed: list[Removal] = []
        tries = 1  # nested operations may make it fail
        while True:
            taken: list[bool] = []  # `run_locked`, written out
            try:
                taken += map(call, self._acquire)
                is_nested = False
                if self._under_way is not None:
                    is_nested = self._is_nested()
                    self._repair()
                    if not is_nested:
                        self._nested = []
                self._under_way = removed
                try:
                    result = step(*args, removed)
                except Exception:
                    if self._under_way is removed or tries > MOST_TRIES:
                        self._untold.extend(removed)  # it is out, and nobody else knows
                        raise
                    result, tries = None, tries + 1
                if self._under_way is not removed:
                    self._repair()
                    self._nested = self._nested if is_nested else []
                if is_nested:
                    self._end_nested()
                else:
                    self._under_way = None
                if self._untold:
                    self._hand_over(removed)
            finally:
                if taken:
                    self.lock.release()
            if result is not None:
                return result, removed

    def _is_nested(self) -> bool:
        """Say whether this thread is in another operation already, which goes on, with books that it does not know.

        Then the books are in disorder again as soon as this one has ended, for the next that is nested there:

            1. a set is in the middle of its accounts     3. the set goes on, and changes those
            2. a finalizer deletes something: it finds    4. another finalizer deletes something: it would trust them
               disorder, and makes the books again
        """
        return bool(self.lock._recursion_count() > 1)

    def _end_nested(self) -> None:
        """Leave the books to the outer operation, and to those that are nested in it after this one: see above.

        The outer one may replace in the dict what this one has stored there; then it finds that in `_nested`, and not
        in the dict after that. What was removed in the proper way is not `is_stored` any more.
        """
        self._nested += list(self.entries.values())
        self._under_way = [0]

    def _repair(self) -> None:
        """Make the books again from the dict, once more if another operation came in between."""
        self._trusts_marks = False
        while True:
            self._under_way = mine = [0]
            try:
                self._rebuild()
            except Exception:
                if self._under_way is mine:
                    raise
            if self._under_way is mine:
                self._under_way = None
                return

    def _rebuild(self) -> None:
        """Do it once; stop where another operation has come in between, and has done it too."""
        mine = self._under_way
        self._start_books()
        entries: list[Any] = self.snapshot()
        for entry in entries:
            entry.is_stored, entry.expiry = False, None  # what it was filed with is gone with the old books
        for entry in entries:
            if self._under_way is not mine:
                return
            if is_kept(entry):
                self._enter(entry)
        while self._under_way is mine and (self.items > self._most_items or self._weight > self._most_weight):
            entry = self._policy.evict()
            self._strike_evicted(entry)
            gone: list[Removal] = []  # not `_untold` itself, which a nested operation may take over meanwhile
            self._put_out(entry, EVICTED, gone)
            self._untold.extend(gone)

    def _hand_over(self, removed: list[Removal]) -> None:
        """Add what a repair has put out, for somebody must tell."""
        untold, self._untold = self._untold, []
        removed.extend(untold)

    def repair_in_child(self) -> None:
        """After a fork: the thread that was in the middle of something does not exist here."""
        super().repair_in_child()
        self._under_way = [0]

    def _holds(self, entry: Any) -> bool:
        return self.entries.get(entry.key) is entry

    def _enter(self, entry: Any) -> None:
        self._policy.add(entry)
        until = entry.stale_until if entry.is_published else entry.flight.deadline
        if until is not None:
            self._deadlines.schedule(entry, until)
        entry.is_stored = True
        self.items += 1
        self._weight += entry.weight

    def _strike_out(self, entry: Any) -> None:
        if not entry.is_stored:
            return
        entry.is_stored = False  # first: nested code may make the next step fail
        self._policy.remove(entry)
        self._strike_evicted(entry)

    def _strike_evicted(self, entry: Any) -> None:
        """Strike out what the policy has let go of."""
        entry.is_stored = False
        if entry.expiry is not None:
            self._deadlines.cancel(entry)
        self.items -= 1
        self._weight -= entry.weight

    # ---- changes

    def _insert_again(self, entry: Entry) -> Entry:
        self._trusts_marks = False
        return super()._insert_again(entry)

    def put(self, entry: Any, now: float, only_if_absent: bool = False) -> tuple[bool, list[Removal]]:
        """Store a ready entry in the place of whatever is there; return whether it is in, and what that put out.

        This is `_do`, with what it does written out: a `set` is mostly calls of small functions, and the fewer the
        better.
        """
        removed: list[Removal] = []
        entries, key, weight = self.entries, entry.key, entry.weight
        tries, is_placed = 1, False  # nested operations may make it fail
        while True:
            taken: list[bool] = []
            try:
                taken += map(call, self._acquire)
                is_nested = False
                if self._under_way is not None:
                    is_nested = self._is_nested()
                    self._repair()
                    if not is_nested:
                        self._nested = []
                self._under_way = removed
                is_in: bool | None = True  # None: to be done again
                try:
                    before = self._insertions  # before each look that a `_store` relies on
                    old: Any = entries.get(key)
                    if old is None and weight <= self._most_weight_each:
                        if self.items >= self._most_items or self._weight + weight > self._most_weight:
                            self._make_room(weight, now, removed)
                            if self._under_way is not removed:  # a nested operation may have stored one
                                before = self._insertions
                                old = entries.get(key)
                        if old is None:
                            old = self._store_if_absent(entry, before, removed)
                            is_placed = old is None
                    if old is entry:
                        is_placed = True  # by a try before: it is in the accounts again
                    elif old is not None or weight > self._most_weight_each:
                        is_in = is_placed = self._put_over(old, entry, now, only_if_absent, removed)
                    if is_in and old is not entry:
                        self._policy.add(entry)
                        if entry.deadline is not None:
                            self._deadlines.schedule(entry, entry.deadline)
                        entry.is_stored = True
                        self.items += 1
                        self._weight += weight
                        if self._deadlines.due <= now:
                            self._sweep(SWEPT_A_TIME, now, removed)
                except Exception:
                    if self._under_way is removed or (tries > MOST_TRIES and not is_placed):
                        self._untold.extend(removed)
                        raise
                    is_in, tries = is_placed or None, tries + 1  # stored once, and perhaps removed: never again
                if self._under_way is not removed:
                    self._repair()
                    self._nested = self._nested if is_nested else []
                if is_nested:
                    self._end_nested()
                else:
                    self._under_way = None
                if self._untold:
                    self._hand_over(removed)
            finally:
                if taken:
                    self.lock.release()
            if is_in is not None:
                return is_in, removed

    def _store_if_absent(self, entry: Any, before: int, removed: list[Removal]) -> Any:
        """Store under the key of `entry`, unless another is there, and then return that.

        Without a GIL a claim inserts without the lock. An assignment would replace what it has inserted, and nobody
        would mark that as detached.
        """
        if INSERTS_TAKE_THE_LOCK:
            return self._store(entry, before, removed)
        found = self.entries.setdefault(entry.key, entry)
        if found is not entry:
            return found
        self._insertions += 1
        return None

    def _store(self, entry: Any, before: int, removed: list[Removal]) -> None:
        """Store under the key of `entry`, where nothing was found when there had been `before` insertions.

        What nested code has inserted under that key since is removed. Were they counted only from here on,

            1. a set looks: there is nothing under its key       3. the set stores its own in the place of that:
            2. a finalizer sets the same key                        a value is gone, and was not reported.
        """
        while True:
            self.entries[entry.key] = entry
            if self._insertions == before:
                self._insertions = before + 1
                return
            self._trusts_marks = False
            stored = {each for each in list(self._nested) if each.is_stored}
            for other in stored.difference(list(self.entries.values())):  # looked at in this order: see `_end_nested`
                if other.is_stored:
                    self._note_stranger(other, removed)  # stored by nested code, and replaced just now
            is_there = False
            while (other := self.entries.pop(entry.key, None)) is not None:
                if other is entry:
                    is_there = True
                else:
                    self._note_stranger(other, removed)
            if not is_there:
                return  # nested code has removed it already, and reported it
            before = self._insertions

    def _put_over(self, old: Any, entry: Any, now: float, only_if_absent: bool, removed: list[Removal]) -> bool:
        """Store `entry` in the place of `old` (None: nothing), if that may go and there is room; as `put` says."""
        if old is None:
            return self._refuse(None, entry.key, entry.value, now, removed)
        if only_if_absent and old.is_live(now):
            return False
        self._retiring[old] = old.value
        try:
            self._strike_out(old)
            if entry.weight > self._most_weight_each:
                return self._refuse(old, entry.key, entry.value, now, removed)
            self._make_room(entry.weight, now, removed)
            before = self._insertions
            if self._under_way is removed or self._holds(old):
                self._store(entry, before, removed)
                self._report_replaced(old, now, removed)
                self._account(removed, self._strike_out, old)  # nested code may have made the accounts again
                return True
        finally:
            self._retiring.pop(old, None)
        self._strike_out(old)
        before = self._insertions
        current = self.entries.get(entry.key)  # a nested operation has removed `old`, and may have stored another
        if current is None:
            current = self._store_if_absent(entry, before, removed)
        if current is None:
            return True
        return self._put_over(current, entry, now, only_if_absent, removed)

    def _account(self, removed: Any, step: Callable[..., None], *args: Any) -> None:
        """Change the accounts for what the dict says already; if nested code disturbs that, they are made again anyway.

        To do the whole operation again would be wrong then: what nested code has removed since would be stored twice.
        """
        try:
            step(*args)
        except Exception:
            if self._under_way is removed:
                raise

    def _report_replaced(self, old: Any, now: float, removed: list[Removal]) -> None:
        """Report the value of an entry that another one has replaced in the dict, unless a removal has reported it."""
        is_reported = self._retiring.pop(old, Empty) is Empty
        self._note_removed(old)
        if not is_reported:
            self._note_replaced(old, now, removed)

    def publish(self, entry: Any, value: Any, deadline: Any, weight: int, now: float) -> Sequence[Removal]:
        self._set_hash(entry)
        return self._do(self._publish, entry, value, deadline, weight, now)[1]

    def _publish(self, entry: Any, value: Any, deadline: Any, weight: int, now: float, removed: list[Removal]) -> bool:
        """Give `entry` its value, if it is in."""
        if entry.flight is None and entry.is_published and entry.value is value:
            return True  # done before, by a first try that nested code has made to fail
        if not self._is_attached(entry):
            return False  # taken out while its value was on the way: it is for the waiters alone
        self._strike_out(entry)
        if weight > self._most_weight_each:
            return self._refuse(entry, entry.key, value, now, removed)
        self._make_room(weight, now, removed)
        old = self._retiring[entry] = entry.value  # before the look: nested code may come in between, and report it
        if not entry.is_published:
            old = Empty
        try:
            if self._under_way is not removed and not self._is_attached(entry):
                return False  # a nested operation took it out, and reports what it showed
            cause = REPLACED if old is not Empty and entry.is_live(now) else EXPIRED
            entry.weight = weight
            entry.publish(value, deadline)
        finally:
            is_reported = self._retiring.pop(entry, Empty) is Empty
        if old is not Empty and not is_reported:
            removed.append((entry.key, old, cause))
        entry.flight = None  # under the lock: from here on it may be swept like all that are ready (see `_put_out`)
        if not entry.is_published:  # nested code has evicted it, as one that is being refreshed
            self._pop(entry, removed)
            return False
        self._account(removed, self._enter, entry)
        if self._under_way is removed and self._deadlines.due <= now:
            self._sweep(SWEPT_A_TIME, now, removed)
        return True

    def _is_attached(self, entry: Any) -> bool:
        """Say whether `entry`, which its leader publishes, is in the dict: by the mark that a removal leaves.

        Not by its key, which would have to be hashed again. But an operation that was cut short may have taken the
        entry out without a mark. So from then on it is by the key.
        """
        flight = entry.flight
        if flight is None or not self._trusts_marks:
            return self._holds(entry)
        return not flight.is_detached

    def _set_hash(self, entry: Any) -> None:
        """Note the hash of the key, outside of the lock, where the policy needs it: this may call Python code."""
        if self._policy.needs_hash:
            entry.hash = hash(entry.key)

    def keep_error(self, entry: Any, deadline: float | None, now: float) -> Sequence[Removal]:
        """Store an entry whose fill has raised, with what it raised; it counts like a value, and is told to nobody."""
        self._set_hash(entry)
        weight = 1 if self.max_weight is None else getsizeof(entry.key) + OVERHEAD
        return self._do(self._keep_error, entry, deadline, weight, now)[1]

    def _keep_error(self, entry: Any, deadline: float | None, weight: int, now: float, removed: list[Removal]) -> bool:
        if not self._is_attached(entry):
            return False
        if entry.is_stored:
            return True  # by a first try that nested code has made to fail: it is in the accounts
        if weight > self._most_weight_each:
            self._pop(entry, removed)
            return False
        self._make_room(weight, now, removed)
        entry.flight.deadline = deadline  # from here on it is stored
        entry.weight = weight
        self._enter(entry)
        if self._deadlines.due <= now:
            self._sweep(SWEPT_A_TIME, now, removed)
        return True

    def replace_if(self, old: Entry, new: Entry) -> bool:
        return self._tell_later(self._do(self._replace_if, old, new))

    def _replace_if(self, old: Any, new: Any, removed: Any = None) -> bool:
        new.weight, new.hash = old.weight, old.hash
        if not super()._replace_if(old, new):
            return False
        self._account(removed, self._enter_in_place_of, old, new)
        return True

    def _enter_in_place_of(self, old: Any, new: Any) -> None:
        if old.is_stored:
            self._strike_out(old)
            if new.is_published:  # else nested code has removed `old`, and with it the value
                self._enter(new)

    def remove_if(self, entry: Entry, expired_by: float | None = None) -> bool:
        return self._tell_later(self._do(self._remove_if, entry, expired_by))

    def _remove_if(self, entry: Any, expired_by: float | None, removed: list[Removal]) -> bool:
        if not self._holds(entry) or (expired_by is not None and entry.is_usable(expired_by)):
            return False
        self._strike_out(entry)
        return self._pop(entry, removed)

    def set_deadline(self, entry: Any, deadline: float | None) -> bool:
        """Give `entry` another deadline, if it is in."""
        return self._tell_later(self._do(self._set_deadline, entry, deadline))

    def _set_deadline(self, entry: Any, deadline: float | None, removed: list[Removal]) -> bool:
        if not entry.is_stored or not self._holds(entry):
            return False
        if entry.expiry is not None:
            self._deadlines.cancel(entry)
        entry.expire_at(deadline)
        if deadline is not None:
            self._deadlines.schedule(entry, deadline)
        return True

    def sweep(self, most: int, now: float) -> Sequence[Removal]:
        """Take out at most so many entries that have expired, and return them."""
        return self._do(lambda removed: self._sweep(most - len(removed), now, removed))[1]

    def _tell_later(self, done: tuple[R, list[Removal]]) -> R:
        """Keep what was put out beside what was asked for, which is rare, for the next who can tell."""
        result, removed = done
        if removed:
            run_locked(self.lock, self._keep_untold, removed)
        return result

    def _keep_untold(self, removed: list[Removal]) -> None:
        self._untold.extend(removed)  # looked up under the lock: a nested operation takes the list over

    # ---- who goes

    def _note_replaced(self, old: Any, now: float, removed: list[Removal]) -> None:
        if old.is_published:
            cause = REPLACED if old.is_live(now) else EXPIRED
            removed.append((old.key, old.value, cause))

    def _refuse(self, old: Any, key: Any, value: Any, now: float, removed: list[Removal]) -> bool:
        """Take out what a value that is too large was to replace. One is told as OVERSIZE: what lived, or else that."""
        was_live = old is not None and old.is_live(now)
        if old is not None:
            self._take_out(old, OVERSIZE if was_live else EXPIRED, removed)
        if not was_live:
            removed.append((key, value, OVERSIZE))
        return False

    def _make_room(self, weight: int, now: float, removed: list[Removal]) -> None:
        """Remove what must go so that another fits."""
        entries: dict[Any, Any] = self.entries
        while self.items and (self.items >= self._most_items or self._weight + weight > self._most_weight):
            if self._deadlines.due <= now:
                expired = self._deadlines.pop_expired(now)
                if expired is not None:
                    self._put_out(expired, EXPIRED, removed)
                    continue
            entry = self._policy.evict()
            entry.is_stored = False  # `_strike_out` and `_pop`, written out: this is most of what a `set` does
            self.items -= 1
            self._weight -= entry.weight
            if entry.expiry is not None:
                self._deadlines.cancel(entry)
            if entry.flight is not None:
                self._put_out(entry, EVICTED, removed)
                continue
            try:
                popped: Any = entries.pop(entry.key, None)
            except Exception:
                popped = None
            if popped is not entry:
                popped = self._pop_otherwise(entry, popped, removed)
            if popped is entry:  # without a flight, it has a value
                if self._retiring or self._successors:
                    self._note_removed(entry)
                removed.append((entry.key, entry.value, EVICTED))
                if entry.is_stored:  # again, by nested code that has made the accounts anew
                    self._account(removed, self._strike_out, entry)

    def _sweep(self, most: int, now: float, removed: list[Removal]) -> bool:
        """Take out at most so many."""
        for _ in range(most):
            entry: Any = self._deadlines.pop_expired(now)
            if entry is None:
                break
            self._put_out(entry, EXPIRED, removed)
        return True

    def _put_out(self, entry: Any, cause: RemovalCause, removed: list[Removal]) -> None:
        """Take out an entry that has to go; one that is being refreshed stays, and is pending from now on.

        So whoever asks for its key joins the fill that is on its way, whose outcome is stored.

        The lock makes one step of looking at its flight and acting on that: whoever ends a flight, by publishing or by
        retracting it, lets go of `entry.flight` under it too. Else

            1. a sweep looks: the entry has a flight     2. that fails, and leaves the entry what it shows
            3. the sweep makes it pending                -- with neither a value nor a flight, for ever.
        """
        flight = entry.flight
        if flight is None or flight.is_orphaned or not entry.is_published:
            return self._take_out(entry, cause, removed)
        self._retiring[entry] = entry.value
        try:
            self._strike_out(entry)
            entry.expire_at(UNPUBLISHED)  # not its value, which somebody may be about to read
        finally:
            is_told = self._retiring.pop(entry, Empty) is Empty
        if not is_told:
            removed.append((entry.key, entry.value, cause))

    def _take_out(self, entry: Any, cause: RemovalCause, removed: list[Removal]) -> None:
        """Take an entry out for good; it and its key live on in `removed` until the lock is let go."""
        if entry.is_stored:
            self._strike_out(entry)
        if self._pop(entry, removed) and entry.is_published:
            removed.append((entry.key, entry.value, cause))

    def _pop(self, entry: Any, removed: list[Removal]) -> bool:
        """Take what is under the key of `entry` out of the dict; say whether it was that."""
        popped: Any = None
        with suppress(Exception):
            popped = self.entries.pop(entry.key, None)
        if popped is not entry:
            popped = self._pop_otherwise(entry, popped, removed)
        if popped is entry:
            self._note_removed(entry)
            if entry.is_stored:  # again, by nested code that has made the accounts anew
                self._account(removed, self._strike_out, entry)
        if not self.entries:
            self._shrink()
        return popped is entry

    def _pop_otherwise(self, entry: Any, popped: Any, removed: list[Removal]) -> Any:
        """Take `entry` out where its key did not find it, but `popped`: its hash has changed, or it raises.

        Or nested code has removed it.
        """
        if popped is not None:
            self._note_stranger(popped, removed)
            return None
        if entry.hash is not None:
            with suppress(Exception):
                popped = self.entries.pop(SameKey(entry.key, entry.hash), None)
        if popped is None and self._under_way is removed:
            return self._walk_to(entry, removed)
        if popped is not entry:
            self._note_stranger(popped, removed)
        return popped

    def _walk_to(self, entry: Any, removed: list[Removal]) -> Any:
        found = None
        for each in self._discard({entry}):
            if each is entry:
                found = each
            else:
                self._note_stranger(each, removed)
        return found

    def _note_stranger(self, popped: Any, removed: list[Removal]) -> None:
        """Drop what a method of the key, or a finalizer, has put in the place of what was to be taken out.

        A value may always go, while one that is put back could outlive an invalidation.
        """
        if popped is not None:
            self._note_removed(popped)
            if popped.is_published:
                removed.append((popped.key, popped.value, EVICTED))
            self._account(removed, self._strike_out, popped)

    def _drop(self, entry: Entry) -> None:
        self._note_stranger(entry, self._untold)

    def _report_later(self, removal: Removal) -> None:
        self._untold.append(removal)

    def discard(self, entries: Collection[Entry]) -> list[Entry]:
        return self._tell_later(self._do(self._discard_stored, set(entries)))

    def _discard_stored(self, unwanted: set[Entry], removed: list[Removal]) -> list[Entry]:
        gone = self._discard(unwanted)
        for entry in gone:
            self._strike_out(entry)
        return gone


def is_kept(entry: Any) -> bool:
    """Say whether an entry of the dict is to be in the books: with a value, or with a stored exception."""
    if entry.is_published:
        return True
    flight = entry.flight
    return flight is not None and bool(flight.is_stored)
