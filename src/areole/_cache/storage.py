"""Storage: a store with limits, whose values its users set; see `_index.bounded` for what is evicted."""

from __future__ import annotations

import logging
import math
import time
import weakref
from collections.abc import Callable, Hashable, Iterable, Mapping, MutableMapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Generic, Self, TypeVar, overload

from .._core.accelerator import accelerate_get
from .._core.entry import Empty, Entry, IdleTimes, noting_each_hit
from .._core.sentinels import CACHE_MISS, DEFAULT_TTL, CacheMissSentinel, DefaultTTLSentinel
from .._core.stats import make_on_hit
from .._core.ttl import make_seconds, seconds_of
from .._expiry.sweeper import sweeper
from .._fill.filled import special_types
from .._fill.resilience import Resilience, stale_rules_of
from .._fill.rules import FillRules
from .._fill.threads import ThreadFills
from .._index.bounded import BoundedIndex
from .._index.limits import weigh_none
from .._platform.arguments import check_bool, check_keys, check_name, check_tags, suggests_names
from .._platform.refcount import defer
from .._state.live_caches import live_caches, name_by_place
from .._state.tags import note_tags
from ..errors import CacheClosedError
from ..typing import Clock, FillResult, PolicyName, RemovalListener
from .lookups import Lookups, T, new_state
from .storage_arguments import check_fill, most_swept, pairs_of, seconds_until, store_index, sweep_delay, ttl_seconds
from .storage_mapping import StorageMapping
from .storage_rules import deadline_in, rules_for_call, rules_with
from .storage_settings import StorageSettings

__all__ = ["Storage"]

D = TypeVar("D")

_log = logging.getLogger("areole")

SWEPT_AT_ONCE: Final = 100
"""How many expired entries a sweep removes before it releases the lock for a moment."""


