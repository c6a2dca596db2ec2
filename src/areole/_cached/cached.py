"""areole.cached: memoize functions in a cache that is there already, several of them in one if need be."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any, NamedTuple

from .._cache.atomic_cache import AsyncAtomicCache, AtomicCache
from .._cache.sentinels import DEFAULT_TTL, DefaultTTLSentinel
from .._cache.serialized_cache import Cache
from .._cache.storage import Storage
from .._core.entry import UNPUBLISHED
from .._core.stats import make_hit_counter
from .._core.ttl import deadline_after, seconds_from, seconds_of
from .._expiry.freed_functions import KeyNamespace
from .._fill.rules import FillRules
from .._fill.single_use import SINGLE_USE
from .._fill.tasks import TaskFills
from .._fill.threads import ThreadFills
from .._memoize.kinds import check_suitable, classes_of, full_name_of
from .._memoize.signature import KeyOptions, Signature
from .._memoize.wrapper import Wrapper
from .._platform.arguments import check_bool, check_plain, is_async_function, suggests_names
from .._platform.locks import run_locked
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
    if callable(ttl):
        check_plain("ttl", ttl)
    elif ttl is not None and not isinstance(ttl, DefaultTTLSentinel):
        seconds_of(ttl)
    options = KeyOptions(typed, key, ignore)
    check_bool("allow_single_use", allow_single_use)
    rules = _StoreRules(cache, skip, ttl, frozenset() if allow_single_use else SINGLE_USE)
    state = cache._state
    state.fills_plainly = False
    run_locked(state.index.lock, state.expire_lazily)  # it may have no ttl of its own

    def decorate(function: Any) -> Any:
        if state.freed:
            state.freed.remove_some(state)
        inner = function.__func__ if isinstance(function, classmethod | staticmethod) else function
        check_suitable(inner, "cached", allow_single_use)
        wrapper = _CachedFunction(cache, inner, options, rules).make_wrapper()
        if isinstance(function, staticmethod):
            return staticmethod(wrapper)
        if isinstance(function, classmethod):
            return CachedClassMethod(wrapper)
        return CachedMethod(wrapper) if classes_of(function) else wrapper

    return decorate


class _StoreRules(NamedTuple):
    """What becomes of a result."""

    cache: Any
    skip: Callable[[Any], bool] | None
    ttl: Any
    refused_types: frozenset[type[Any]]

    def expiry_of(self, key: Any, result: Any) -> float | None:
        """Return the deadline of a result; in a cache with a Resilience, which makes that, its ttl in seconds.

        UNPUBLISHED, EXPIRED_AT_ONCE: it is not to be stored.
        """
        if self.skip is not None and self.skip(result):
            return UNPUBLISHED
        ttl = self.ttl(own_key(key), result) if callable(self.ttl) else self.ttl
        cache, rules = self.cache, self.cache._fills.rules
        if isinstance(ttl, DefaultTTLSentinel):
            of_cache = rules.deadline_of if rules.stale is None else rules.seconds_of
            return of_cache(key, result)  # type: ignore[no-any-return]
        if isinstance(cache, Storage):
            if ttl is None or cache.expiration_disabled:
                return None
            if not cache._is_swept:
                cache._ask_for_sweeps()
        seconds = seconds_from(ttl)
        return seconds if rules.stale is not None else deadline_after(seconds, cache._clock)


# ---- the function


class _CachedFunction(Wrapper):
    """A function that is memoized in a cache, and what it offers besides being called.

    It looks up, and fills, by a state of its own over the entries of the cache, which counts for both.
    """

    is_freed = True

    def __init__(self, cache: Any, function: Callable[..., Any], options: KeyOptions, rules: _StoreRules) -> None:
        namespace = KeyNamespace(full_name_of(function))
        own_hits = None if cache._state.hits is None else make_hit_counter()
        state = cache._state.with_own_counters(own_hits)
        state.name = namespace.name
        of_cache, returner = cache._fills, f"cached: {namespace.name}"
        fill_rules = FillRules(
            rules.expiry_of, rules.expiry_of, of_cache.rules.stale, rules.refused_types, returner, of_cache.rules.dump
        )
        kind = TaskFills if is_async_function(function) else ThreadFills
        fills = kind(state, fill_rules, of_cache.stored_errors, of_cache.wait_timeout)
        super().__init__(function, fills, options, namespace=namespace)
        state.explain_key = _explain_by(self.signature)
        self.cache, self.state, self.namespace = cache, state, namespace
        self.options, self.rules = options, rules
        self.hits = () if own_hits is None else (cache._state.hits, own_hits)
        self.load = cache._load_or_drop if isinstance(cache, Cache) else None
        state.freed.watch(self, namespace)

    def make_wrapper(self) -> Any:
        """Generate the function to be called, with the helpers on it."""
        self.names |= {"store": self.cache, "freed": self.state.freed, "state": self.state}
        wrapper = self.generate(
            is_live="(deadline{s} := entry{s}.deadline) is None or deadline{s} > clock{s}()",
            first="if store{s}._is_closed: store{s}._check_open()" if isinstance(self.cache, Storage) else "",
            before_miss="if freed{s}: freed{s}.remove_some(state{s})",
        )
        return self.decorate(wrapper)

    def locate(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        if isinstance(self.cache, Storage):
            self.cache._check_open()
        key = self.cache_key(*args, **kwargs)
        self.state.refuse_unhashable(key)
        return self.cache, key

    def refresh(self, /, *args: Any, **kwargs: Any) -> Any:
        """Make this call again, store and return its result; others get the old one meanwhile."""
        key = self.locate(args, kwargs)[1]
        value = self.fills.refresh(key, partial(self.function, *args, **kwargs))
        if self.load is None:
            return value
        return _load_awaited(self.load, key, value) if isinstance(self.fills, TaskFills) else self.load(key, value)

    def cache_info(self) -> CacheInfo:
        """Return this function's counters so far, and how many results it has.

        `evictions`, `expirations`, `maxsize`, `max_bytes` and `size_in_bytes` are those of the whole cache.
        """
        currsize = sum([self._owns(entry.key) for entry in self.state.live_entries()])
        info: CacheInfo = self.state.info()
        return info._replace(currsize=currsize)

    def cache_parameters(self) -> dict[str, Any]:
        """Return what the function was decorated with."""
        options = {"key": self.options.key, "typed": self.options.typed, "ignore": self.options.ignore}
        return options | {"skip": self.rules.skip, "ttl": self.rules.ttl}

    def cache_clear(self) -> None:
        """Remove all results of this function, and those of running calls; start its own counters at 0 again."""
        for entry in self.state.index.snapshot():
            if self._owns(entry.key):
                self.cache.invalidate(entry.key)
        self.state.counters.reset()
        if self.state.hits is not None:
            self.state.hits.reset()

    def _owns(self, key: Any) -> bool:
        return type(key) is tuple and bool(key) and key[0] is self.namespace


def own_key(key: tuple[Any, ...]) -> Any:
    """Return a function's own key, without its namespace: what `memoize` makes of the same call."""
    return key[1] if len(key) == 2 else key[1:]


async def _load_awaited(load: Callable[[Any, Any], Any], key: Any, value: Any) -> Any:
    return load(key, await value)


def _explain_by(signature: Signature) -> Callable[[Any], str]:
    return lambda key: signature.explain_key(own_key(key))
