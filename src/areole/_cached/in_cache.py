"""A function that is memoized in a cache of this process."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .._cache.serialized_cache import Cache
from .._cache.storage import Storage
from .._core.entry import UNPUBLISHED, Empty
from .._core.sentinels import DefaultTTLSentinel
from .._core.stats import make_hit_counter
from .._core.ttl import deadline_after, seconds_from
from .._expiry.freed_functions import KeyNamespace
from .._fill.rules import FillRules
from .._fill.tasks import TaskFills
from .._fill.threads import ThreadFills
from .._fill.under_lock import TaskFillsUnderLock, ThreadFillsUnderLock
from .._memoize.kinds import full_name_of
from .._memoize.signature import Signature
from .._memoize.wrapper import Wrapper
from .._platform.arguments import is_async_function
from .._state.cache_state import CacheState
from ..typing import CacheInfo
from .options import CachedOptions

__all__ = ["FunctionInCache"]


def _expiry_of(options: CachedOptions, cache: Any, key: Any, result: Any) -> float | None:
    """Return the deadline of a result; in a cache with a Resilience, which makes that, its ttl in seconds.

    UNPUBLISHED, EXPIRED_AT_ONCE: it is not to be stored.
    """
    if options.excludes(own_key(key), result):
        return UNPUBLISHED
    ttl = options.ttl(own_key(key), result) if callable(options.ttl) else options.ttl
    rules = cache._fills.rules
    if isinstance(ttl, DefaultTTLSentinel):
        of_cache = rules.deadline_of if rules.stale is None else rules.seconds_of
        return of_cache(key, result)  # type: ignore[no-any-return]
    if isinstance(cache, Storage) and (ttl is None or not cache._takes_ttls()):
        return None
    seconds = seconds_from(ttl)
    return seconds if rules.stale is not None else deadline_after(seconds, cache._clock)


class FunctionInCache(Wrapper):
    """A function that is memoized in a cache, and what it offers besides being called.

    It looks up, and fills, by a state of its own over the entries of the cache, which counts for both.
    """

    is_freed = True

    def __init__(self, cache: Any, function: Callable[..., Any], options: CachedOptions) -> None:
        if cache._fills.rules.tier is not None:
            raise TypeError(
                f"cached: {cache.name} is in front of a SharedCache, for its own fill alone: "
                "use memoize(shared=...), or cached(shared)"
            )
        namespace = KeyNamespace(full_name_of(function))
        own_hits = None if cache._state.hits is None else make_hit_counter()
        state = cache._state.with_own_counters(own_hits)
        state.name = namespace.name
        self.cache, self.state, self.namespace, self.options = cache, state, namespace, options
        self.load = cache._read if isinstance(cache, Cache) else None
        fills, key_options = self._make_fills(function), options.key_options(function)
        super().__init__(function, fills, key_options, namespace=namespace, tags=options.tags)
        state.explain_key = _explain_by(self.signature)
        self.hits = () if own_hits is None else (cache._state.hits, own_hits)
        state.freed.watch(self, namespace)

    def _make_fills(self, function: Callable[..., Any]) -> ThreadFills | TaskFills:
        of_cache, expiry_of = self.cache._fills, partial(_expiry_of, self.options, self.cache)
        rules = FillRules(
            expiry_of,
            expiry_of,
            of_cache.rules.stale,
            self.options.refused_types,
            f"cached: {self.namespace.name}",
            of_cache.rules.dump,
            of_cache.rules.load,
            takes_ttls=of_cache.rules.takes_ttls,
        )
        of_state = self.state, rules, of_cache.stored_errors, of_cache.wait_timeout
        is_async, lock = is_async_function(function), self.options.lock
        if lock is None:
            return TaskFills(*of_state) if is_async else ThreadFills(*of_state)
        if is_async:
            return TaskFillsUnderLock(lock, True, *of_state)
        return ThreadFillsUnderLock(lock, partial(_look, self.state, self.load), True, *of_state)

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
        return self.fill_again(self.fills, key, partial(self.function, *args, **kwargs), args, kwargs)

    def cache_info(self) -> CacheInfo:
        """Return this function's counters so far, and how many results it has.

        `evictions`, `expirations`, `maxsize`, `max_bytes` and `size_in_bytes` are those of the whole cache.
        """
        currsize = sum([self._owns(entry.key) for entry in self.state.live_entries()])
        info: CacheInfo = self.state.info()
        return info._replace(currsize=currsize)

    def cache_parameters(self) -> dict[str, Any]:
        """Return what the function was decorated with."""
        return self.options.as_parameters()

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


def _look(state: CacheState, load: Callable[[Any, Any], Any] | None, key: Any) -> Any:
    """Return the live value of `key`, or Empty."""
    entry = state.find(key)
    if entry is None or not entry.is_live(state.clock()):
        return Empty
    return entry.value if load is None else load(key, entry.value)


def own_key(key: tuple[Any, ...]) -> Any:
    """Return a function's own key, without its namespace: what `memoize` makes of the same call."""
    return key[1] if len(key) == 2 else key[1:]


def _explain_by(signature: Signature) -> Callable[[Any], str]:
    return lambda key: signature.explain_key(own_key(key))
