"""areole.cached: memoize functions in a cache that is there already, several of them in one if need be."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeAlias

from .._cache.atomic_cache import AsyncAtomicCache, AtomicCache
from .._cache.sentinels import DEFAULT_TTL, DefaultTTLSentinel
from .._cache.serialized_cache import Cache
from .._cache.storage import Storage
from .._core.entry import UNPUBLISHED, Empty
from .._core.stats import make_hit_counter
from .._core.ttl import EXPIRED_AT_ONCE, deadline_after, seconds_from, seconds_of
from .._expiry.freed_functions import Owner
from .._expiry.lazy_expirer import LazyExpirer
from .._fill.protocol import FillRules
from .._fill.single_use import SINGLE_USE, refuse_result
from .._fill.tasks import TaskFills
from .._fill.threads import ThreadFills
from .._memoize.helpers import Helpers
from .._memoize.kinds import check_suitable, classes_of, full_name_of
from .._memoize.signature import KeyOptions
from .._platform.arguments import check_bool, check_plain, is_async_function, suggests_names
from ..typing import CacheInfo, MemoizeDecorator, Ttl
from .methods import CachedClassMethod, CachedMethod

__all__ = ["cached"]


@suggests_names(called="cached")
def cached(
    cache: Storage[Any] | AtomicCache[Any, Any] | AsyncAtomicCache[Any, Any],
    *,
    key: Callable[..., Any] | None = None,
    skip: Callable[[Any], bool] | None = None,
    typed: bool = False,
    ttl: Ttl[Any, Any] | DefaultTTLSentinel | None = DEFAULT_TTL,
    ignore: Collection[str] = (),
    allow_single_use: bool = False,
) -> MemoizeDecorator:
    """Memoize a function, `def` or `async def`, in a cache that exists already, beside whatever else is in it.

    Args:
        cache: a Storage or Cache, or a read-through cache, whose own fill has no part in this; its Resilience has.
        key, typed, ignore: those of `AtomicCache.memoize`. The keys of two decorated functions never meet.
        skip: called with a result; if it returns true, waiters get the result and it is not stored. A refresh then
            leaves the old result.
        ttl: as for `AtomicCache`; a callable of (key, result) may return DEFAULT_TTL too. By default, that of the
            cache.
        allow_single_use: as for `AtomicCache`.

    Returns:
        A function with the same signature and the helpers of `AtomicCache.memoize`. `cache_clear` removes the results
        of this function only, and walks through the cache. In `cache_info`, evictions and expirations are the cache's.

    Under concurrency:
        One thread or task runs the function per key, and the others wait for its outcome. `invalidate`, `cache_clear`,
        and a `delete` or `clear` of the cache, win over a call that is running.

    A method's instance is part of the key, and the cache keeps it alive: `AtomicCache.memoize` keeps results with their
    instance. Once a decorated function has been freed, its results are removed as others are stored, or by `sweep`.

    Raises:
        TypeError, ValueError: for an argument; the message names it.
    """
    if not isinstance(cache, Storage | AtomicCache | AsyncAtomicCache):
        raise TypeError(
            f"cache must be a Storage, a Cache or a read-through cache, not {type(cache).__name__}: "
            "write @cached(cache) above the function"
        )
    if skip is not None:
        check_plain("skip", skip)
    _check_ttl(ttl)
    key_options = KeyOptions(typed, key, ignore)
    check_bool("allow_single_use", allow_single_use)
    expiry_after = _in_storage(cache) if isinstance(cache, Storage) else _in_read_through(cache)
    rules = _Rules(skip, ttl, expiry_after, key_options, frozenset() if allow_single_use else SINGLE_USE)

    def decorate(function: Any) -> Any:
        if freed := cache._state.freed:
            freed.remove_some(cache._state)
        inner = function.__func__ if isinstance(function, classmethod | staticmethod) else function
        check_suitable(inner, "cached", allow_single_use)
        kind = _AsyncCachedFunction if is_async_function(inner) else _CachedFunction
        wrapper = kind(cache, inner, rules).make_wrapper()
        if isinstance(function, staticmethod):
            return staticmethod(wrapper)
        if isinstance(function, classmethod):
            return CachedClassMethod(wrapper)
        return CachedMethod(wrapper) if classes_of(function) else wrapper

    return decorate


def _check_ttl(ttl: Any) -> None:
    if callable(ttl):
        check_plain("ttl", ttl)
    elif ttl is not None and not isinstance(ttl, DefaultTTLSentinel):
        seconds_of(ttl)


ExpiryOf: TypeAlias = Callable[[Any, Any], float | None]
"""Gives the deadline of a key and its value; in a cache with a Resilience, whose plan makes that, the ttl in seconds.

