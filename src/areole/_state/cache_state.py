"""CacheState: what all views of one cache share, and the one place where an entry leaves it.

A cache is a state and a strategy for its fills (see `_fill`): threads and tasks, functions that are cached in it, and
the caches of single instances are strategies over one state, or over one with other entries or other counters.

Every removal here is of one entry, by identity (invariant 9), and is reported once, after every lock has been released.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, Self

from .._core.entry import UNPUBLISHED, Empty, Entry, Removal
from .._core.fill_times import FillTimes
from .._core.flight import Flight
from .._core.stats import Counters, HitCounter, make_on_hit
from .._core.ttl import DeadlineOf
from .._expiry.freed_functions import FreedFunctions
from .._expiry.lazy_expirer import LazyExpirer
from .._index.bounded import BoundedIndex, is_kept
from .._index.limits import OVERHEAD, size_of, weigh_none
from .._index.protocol import EntriesView, Index
from .._platform.locks import run_locked
from ..typing import CacheInfo, Clock, RemovalCause, RemovalListener

__all__ = ["LOST_AFTER", "CacheState"]

_log = logging.getLogger("areole")

LOST_AFTER: Final = 3
"""How often an entry is found that cannot be removed until it is taken for one whose key does not find it."""

EVICTED, EXPIRED, OVERSIZE = RemovalCause.EVICTED, RemovalCause.EXPIRED, RemovalCause.OVERSIZE


class CacheState:
    """The entries of a cache, and what happens to them but for fills: lookups, removals, reports, counters."""

    __slots__ = (
        "__weakref__",
        "behind",
        "clock",
        "counters",
        "deadline_of",
        "entries",
        "entry_type",
        "error_deadline_of",
        "expirer",
        "explain_key",
        "fill_times",
        "fills_plainly",
        "freed",
        "hits",
        "idle",
        "index",
        "name",
        "noted_by",
        "on_hit",
        "on_removal",
        "stores_live_only",
        "ttl",
    )

    def __init__(
        self,
        name: str,
        index: Index,
        clock: Clock,
        *,
        ttl: Any = None,
        deadline_of: DeadlineOf[Any, Any],
        on_removal: RemovalListener[Any, Any] | None = None,
        hits: HitCounter | None = None,
        entry_type: type[Entry] | None = None,
        idle: float | None = None,
    ) -> None:
        self.name = name
        self.index = index
        self.entries: EntriesView = index.entries  # what a hit reads
        self.entry_type: type[Entry] = entry_type or index.entry_type
        self.clock, self.ttl = clock, ttl
        self.idle = idle
        """After how many seconds without a lookup a value expires; None: that is not noted."""
        self.deadline_of = self.error_deadline_of = deadline_of
        self.on_removal = on_removal
        self.counters = Counters()
        self.hits = hits
        self.noted_by: Sequence[HitCounter] = () if hits is None else (hits,)
        """Which counters `on_hit` steps."""
        self.on_hit: Callable[[Any], object] | None = self._make_on_hit(self.noted_by)
        self.fill_times: FillTimes | None = None if hits is None else FillTimes()
        self.behind: Any = None
        """The counters of a shared cache that this one asks first: what that has is no fill."""
        self.explain_key: Callable[[Any], str] = _explain_key
        self.expirer: LazyExpirer | None = None
        if ttl is not None or idle is not None:
            self.expire_lazily()
        self.freed = FreedFunctions()
        self.fills_plainly = True
        """Whether a lookup of the cache's own need not ask for stale values, nor for keys of functions cached in it."""
        self.stores_live_only = True
        """Whether all that is stored is live until its deadline: no stored exceptions, no stale values."""

    def _make_on_hit(self, hits: Sequence[HitCounter]) -> Callable[[Any], object] | None:
        """Return what is to be called with the entry of each hit; None if nothing is."""
        is_noted = bool(hits) or self.index.record_access is not None
        on_hit = make_on_hit(hits, getattr(self.index, "policy", None)) if is_noted else None
        return on_hit if self.idle is None else partial(_note_use, self.index.lock, self.clock, on_hit)

    def expire_lazily(self) -> None:
        """Have expired values removed as others are filled, which limits do anyway. Under the lock, if it is shared."""
        if self.expirer is None and not self.index.is_bounded:
            self.expirer = LazyExpirer()

    def expire_this_too(self, flight: Flight) -> None:
        """Have a value that is about to be published removed lazily, where those of this cache had no ttl so far.

        Its entry may have been inserted unnoted, and may be removed meanwhile. A removal marks it, and then stops
        noting it; here it is noted, and then the mark is looked at. So one of the two has it noted no more.
        """
        if not self.index.is_bounded:
            if self.expirer is None:
                run_locked(self.index.lock, self.expire_lazily)
            self.expirer.note(flight.entry)  # type: ignore[union-attr]
            if flight.is_detached:
                self._forget(flight.entry)

    def _copy(self) -> Self:
        """Return another state with all of this, slot by slot: each instance makes one; `copy.copy` is much slower."""
        made: Self = object.__new__(type(self))
        made.name, made.index, made.entries, made.entry_type = self.name, self.index, self.entries, self.entry_type
        made.idle = self.idle
        made.clock, made.ttl, made.deadline_of = self.clock, self.ttl, self.deadline_of
        made.error_deadline_of, made.explain_key = self.error_deadline_of, self.explain_key
        made.counters, made.on_removal, made.freed = self.counters, self.on_removal, self.freed
        made.hits, made.on_hit, made.expirer = self.hits, self.on_hit, self.expirer
        made.noted_by = self.noted_by
        made.fill_times, made.behind = self.fill_times, self.behind
        made.fills_plainly, made.stores_live_only = self.fills_plainly, self.stores_live_only
        return made

    def with_own_entries(self) -> Self:
        """Return a state with the same settings, counters and lock, and with entries of its own: an instance's."""
        own = self._copy()
        own.index = self.index.twin()
        own.entries = own.index.entries
        own.noted_by = () if self.hits is None else (self.hits,)
        own.on_hit = own._make_on_hit(own.noted_by)
        own.expirer = self.expirer and LazyExpirer()
        return own

    def with_own_counters(self, hits: HitCounter | None) -> Self:
        """Return a state over the same entries that counts for a part of the cache, and for the whole too."""
        part = self._copy()
        part.counters, part.behind = self.counters.child(), None
        if self.hits is not None and hits is not None:
            part.noted_by = self.hits, hits
            part.on_hit = self._make_on_hit(part.noted_by)
        part.hits = hits
        return part

    # ---- lookups

    def find(self, key: Any) -> Entry | None:
        try:
            return self.index.find(key)
        except TypeError:
            self.refuse_unhashable(key)
            raise

    def refuse_unhashable(self, key: Any) -> None:
        """Raise a TypeError that says what is unhashable, if `key` is; else what was raised came from its methods."""
        try:
            hash(key)
        except TypeError as error:
            raise TypeError(f"{self.name}: {self.explain_key(key)} ({error})") from None

    def hit(self, entry: Entry) -> Any:
        """Return the value of a live entry, and note the hit."""
        value = entry.value
        if self.on_hit is not None:
            self.on_hit(entry)
        return value

    def hit_past_deadline(self, entry: Entry, now: float) -> Any:
        """Return the value of an entry past its `deadline` if it is live all the same, to be refreshed; else Empty."""
        if entry.is_live(now):
            return self.hit(entry)
        self.drop_expired(entry, now)
        return Empty

    def peek(self, key: Any, default: Any) -> Any:
        """Return the live value of `key`, which counts as no use, or `default`."""
        entry = self.find(key)
        if entry is not None:
            now = self.clock()
            if entry.is_live(now):
                return entry.value
            self.drop_expired(entry, now)
        return default

    def live_entries(self) -> list[Entry]:
        now = self.clock()
        return [entry for entry in self.index.snapshot() if entry.is_live(now)]

    def count_live(self) -> int:
        index = self.index
        if isinstance(index, BoundedIndex):
            count = index.count_if_none_has_expired(self.clock()) if self.stores_live_only else None
            return len(self.live_entries()) if count is None else count
        if self.entry_type is not Entry:
            return len(self.live_entries())
        # As `is_live` says of plain entries, without a call for each: this takes a third of the time.
        deadlines = [entry.deadline for entry in index.snapshot()]
        forever, now = deadlines.count(None), self.clock()
        if forever == len(deadlines):
            return forever
        return forever + sum([deadline is not None and deadline > now for deadline in deadlines])

    # ---- entries come

    def insert_if_absent(self, entry: Entry) -> Entry:
        expirer = self.expirer
        if expirer is not None:
            expirer.note(entry)  # first: its remover finds it noted
        try:
            found = self.index.insert_if_absent(entry)
        except TypeError:
            self.refuse_unhashable(entry.key)
            raise
        if found is not entry and expirer is not None:
            expirer.discard(entry)
        return found

    def replace_entry(self, old: Entry, new: Entry) -> bool:
        """Put `new`, which shows the value of `old` from then on, in its place if that is still in the index."""
        expirer, tags = self.expirer, self.index.tags
        if expirer is not None:
            expirer.note(new)
        if tags is not None:
            tags.carry_over(old, new)  # before it shows the old value: see T2 in `tags`
        is_replaced = self.index.replace_if(old, new)
        if expirer is not None:
            expirer.discard(old if is_replaced else new)
        self.notify_unreported()
        return is_replaced

    # ---- entries leave

    def invalidate(self, key: Any, now: float) -> bool:
        """Remove what is there for `key`; say whether there was a value, or a running fill."""
        entry, had_flight = self.remove(key)
        return entry is not None and (self.notify_removed(entry, now) or had_flight)

    def remove(self, key: Any) -> tuple[Entry | None, bool]:
        """Remove what is there for `key`, unreported; return it, and whether a fill of it was running.

        A failed `remove_if` means that the entry was removed or replaced meanwhile. The new one may come from a fill
        that began before this call, so look again. If the same one is found again and again, then its own key does not
        find it any more, as its hash has changed.
        """
        found, times = None, 0
        while (entry := self._find_to_remove(key)) is not None:
            flight = entry.flight
            had_flight = flight is not None and not flight.is_orphaned  # before it is removed: it may settle after
            is_out = self.index.remove_if(entry)
            found, times = entry, times + 1 if entry is found else 1
            if not is_out and times >= LOST_AFTER:
                is_out = self._remove_lost(entry)
            if is_out:
                self._forget(entry)
                self.notify_unreported()
                return entry, had_flight
        self.notify_unreported()
        return None, False

    def remove_entry(self, entry: Entry) -> bool:
        """Remove `entry`, unreported, if it is in the index."""
        is_out = self.index.remove_if(entry)
        if is_out:
            self._forget(entry)
        return is_out

    def clear(self, now: float | None = None) -> None:
        """Remove and report all that is there now."""
        now = self.clock() if now is None else now
        self._remove_all(now)
        if self.expirer is not None:
            self.expirer.forget()
        self.freed.forget()
        if self.index.tags is not None:
            self.index.tags.drop_empty()

    def _remove_all(self, now: float) -> None:
        entries = self.snapshot_to_remove()
        for entry in entries:
            with suppress(Exception):  # from a method of the key: see below
                self.invalidate(entry.key, now)
        self.discard_lost(entries, now)

    def remove_all(self, entries: list[Entry], now: float) -> None:
        """Remove and report those of `entries` that are in the index still; what has taken their place stays."""
        for entry in entries:
            with suppress(Exception):  # from a method of the key, as above
                if self.remove_entry(entry):
                    self.notify_removed(entry, now)
        self.discard_lost(entries, now)
        self.notify_unreported()

    def sweep(self) -> int:
        """Remove all values that have expired; return how many."""
        now = self.clock()
        expired = [entry for entry in self.index.snapshot() if self.is_useless(entry, now)]
        swept = sum([self.drop_expired(entry, now) for entry in expired])
        swept += self.discard_lost([entry for entry in expired if self.is_useless(entry, now)], now)
        if self.expirer is not None:
            self.expirer.forget()
        if self.freed:
            self.freed.remove_all(self)
        return swept

    def drop_expired(self, entry: Entry, now: float) -> bool:
        """Remove and report `entry` if its value is of no use any more and nobody is refilling it."""
        if not self.is_useless(entry, now) or not self.index.remove_if(entry, expired_by=now):
            return False
        self._forget(entry)
        self.notify([(entry.key, entry.value, EXPIRED)])
        return True

    @staticmethod
    def is_useless(entry: Entry, now: float) -> bool:
        """Say whether an entry has a value that is of no use any more, and that nobody is refilling."""
        return entry.flight is None and entry.is_published and not entry.is_usable(now)  # in this order: see entry

    def discard(self, entries: Collection[Entry], now: float) -> list[Entry]:
        """Remove and report `entries`, whatever has become of their keys' hashes; return all that had to go."""
        gone = self.index.discard(entries)
        for entry in gone:
            self._forget(entry)
            self.notify_removed(entry, now)
        return gone

    def discard_lost(self, entries: list[Entry], now: float) -> int:
        """Remove those of `entries` that are still in the index, as their keys do not find them; return how many."""
        lost = set(entries).intersection(self.index.snapshot()) if entries else ()
        return len(self.discard(lost, now)) if lost else 0

    def _remove_lost(self, entry: Entry) -> bool:
        """Remove an entry that its own key does not find, unreported; report what else had to go with it."""
        gone = self.index.discard([entry])
        now = self.clock()
        for each in gone:
            if each is not entry:
                self.notify_removed(each, now)
        return entry in gone

    def _find_to_remove(self, key: Any) -> Entry | None:
        """Find an entry, also one that is out of the index for a moment, see `DictIndex.discard`."""
        rebuilds = self.index.rebuilds
        entry = self.find(key)
        if entry is None and (rebuilds % 2 or self.index.rebuilds != rebuilds):
            return run_locked(self.index.lock, self.index.find_again, key)
        return entry

    def snapshot_to_remove(self) -> list[Entry]:
        rebuilds = self.index.rebuilds
        entries = self.index.snapshot()
        if rebuilds % 2 or self.index.rebuilds != rebuilds:
            return run_locked(self.index.lock, self.index.snapshot_again)
        return entries

    def _forget(self, entry: Entry) -> None:
        if self.expirer is not None:
            self.expirer.discard(entry)

    # ---- reports

    def notify(self, removed: Sequence[Removal]) -> None:
        """Count what has left, and call the listener. Never under a lock."""
        for key, value, cause in removed:
            if cause is EVICTED or cause is OVERSIZE:
                self.counters.evictions.increment_and_get()
                if cause is OVERSIZE:
                    self.counters.oversize.increment_and_get()
            elif cause is EXPIRED:
                self.counters.expirations.increment_and_get()
            if self.on_removal is None:
                continue
            try:
                self.on_removal(key, value, cause)
            except Exception:
                _log.exception("%s: on_removal raised for a key of type %s", self.name, type(key).__name__)

    def notify_removed(self, entry: Entry, now: float) -> bool:
        """Report an entry that was removed on request; return whether it had a value, or a stored exception."""
        deadline = entry.expires  # read once: its leader may publish it yet
        if deadline is None or deadline > now:
            self.notify([(entry.key, entry.value, RemovalCause.EXPLICIT)])
            return True
        if deadline != UNPUBLISHED:
            self.notify([(entry.key, entry.value, EXPIRED)])
        flight = entry.flight
        return flight is not None and flight.stores_error(now)

    def notify_unreported(self) -> None:
        """Report what an operation has removed that could not report it."""
        if self.index.unreported:
            self.notify(self.index.take_unreported())

    # ---- numbers

    def info(self) -> CacheInfo:
        index = self.index
        bounds = index if isinstance(index, BoundedIndex) else None
        info = CacheInfo(
            hits=None if self.hits is None else self.hits.total(),
            maxsize=index.max_items,
            currsize=self.count_live(),
            max_bytes=None if bounds is None else bounds.max_weight,
            size_in_bytes=bounds.count()[1] if bounds is not None and bounds.weigh is not weigh_none else None,
            **self.counters.read(),
        )
        if self.behind is None:
            return info
        behind = self.behind.read()
        return info._replace(fills=behind["fills"], failures=behind["failures"], shared_hits=behind["hits"])

    def reset_counters(self) -> None:
        """Start all counters at 0 again, as functools' `cache_clear` does."""
        if self.hits is not None:
            self.hits.reset()
        if self.fill_times is not None:
            self.fill_times.reset()
        self.counters.reset()

    def size_in_bytes(self) -> int:
        index = self.index
        if isinstance(index, BoundedIndex) and index.weigh is not weigh_none:
            return index.count()[1]
        return sum([_weight_of(entry) for entry in index.snapshot() if is_kept(entry)])


def _note_use(lock: Any, clock: Clock, on_hit: Callable[[Any], object] | None, entry: Any) -> None:
    """Note a hit where values expire that nobody reads: see IdleTimes."""
    times = entry.times
    if times is not None:
        times.used = now = clock()
        if entry.deadline <= now:
            run_locked(lock, entry.look_again_later)
    if on_hit is not None:
        on_hit(entry)


def _weight_of(entry: Entry) -> int:
    """Return what an entry weighs where there is no weigher; of a stored exception, its key."""
    value = entry.value
    size = 0 if value is Empty else len(value) if isinstance(value, bytes) else size_of(value)
    return size + size_of(entry.key) + OVERHEAD


def _explain_key(key: object) -> str:
    return f"the key, of type {type(key).__name__}, is not hashable: use a hashable one, such as a tuple for a list"