class Storage(StorageSettings, StorageMapping[T], Lookups[Any, T], Generic[T]):
    """A key-value store for any hashable key, limited in bytes, in items, in both or in neither.

    It has the methods of a dict, and `isinstance` takes it for a MutableMapping; but `get` and `pop` give CACHE_MISS
    for what is absent, and a store is equal to itself alone.

    After the `Storage` of atomic_lru, by Fabien Marty.

    Args:
        size_limit_in_bytes: at least 4096, or None. An entry is charged its value (`len`), its key (`sys.getsizeof`)
            and 336 bytes. A value over half of the limit is not stored. Without a weigher, values must be bytes.
        max_items: at least 1, or None.
        default_ttl: seconds or a timedelta, not negative. None: values never expire, unless `set` gives a ttl.
        expiration_thread_delay: seconds between two sweeps of this store by the one background thread of all stores.
        expiration_thread_max_checks_per_iteration: the most entries that one sweep removes; 0: no sweeps.
        expiration_thread_log: log each sweep, at debug level, on the "areole" logger.
        expiration_disabled: ignore every ttl.
        policy: what is evicted when the store is full: "lru", the least recently used, or "s3fifo".
        weigher: called as (key, value) before the lock is taken, returns the bytes of a value.
        name: for messages, `repr` and metrics; by default the module and the line where the store is made.
        on_removal, stats, clock, idle: those of `AtomicCache`.

    Under concurrency:
        A lookup takes no lock, but to remove an expired entry. Writers take one, and run no code of yours under it but
        the methods of keys. When it is released, no limit is exceeded. Expired entries are removed before live ones.

    Raises:
        TypeError, ValueError: for an argument; the message names it.
        CacheClosedError: after `close`, from everything but `get`, `number_of_items` and `size_in_bytes`.
    """

    __slots__ = (
        "_counted_in",
        "_default_ttl",
        "_default_ttl_given",
        "_fills",
        "_idle_given",
        "_index",
        "_is_closed",
        "_is_swept",
        "_logs_sweeps",
        "_most_swept",
        "_sweep_delay",
        "_sweep_due",
        "_tick",
        "expiration_disabled",
    )
    _index: BoundedIndex
    _fills: ThreadFills

    @suggests_names()
    def __init__(
        self,
        size_limit_in_bytes: int | None = None,
        max_items: int | None = None,
        default_ttl: float | timedelta | None = None,
        expiration_thread_delay: float = 10.0,
        expiration_thread_max_checks_per_iteration: int = 10_000,
        expiration_thread_log: bool = False,
        expiration_disabled: bool = False,
        *,
        policy: PolicyName = "lru",
        weigher: Callable[[Any, T], int] | None = None,
        on_removal: RemovalListener[Any, T] | None = None,
        stats: bool = False,
        clock: Clock = time.monotonic,
        name: str | None = None,
        idle: float | timedelta | None = None,
    ) -> None:
        index = store_index(size_limit_in_bytes, max_items, weigher, policy)
        most_checks = most_swept(expiration_thread_max_checks_per_iteration)
        check_bool("expiration_thread_log", expiration_thread_log)
        check_bool("expiration_disabled", expiration_disabled)
        self._sweep_delay = sweep_delay(expiration_thread_delay)
        seconds = None if default_ttl is None else ttl_seconds(default_ttl, "default_ttl")
        check_name(name)
        self._idle_given = None if idle is None else seconds_of(idle, "idle")
        noted_idle = None if expiration_disabled else self._idle_given
        if noted_idle is not None:
            index.entry_type = noting_each_hit(index.policy.entry_type)
        state = new_state(name or name_by_place(type(self).__name__), index, clock, on_removal, stats, idle=noted_idle)
        has_tick = hasattr(index.policy, "tick")
        if not has_tick and noted_idle is None:
            # s3fifo is called: it notes which entries need no more of that, and `get` looks there
            state.on_hit = index.record_access if state.hits is None else make_on_hit([state.hits], index.policy, True)
        self._use(state)
        self._index = index
        self.expiration_disabled = expiration_disabled
        self._default_ttl_given = seconds
        self._default_ttl = None if expiration_disabled else seconds
        returner = f"get_or_fill: the fill for {state.name}"
        deadline_of = deadline_in(self._default_ttl, clock)  # no method of the store's own: that would make a cycle
        rules = FillRules(deadline_of, make_seconds(None), refused_types=special_types(False), returner=returner)
        rules.takes_ttls = partial(_takes_ttls, weakref.ref(self))
        self._fills = ThreadFills(state, rules)
        self._counted_in: Any = None if self._hits is None else self._hits.local
        self._tick = index.policy.tick if has_tick and not stats and noted_idle is None else None
        index.policy.always_records = stats
        defer(self, self._entries)
        self._is_closed = False
        self._sweep_due = math.inf
        self._most_swept = most_checks
        self._logs_sweeps = expiration_thread_log
        self._is_swept = False
        live_caches.add(state)
        if not (self._default_ttl is None and noted_idle is None):
            self._ask_for_sweeps()

    # ---- what is asked

    @overload  # type: ignore[override]
    def peek(self, key: Hashable) -> T | CacheMissSentinel: ...
    @overload
    def peek(self, key: Hashable, default: D) -> T | D: ...
    def peek(self, key: Hashable, default: Any = CACHE_MISS) -> Any:
        """Return what `get` would, without counting as a use."""
        self._check_open()
        return self._state.peek(key, default)

    @overload  # type: ignore[override]
    def get(self, key: Hashable) -> T | CacheMissSentinel: ...
    @overload
    def get(self, key: Hashable, default: D) -> T | D: ...
    def get(self, key: Hashable, default: Any = CACHE_MISS) -> Any:
        """Return the value of `key`, or `default` if it has none or has expired. Never fills, never waits."""
        try:
            entry: Any = self._entries[key]
            deadline = entry.deadline  # read once: `expire_in` may change it
            if deadline is None or deadline > (now := self._clock()):
                if entry.needs_access is not None:
                    if self._tick is not None:
                        entry.last_used = self._tick()  # `record_access` of lru
                    elif entry.needs_access:
                        self._on_hit(entry)  # type: ignore[misc]
                    else:  # to be counted alone
                        try:
                            for _ in self._counted_in.hits:
                                break
                        except AttributeError:
                            self._hits.start()  # type: ignore[union-attr]
                return entry.value
            if (value := self._state.hit_past_deadline(entry, now)) is not Empty:
                return value
        except KeyError:
            pass
        except TypeError:
            self._state.refuse_unhashable(key)
            raise
        self._state.counters.misses.increment_and_get()
        return default

    def __getitem__(self, key: Hashable) -> T:
        self._check_open()
        value = self.get(key, Empty)
        if value is Empty:
            raise KeyError(key)
        return value  # type: ignore[return-value]

    def ttl_of(self, key: Hashable) -> float | CacheMissSentinel | None:
        """Return the seconds until `key` expires: None if it never does, CACHE_MISS if it has no value."""
        self._check_open()
        entry, now = self._state.find(key), self._clock()
        if entry is None or not entry.is_live(now):
            return CACHE_MISS
        expires = entry.expires
        return None if expires is None or expires == math.inf else expires - now

    @property
    def number_of_items(self) -> int:
        """How many values are stored, with expired ones that have not been removed yet."""
        return self._index.count()[0]

    # ---- what is changed

    def set(self, key: Hashable, value: T, ttl: Any = DEFAULT_TTL, *, tags: Iterable[str] = ()) -> bool:
        """Store `value`. If it is too large, drop the key's old value and return False; else True.

        `ttl`: seconds or a timedelta, from now; 0: it expires at once; None: never; DEFAULT_TTL: the store's default. A
        running fill of the key is detached, and will not be stored. `tags`: texts by which `invalidate_tags` finds it;
        those of the old value count no more.
        """
        return self._store(key, value, ttl, tags)

    def add(self, key: Hashable, value: T, ttl: Any = DEFAULT_TTL, *, tags: Iterable[str] = ()) -> bool:
        """Store `value` only if the key is absent or has expired; say whether it was stored."""
        return self._store(key, value, ttl, tags, True)

    def _store(self, key: Hashable, value: T, ttl: Any, tags: Iterable[str] = (), only_if_absent: bool = False) -> bool:
        """Do what `set` and `add` say: weigh, make the entry, put it in, and report what that has removed.

        Whatever is a user's own (weigher, key, clock, listener) is called before the lock is taken, or after.
        """
        if self._is_closed:
            self._check_open()
        seconds = self._default_ttl if ttl is DEFAULT_TTL else self._seconds_for(ttl)
        index = self._index
        weigh = index.weigh
        weight = 1 if weigh is weigh_none else weigh(key, value)
        try:
            key_hash = hash(key)
        except TypeError:
            self._state.refuse_unhashable(key)
            raise
        now = self._clock()
        deadline = None if seconds is None else now + seconds
        entry: Any = index.entry_type(key, None, value, deadline, weight, key_hash)  # type: ignore[call-arg]
        if self._state.idle is not None:
            entry.publish(value, IdleTimes(deadline, now, self._state.idle))
        if tags:
            note_tags(index, entry, check_tags(self.name, tags))
        is_in, removed = index.put(entry, now, only_if_absent)
        if removed:
            self._state.notify(removed)
        if self._state.freed:
            self._state.freed.remove_some(self._state)
        return is_in

    def __setitem__(self, key: Hashable, value: T) -> None:
        self.set(key, value)

    def set_many(
        self, items: Mapping[Any, T] | Iterable[tuple[Any, T]], ttl: Any = DEFAULT_TTL, *, tags: Iterable[str] = ()
    ) -> int:
        """Store each item of a mapping, or each (key, value) pair, as `set` does; return how many were stored.

        They are stored one after the other: those before one that raises stay.
        """
        self._check_open()
        tags = check_tags(self.name, tags)
        return sum([self.set(key, value, ttl, tags=tags) for key, value in pairs_of(items)])

    def delete(self, key: Hashable) -> bool:
        """Remove `key`, and detach a fill that is running; say whether it had a value that had not expired."""
        self._check_open()
        entry, now = self._take(key)
        return entry is not None and self._state.notify_removed(entry, now)

    def __delitem__(self, key: Hashable) -> None:
        if not self.delete(key):
            raise KeyError(key)

    def delete_many(self, keys: Iterable[Hashable]) -> int:
        """Delete each of `keys`; return how many were there."""
        self._check_open()
        check_keys("delete_many", keys)
        return sum([self.delete(key) for key in keys])

    @overload
    def pop(self, key: Hashable) -> T | CacheMissSentinel: ...
    @overload
    def pop(self, key: Hashable, default: D) -> T | D: ...
    def pop(self, key: Hashable, default: Any = CACHE_MISS) -> Any:
        """Remove `key` and return its value, or `default` if it had none. Of several threads, one gets the value."""
        self._check_open()
        entry, now = self._take(key)
        value = Empty if entry is None else self._read_removed(entry, now)
        return default if value is Empty else value

    def _take(self, key: Hashable) -> tuple[Entry | None, float]:
        """Remove what is there for `key`, unreported; return it, and what the clock said before."""
        now = self._clock()
        return self._state.remove(key)[0], now

    def expire_in(self, key: Hashable, ttl: Any = None) -> bool:
        """Let `key` expire `ttl` from now (None: never; 0: at once); say whether it had a value."""
        self._check_open()
        seconds, now = self._seconds_for(ttl), self._clock()
        deadline = None if seconds is None else now + seconds
        refused = None
        while (entry := self._state.find(key)) is not None and entry is not refused and entry.is_live(now):
            if self._index.set_deadline(entry, deadline):
                return True
            # Set again meanwhile. If it is found again, then an operation of this thread, into which this call came by
            # a finalizer, is taking it out, and has yet to go on.
            refused = entry
        return False

    def expire_at(self, key: Hashable, when: datetime | None) -> bool:
        """Let `key` expire at `when` (None: never), in local time if it has no zone; at once if that has passed."""
        return self.expire_in(key, seconds_until(when))

    def get_or_fill(
        self,
        key: Hashable,
        fill: Callable[[Any], FillResult[T]],
        ttl: Any = DEFAULT_TTL,
        resilience: Resilience | None = None,
        *,
        allow_single_use: bool = False,
        tags: Iterable[str] | None = None,
    ) -> T:
        """Return the value of `key`; if it has none, run `fill(key)` in exactly one thread and store the result.

        The other callers wait for the outcome; what `AtomicCache` promises about fills holds here too. A `set` or
        `delete` during the fill wins: waiters get what was filled, and it is not stored. `allow_single_use`: see
        AtomicCache. `resilience` says what to do when `fill` fails or takes long. `tags`: as for `set`.
        """
        self._check_open()
        if resilience is not None:
            stale_rules_of(resilience)
            if self._state.idle is not None:
                raise ValueError("get_or_fill: resilience= is for a store without idle=: leave one of them out")
        now = None
        try:
            entry = self._entries[key]
            deadline = entry.deadline
            if deadline is None or deadline > (now := self._clock()):
                return self._state.hit(entry)  # type: ignore[no-any-return]
        except (KeyError, TypeError):
            pass  # what is unhashable is refused below
        check_bool("allow_single_use", allow_single_use)
        check_fill(fill, allow_single_use)
        if self._state.freed:
            self._state.freed.remove_some(self._state)  # as `set` does: this is about to store something
        rules = self._fills.rules
        if not (resilience is None and ttl is DEFAULT_TTL):
            rules = rules_with(rules, self._seconds_for(ttl), self._clock, resilience, self.expiration_disabled)
            if rules.stale is not None and rules.stale.stale_ttl is not None:
                self._state.stores_live_only = False
        if allow_single_use or tags is not None:
            rules = rules_for_call(rules, allow_single_use, tags)
        return self._fills.get_or_fill(key, partial(fill, key), now, rules)  # type: ignore[no-any-return]

    # ---- ttl, weight, life

    def _seconds_for(self, ttl: Any) -> float | None:
        if self.expiration_disabled:
            return None
        if isinstance(ttl, DefaultTTLSentinel):
            return self._default_ttl
        if ttl is None:
            return None
        seconds = ttl_seconds(ttl, "ttl")
        return seconds if self._takes_ttls() else None

    def _takes_ttls(self) -> bool:
        """Have values swept, one of which is about to have a ttl; False: every ttl is ignored."""
        if not (self._is_swept or self.expiration_disabled):
            self._ask_for_sweeps()
        return not self.expiration_disabled

    def sweep(self) -> int:
        """Remove expired values, as many as one sweep may; return how many. The background thread calls this."""
        self._check_open()
        now, swept = self._clock(), 0
        while swept < self._most_swept:
            removed = self._index.sweep(min(SWEPT_AT_ONCE, self._most_swept - swept), now)
            if not removed:
                break
            self._state.notify(removed)
            swept += len(removed)
        if self._state.freed:
            self._state.freed.remove_all(self._state)
        if self._logs_sweeps:
            _log.debug("%s: swept %d expired entries", self.name, swept)
        return swept

    def _ask_for_sweeps(self) -> None:
        if self._most_swept and not self.expiration_disabled:
            sweeper.add(self)
            if self._is_closed:  # meanwhile
                sweeper.remove(self)
        self._is_swept = True  # at last: if this was interrupted, the next ttl asks again

    def close(self, wait: bool = False) -> None:
        """Close the store; it may be closed more than once.

        With `wait`, return once the background thread has ended, if this was the last store that it swept.
        """
        check_bool("wait", wait)
        self._is_closed = True
        sweeper.remove(self, wait)

    def _check_open(self) -> None:
        if self._is_closed:
            raise CacheClosedError(f"{self.name} is closed: only get, number_of_items and size_in_bytes still work")

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


accelerate_get(Storage)


def _takes_ttls(store: weakref.ref[Storage[Any]]) -> bool:
    """Ask a store, if it is there still; its rules refer to it, and it to them."""
    found = store()
    return found is not None and found._takes_ttls()


MutableMapping.register(Storage)