UNPUBLISHED, EXPIRED_AT_ONCE: it is not to be stored."""


@dataclass(frozen=True, slots=True)
class _Rules:
    """What becomes of a result."""

    skip: Callable[[Any], bool] | None
    ttl: Any
    expiry_after: Callable[[Any], ExpiryOf]
    key_options: KeyOptions
    refused_results: frozenset[type[Any]]

    def expiry_of(self, key: Any, result: Any) -> ExpiryOf:
        if self.skip is not None and self.skip(result):
            return _never_stored
        return self.expiry_after(self.ttl(key, result) if callable(self.ttl) else self.ttl)


def _never_stored(key: Any, value: Any) -> float:
    return UNPUBLISHED


# ---- what a ttl means, by the kind of cache


def _in_storage(cache: Any) -> Callable[[Any], ExpiryOf]:
    def seconds_for(ttl: Any) -> float | None:
        if cache.expiration_disabled or ttl is None or isinstance(ttl, DefaultTTLSentinel):
            return cache._seconds_for(ttl)  # type: ignore[no-any-return]
        seconds = seconds_from(ttl)
        return seconds if seconds == EXPIRED_AT_ONCE else cache._seconds_for(seconds)

    return lambda ttl: functools.partial(cache._deadline_in, seconds_for(ttl))


def _in_read_through(cache: Any) -> Callable[[Any], ExpiryOf]:
    def expiry_by_deadline(ttl: Any) -> ExpiryOf:
        if isinstance(ttl, DefaultTTLSentinel):
            return cache._state.deadline_of  # type: ignore[no-any-return]
        seconds = seconds_from(ttl)
        return lambda key, value: deadline_after(seconds, cache._clock)

    def expiry_by_seconds(ttl: Any) -> ExpiryOf:
        if isinstance(ttl, DefaultTTLSentinel):
            return cache._fills.rules.seconds_of  # type: ignore[no-any-return]
        seconds = seconds_from(ttl)
        return lambda key, value: seconds

    state = cache._state
    if state.expirer is None and not state.index.is_bounded:
        state.expirer = LazyExpirer()  # it may have no ttl of its own
    return expiry_by_deadline if cache._fills.rules.stale is None else expiry_by_seconds


# ---- the function


class _Call:
    """One call of a decorated function, as a fill; what becomes of its result is decided on the result itself."""

    __slots__ = ("args", "expiry", "kwargs", "memo")
    expiry: ExpiryOf

    def __init__(self, memo: _CachedFunction, args: Any, kwargs: Any) -> None:
        self.memo, self.args, self.kwargs = memo, args, kwargs

    def __call__(self, key: Any) -> Any:
        return self._decide(key, self.memo.function(*self.args, **self.kwargs))

    async def awaited(self, key: Any) -> Any:
        return self._decide(key, await self.memo.function(*self.args, **self.kwargs))

    def _decide(self, key: Any, result: Any) -> Any:
        memo = self.memo
        if type(result) in memo.rules.refused_results:  # before `skip`, `ttl` or a serializer sees it
            refuse_result(memo.fills.rules.returner, result)
        self.expiry = memo.rules.expiry_of(key[1], result)
        return memo.dump(result)

    def deadline_of(self, key: Any, value: Any) -> float | None:
        return self.expiry(key, value)


class _CachedFunction(Helpers):
    """A function that is memoized in a cache, and what it offers besides being called.

    It looks up, and fills, in a view of the cache that counts for the function and for the cache.
    """

    fills_type: Any = ThreadFills

    def __init__(self, cache: Any, function: Callable[..., Any], rules: _Rules) -> None:
        self.cache = cache
        self.rules = rules
        self.owner = Owner(full_name_of(function))
        super().__init__(function, rules.key_options)
        self.hits = None if cache._state.hits is None else make_hit_counter()
        self.state = cache._state.with_own_counters(self.hits)
        stale, returner = cache._fills.rules.stale, f"cached: {self.owner.name}"
        fill_rules = FillRules(self.state.deadline_of, self._seconds_of, stale, rules.refused_results, returner)
        self.fills = self.fills_type(self.state, fill_rules, cache._fills.stored_errors, cache._fills.wait_timeout)
        self.dump: Callable[[Any], Any] = cache._dump if isinstance(cache, Cache) else _same
        self.load: Callable[[Any, Any], Any] = cache._load_or_drop if isinstance(cache, Cache) else _stored
        self.dropped = cache._state.freed
        cache._state.fills_plainly = False
        self.dropped.watch(self, self.owner)

    def make_wrapper(self) -> Any:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return self.call(args, kwargs)

        return self.decorate(wrapper)

    def key_expression(self) -> tuple[str, dict[str, Any]]:
        return f"(owner{self.signature.suffix}, {self.signature.key})", {"owner": self.owner}

    def locate(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        key = self._make_key(args, kwargs)
        self._check_hashable(key)
        return self.cache, key

    def call(self, args: Any, kwargs: Any) -> Any:
        key = self._make_key(args, kwargs)
        try:
            value = self._hit(key)
        except TypeError:
            self._check_hashable(key)
            raise
        if value is Empty:
            if self.dropped:
                self.dropped.remove_some(self.state)
            value = self.fills.get_or_fill(key, *self._call_and_rules(key, args, kwargs))
        return self.load(key, value)

    def refresh(self, /, *args: Any, **kwargs: Any) -> Any:
        """Make this call again, store and return its result; others get the old one meanwhile."""
        key = self.locate(args, kwargs)[1]
        call, _, rules = self._call_and_rules(key, args, kwargs)
        value = self.fills.refresh(key, call, rules)
        return self.load(key, value)

    def _hit(self, key: Any) -> Any:
        """Return the value of `key` if it is before its deadline, else Empty."""
        try:
            entry = self.state.entries[key]
            deadline = entry.deadline
            if deadline is None or deadline > self.state.clock():
                return self.state.hit(entry)
        except KeyError:
            pass
        return Empty

    def _call_and_rules(self, key: Any, args: Any, kwargs: Any) -> tuple[Any, None, FillRules]:
        """Return the call that fills `key`, no reading of the clock, and what becomes of its result."""
        rules = self.fills.rules
        if rules.stale is not None:
            return functools.partial(self.function, *args, **kwargs), None, rules
        call = _Call(self, args, kwargs)
        fill = call.awaited if self.fills_type is TaskFills else call
        return functools.partial(fill, key), None, replace(rules, deadline_of=call.deadline_of)

    def _seconds_of(self, key: Any, result: Any) -> float | None:
        # From the result alone, nothing noted in between: one order may be filled twice at once, by a fill that was
        # left behind after a timeout and invalidated, and by the one after that. Only a Cache, which has no Resilience,
        # stores something else than the result.
        return self.rules.expiry_of(key[1], result)(key, result)

    def cache_info(self) -> CacheInfo:
        """Return this function's counters so far, and how many results it has.

        `evictions`, `expirations`, `maxsize`, `max_bytes` and `size_in_bytes` are those of the whole cache.
        """
        of_all: CacheInfo = self.cache._state.info()
        return of_all._replace(
            hits=None if self.hits is None else self.hits.total(),
            currsize=sum(self._owns(entry.key) for entry in self.state.live_entries()),
            **self.state.counters.read(),
        )

    def cache_parameters(self) -> dict[str, Any]:
        """Return what the function was decorated with."""
        return asdict(self.rules.key_options) | {"skip": self.rules.skip, "ttl": self.rules.ttl}

    def cache_clear(self) -> None:
        """Forget all results of this function, and those of running calls; start its own counters at 0 again."""
        for entry in self.state.index.snapshot():
            if self._owns(entry.key):
                self.cache.invalidate(entry.key)
        self.state.counters.reset_part()
        if self.hits is not None:
            self.hits.reset()

    def _owns(self, key: Any) -> bool:
        return type(key) is tuple and len(key) == 2 and key[0] is self.owner

    def _make_key(self, args: Any, kwargs: Any) -> Any:
        if isinstance(self.cache, Storage):
            self.cache._check_open()
        return self.cache_key(*args, **kwargs)

    def _check_hashable(self, key: Any) -> None:
        """Raise a TypeError that names the argument, if `key` has no hash. Not for each hit: a hash may take long."""
        try:
            hash(key)
        except TypeError as error:
            raise TypeError(f"{self.owner.name}: {self.signature.explain_key(key[1])} ({error})") from error


class _AsyncCachedFunction(_CachedFunction):
    """The same for an `async def`."""

    fills_type = TaskFills

    def make_wrapper(self) -> Any:
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            return await self.call(args, kwargs)

        return self.decorate(wrapper)

    async def call(self, args: Any, kwargs: Any) -> Any:
        key = self._make_key(args, kwargs)
        try:
            value = self._hit(key)
        except TypeError:
            self._check_hashable(key)
            raise
        if value is Empty:
            if self.dropped:
                self.dropped.remove_some(self.state)
            value = await self.fills.get_or_fill(key, *self._call_and_rules(key, args, kwargs))
        return self.load(key, value)

    async def refresh(self, /, *args: Any, **kwargs: Any) -> Any:
        """Make this call again, store and return its result; others get the old one meanwhile."""
        key = self.locate(args, kwargs)[1]
        call, _, rules = self._call_and_rules(key, args, kwargs)
        value = await self.fills.refresh(key, call, rules)
        return self.load(key, value)


def _same(result: Any) -> Any:
    return result


def _stored(key: Any, value: Any) -> Any:
    return value
