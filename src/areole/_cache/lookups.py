"""BaseCache: what every cache of the library does with what is there: look up, count, remove, tell the listener."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from numbers import Real
from typing import Any, Final, Generic, NoReturn, Self, TypeVar, overload

from .._core.entry import UNPUBLISHED, Empty, Entry, Removal
from .._core.stats import Counters, make_hit_counter, make_on_hit
from .._core.ttl import DeadlineOf, as_float, make_deadline
from .._expiry.freed_functions import DroppedFunctions
from .._expiry.lazy_expirer import Tidier
from .._index.bounded import BoundedIndex, is_kept
from .._index.dict import DictIndex
from .._index.limits import OVERHEAD, size_of, weigh_none
from .._index.make import make_index
from .._index.protocol import EntriesView, Index
from .._platform.arguments import check_bool, check_keys, check_name, check_plain, shown
from .._platform.locks import run_locked
from .._platform.refcount import defer
from ..typing import CacheInfo, Clock, IndexName, RemovalCause, RemovalListener, Ttl

__all__ = ["LOST_AFTER", "BaseCache", "slots_of"]

K = TypeVar("K")
V = TypeVar("V")
D = TypeVar("D")

_log = logging.getLogger("areole")

LOST_AFTER: Final = 3
"""How often an entry is found that cannot be removed until it is taken for one whose key does not find it."""

EVICTED, EXPIRED, OVERSIZE = RemovalCause.EVICTED, RemovalCause.EXPIRED, RemovalCause.OVERSIZE


class BaseCache(Generic[K, V]):
    """Lookups that neither fill nor wait, removal, counters.

    A hit takes no lock and writes nothing that threads share. `len`, iteration, `clear` and `cache_info` are weakly
    consistent under concurrent writes: each key is seen as it was at some moment during the call.
    """

    __slots__ = (
        "__weakref__",
        "_clock",
        "_counters",
        "_deadline_of",
        "_dropped",
        "_entries",
        "_error_deadline_of",
        "_explain_key",
        "_hits",
        "_index",
        "_on_hit",
        "_on_removal",
        "_tidier",
        "_ttl",
        "name",
    )
    __reversed__ = None  # else Python would take `[0]`, and the keys before it, for what is to be reversed

    def __init__(
        self,
        ttl: Ttl[K, V] | None = None,
        *,
        on_removal: RemovalListener[K, V] | None = None,
        stats: bool = False,
        clock: Clock = time.monotonic,
        name: str | None = None,
        index: IndexName | DictIndex = "auto",
    ) -> None:
        if on_removal is not None:
            check_plain("on_removal", on_removal)
        _check_clock(clock)
        check_bool("stats", stats)
        check_name(name)
        self.name = name or type(self).__name__
        self._ttl = ttl
        self._clock = clock
        self._deadline_of: Callable[[K, V], float | None] = make_deadline(ttl, clock)
        self._error_deadline_of: DeadlineOf[Any, Any] = self._deadline_of
        self._on_removal = on_removal
        self._counters = Counters()
        self._hits = make_hit_counter() if stats else None
        self._explain_key: Callable[[Any], str] = _explain_key
        self._index: Index = index if isinstance(index, DictIndex) else make_index(index, keeps_keys=ttl is None)
        self._on_hit = self._make_on_hit(self._index)
        self._entries: EntriesView = self._index.entries  # what a hit reads: saves it one attribute
        self._dropped = DroppedFunctions()  # here, so that all views of a cache share it
        self._tidier = None if ttl is None or self._index.is_bounded else Tidier()
        defer(self, self._entries)

    def _twin(self) -> Self:
        """Make a cache with the same settings, counters and lock, and entries of its own, for one instance's method.

        It lives and dies with the instance, so its reference counts are not deferred.
        """
        twin = object.__new__(type(self))
        for name in slots_of(type(self)):  # type: ignore[arg-type]
            setattr(twin, name, getattr(self, name))
        if hasattr(self, "__dict__"):  # a user's subclass
            twin.__dict__.update(self.__dict__)
        twin._index = self._index.twin()
        twin._entries = twin._index.entries
        twin._on_hit = self._make_on_hit(twin._index)
        twin._tidier = self._tidier and Tidier()
        return twin

    def _make_on_hit(self, index: Index) -> Callable[[Any], object] | None:
        """Return what is to be called with the entry of each hit; None if nothing is."""
        if self._hits is None and index.record_access is None:
            return None
        return make_on_hit([] if self._hits is None else [self._hits], getattr(index, "policy", None))

    # ---- lookups

    @overload
    def get(self, key: K) -> V | None: ...
    @overload
    def get(self, key: K, default: D) -> V | D: ...
    def get(self, key: K, default: Any = None) -> Any:
        """Return the value of `key` if there is one that has not expired, else `default`. Never fills, never waits."""
        try:
            entry = self._entries[key]
            deadline = entry.deadline
            if deadline is None or deadline > (now := self._clock()):
                if self._on_hit is not None:
                    self._on_hit(entry)
                return entry.value
            if (value := self._look_closer(entry, now)) is not Empty:
                return value
        except KeyError:
            pass
        except TypeError:
            self._refuse_unhashable(key)
            raise
        self._counters.misses.increment_and_get()
        return default

    def _look_closer(self, entry: Entry, now: float) -> Any:
        """Return the value of an entry past its `deadline` if it is live all the same, to be refreshed; else Empty."""
        if not entry.is_live(now):
            self._drop_expired(entry, now)
            return Empty
        value = entry.value
        if self._on_hit is not None:
            self._on_hit(entry)
        return value

    @overload
    def peek(self, key: K) -> V | None: ...
    @overload
    def peek(self, key: K, default: D) -> V | D: ...
    def peek(self, key: K, default: Any = None) -> Any:
        """Return what `get` would, without counting as a use: in no counter, nor for an eviction policy."""
        entry = self._find(key)
        if entry is not None:
            now = self._clock()
            if entry.is_live(now):
                return entry.value
            self._drop_expired(entry, now)
        return default

    def get_many(self, keys: Iterable[K]) -> dict[K, V]:
        """Return those of `keys` that have a value, with it. Each lookup is a `get`; together they are no snapshot."""
        check_keys("get_many", keys)
        found = ((key, self.get(key, Empty)) for key in keys)
        return {key: value for key, value in found if value is not Empty}  # type: ignore[misc]

    def __contains__(self, key: K) -> bool:
        """Say whether there is a value that has not expired. Never fills, never waits; not for a stored exception."""
        return self.peek(key, Empty) is not Empty

    def __len__(self) -> int:
        """Count the values that have not expired.

        With limits, and while nothing stored has expired, this is a number that is kept. Else it takes a walk through
        all entries: a value expires without anybody noticing, and a fill that is running has an entry too. To keep
        count of both would cost each fill more than a walk is worth.
        """
        return self._count_live()

    def __iter__(self) -> Iterator[K]:
        """Iterate over the keys that had a value when the iteration began."""
        return iter([entry.key for entry in self._live_entries()])

    def _count_live(self) -> int:
        """Do what `len` says, of a closed store too."""
        return len(self._live_entries())

    def _live_entries(self) -> list[Entry]:
        now = self._clock()
        return [entry for entry in self._index.snapshot() if entry.is_live(now)]

    # ---- removal

    def invalidate(self, key: K) -> bool:
        """Remove the value of `key` and detach a fill that is running; say whether there was either.

        Does not wait. A lookup that starts after this has returned never yields a value whose fill began before it;
        a fill that was running finishes for those who wait for it and is stored nowhere (invariant 3).
        """
        return self._invalidate(key, self._clock())

    def clear(self) -> None:
        """Invalidate all that is there when the call begins. What is filled meanwhile may stay."""
        now = self._clock()
        entries = self._snapshot_to_remove()
        for entry in entries:
            with suppress(Exception):  # from a method of the key: see below
                self._invalidate(entry.key, now)
        self._discard_lost(entries, now)
        if self._tidier is not None:
            self._tidier.forget()
        self._dropped.forget()

    def _invalidate(self, key: K, now: float) -> bool:
        entry, had_flight = self._remove(key)
        return entry is not None and (self._tell_removed(entry, now) or had_flight)

    def _remove(self, key: K) -> tuple[Entry | None, bool]:
        """Take out what is there for `key`, and tell nobody yet; return it, and whether a fill of it was running.

        A failed `remove_if` means that the entry was taken out or replaced meanwhile. The new one may come from a fill
        that began before this call, so look again. If the same one is found again and again, then its own key does not
        find it any more, as its hash has changed.
        """
        found, times = None, 0
        while (entry := self._find_to_remove(key)) is not None:
            flight = entry.flight
            had_flight = flight is not None and not flight.is_orphaned  # before it is removed: after it, it may land
            is_out = self._index.remove_if(entry)
            found, times = entry, times + 1 if entry is found else 1
            if not is_out and times >= LOST_AFTER:
                is_out = self._remove_lost(entry)
            if is_out:
                if self._tidier is not None:
                    self._tidier.let_go(entry)
                self._tell_unreported()
                return entry, had_flight
        self._tell_unreported()
        return None, False

    def _remove_lost(self, entry: Entry) -> bool:
        """Take out an entry that its own key does not find; report what else had to go with it."""
        gone = self._index.discard([entry])
        now = self._clock()
        for each in gone:
            if each is not entry:
                self._tell_removed(each, now)
        return entry in gone

    def _find_to_remove(self, key: K) -> Entry | None:
        """Find an entry, also one that is out of the index for a moment, see `DictIndex.discard`."""
        rebuilds = self._index.rebuilds
        entry = self._find(key)
        if entry is None and (rebuilds % 2 or self._index.rebuilds != rebuilds):
            return run_locked(self._index.lock, self._index.find_again, key)
        return entry

    def _snapshot_to_remove(self) -> list[Entry]:
        rebuilds = self._index.rebuilds
        entries = self._index.snapshot()
        if rebuilds % 2 or self._index.rebuilds != rebuilds:
            return run_locked(self._index.lock, self._index.snapshot_again)
        return entries

    def _tell_unreported(self) -> None:
        """Report what an operation has removed that could not report it."""
        if self._index.unreported:
            unreported, self._index.unreported = self._index.unreported, []
            self._tell(unreported)

    def _discard_lost(self, entries: list[Entry], now: float) -> int:
        """Remove those of `entries` that are still in the index, as their keys do not find them; return how many."""
        lost = set(entries).intersection(self._index.snapshot()) if entries else ()
        return self._discard(lost, now) if lost else 0

    def _discard(self, entries: Collection[Entry], now: float) -> int:
        """Remove `entries` whatever has become of their keys' hashes, and report them; return how many there were."""
        gone = self._index.discard(entries)
        for entry in gone:
            if self._tidier is not None:
                self._tidier.let_go(entry)
            self._tell_removed(entry, now)
        return len(gone)

    def _find(self, key: K) -> Entry | None:
        try:
            return self._index.find(key)
        except TypeError:
            self._refuse_unhashable(key)
            raise

    def _tell_removed(self, entry: Entry, now: float) -> bool:
        """Report an entry that was taken out on request; return whether it had a value, or a stored exception."""
        deadline = entry.expires  # read once: its leader may publish it yet
        if deadline is None or deadline > now:
            self._tell([(entry.key, entry.value, RemovalCause.EXPLICIT)])
            return True
        if deadline != UNPUBLISHED:
            self._tell_expired(entry)
        flight = entry.flight
        return flight is not None and flight.stores_error(now)

    def sweep(self) -> int:
        """Take out all values that have expired; return how many. Takes no lock for longer than one removal."""
        now = self._clock()
        expired = [entry for entry in self._index.snapshot() if self._is_useless(entry, now)]
        swept = sum([self._drop_expired(entry, now) for entry in expired])
        swept += self._discard_lost([entry for entry in expired if self._is_useless(entry, now)], now)
        if self._tidier is not None:
            self._tidier.forget()
        if self._dropped:
            self._dropped.remove_all(self)
        return swept

    def _drop_expired(self, entry: Entry, now: float) -> bool:
        """Take `entry`, found without a live value, out if that is of no use any more and nobody is refilling it."""
        if not self._is_useless(entry, now) or not self._index.remove_if(entry, expired_by=now):
            return False
        if self._tidier is not None:
            self._tidier.let_go(entry)
        self._tell_expired(entry)
        return True

    @staticmethod
    def _is_useless(entry: Entry, now: float) -> bool:
        """Say whether an entry has a value that is of no use any more, and that nobody is refilling."""
        return entry.flight is None and entry.is_published and not entry.is_usable(now)  # in this order: see _entry

    def _tell_expired(self, entry: Entry) -> None:
        self._tell([(entry.key, entry.value, RemovalCause.EXPIRED)])

    def _tell(self, removed: Sequence[Removal]) -> None:
        """Count what has left, and tell the listener."""
        for key, value, cause in removed:
            if cause is EVICTED or cause is OVERSIZE:
                self._counters.evictions.increment_and_get()
            elif cause is EXPIRED:
                self._counters.expirations.increment_and_get()
            if self._on_removal is not None:
                self._call_listener(self._on_removal, key, value, cause)

    def _call_listener(self, listener: RemovalListener[K, V], key: K, value: V, cause: RemovalCause) -> None:
        try:
            listener(key, value, cause)
        except Exception:
            _log.exception("%s: on_removal raised for a key of type %s", self.name, type(key).__name__)

    # ---- the cache as an object

    def __bool__(self) -> bool:
        """A cache is true, an empty one too: `cache or make_cache()` keeps the one that was given."""
        return True

    def cache_info(self) -> CacheInfo:
        """Return the counters so far, and how many values there are."""
        index = self._index
        bounds = index if isinstance(index, BoundedIndex) else None
        return CacheInfo(
            hits=None if self._hits is None else self._hits.total(),
            maxsize=index.max_items,
            currsize=self._count_live(),
            max_bytes=None if bounds is None else bounds.max_weight,
            size_in_bytes=bounds.count()[1] if bounds is not None and bounds.weigh is not weigh_none else None,
            **self._counters.read(),
        )

    def _reset_counters(self) -> None:
        """Start all counters at 0 again, as functools' `cache_clear` does."""
        if self._hits is not None:
            self._hits.reset()
        self._counters.reset()

    @property
    def size_in_bytes(self) -> int:
        """What the stored values weigh, with their keys and 320 bytes each; exact while no operation is running.

        Values that have expired count until they are removed. Without a limit in bytes and a weigher nobody keeps the
        sum: it is found by walking through the cache.
        """
        index = self._index
        if isinstance(index, BoundedIndex) and index.weigh is not weigh_none:
            return index.count()[1]
        return sum([_weight_of(entry) for entry in index.snapshot() if is_kept(entry)])

    def __repr__(self) -> str:
        counters, values = self._counters, self._count_live()
        counts = f"{values} values, {counters.fills.get()} fills, {counters.misses.get()} misses"
        return f"<{type(self).__name__} {self.name!r}: {counts}>"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError(
            f"{self.name}: a cache cannot be pickled or copied; share the object itself, or make a new one. A memoized "
            "function is pickled by its name: if it is in __main__, whose functions cloudpickle sends by value, move "
            "it into a module that the other process imports"
        )

    def _refuse_unhashable(self, key: K) -> None:
        """Raise a TypeError that says what is unhashable, if `key` is; else what was raised came from its methods."""
        try:
            hash(key)
        except TypeError as error:
            raise TypeError(f"{self.name}: {self._explain_key(key)} ({error})") from None


def _check_clock(clock: Any) -> None:
    """Raise unless `clock` is a function that gives seconds, by calling it once."""
    check_plain("clock", clock)
    reading = clock()
    if not isinstance(reading, Real) or isinstance(reading, bool):
        raise TypeError(
            f"clock must give seconds as a number, as time.monotonic does: it gave one of type {type(reading).__name__}"
        )
    if not math.isfinite(as_float(reading)):
        raise ValueError(f"clock must give a finite number of seconds: it gave {shown(reading)}")


@lru_cache(maxsize=64)
def slots_of(cache_type: type) -> list[str]:
    slots = [name for base in cache_type.__mro__ for name in base.__dict__.get("__slots__", ())]
    return [name for name in slots if not name.startswith("__")]


def _weight_of(entry: Entry) -> int:
    """Return what an entry weighs where there is no weigher; of a stored exception, its key."""
    value = entry.value
    size = 0 if value is Empty else len(value) if isinstance(value, bytes) else size_of(value)
    return size + size_of(entry.key) + OVERHEAD


def _explain_key(key: object) -> str:
    return f"the key, of type {type(key).__name__}, is not hashable: use a hashable one, such as a tuple for a list"
