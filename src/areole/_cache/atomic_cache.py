"""AtomicCache: a read-through cache that fills each key exactly once."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from .._core.entry import Empty
from .._core.flight import Flight
from .._core.ttl import make_deadline, make_seconds, seconds_of
from .._fill.resilience import Resilience, plan_of
from .._fill.single_use import SINGLE_USE
from .._fill.threads import StayingUp
from .._index.make import bounded_index
from .._memoize.decorator import Memoizing
from .._platform.arguments import check_bool, check_callable, check_keys, check_name, is_async_function, suggests_names
from ..typing import Clock, IndexName, PolicyName, RemovalListener, Ttl

if TYPE_CHECKING:
    from .async_cache import AsyncAtomicCache

__all__ = ["AtomicCache", "name_of"]

K = TypeVar("K")
V = TypeVar("V")


class AtomicCache(Memoizing, StayingUp[K, V]):
    """A mapping that computes: `cache[key]` is `fill(key)`, run once and kept.

    A hit takes no lock. A miss runs `fill` in exactly one thread, the leader; all others that ask for the key meanwhile
    wait for its outcome. If `fill` raises, the leader raises that very object and the others copies of it, one each (or
    errors.FillFailedError), and nothing is stored; if the leader dies of a BaseException that is no Exception (a
    KeyboardInterrupt, say), one of the others fills instead.

    After the `AtomicCache` of cereggii, by Daniele Parmeggiani, and the loading caches of Guava and Caffeine.

    Args:
        fill: called with a key, gives its value. It may use this cache and others, for other keys.
        ttl: for how long a value is live, from the end of its fill: seconds, a timedelta, or a callable of
            (key, value) that gives either, or None for "never expires"; a value for which it gives 0 or less is
            returned and not stored. None: no value expires. The whole rule is that of `areole.typing.Ttl`.
        cache_exceptions: True, or a type or tuple of types of Exception: what `fill` raises of these is stored like a
            value, and raised by each lookup (a callable ttl gets it as the value). `get` and `in` do not see it. Under
            limits it counts as an item of the weight of its key alone; it is evicted like a value, and not reported.
        wait_timeout: waiters, not the leader, raise FillTimeout after this long: seconds, or a timedelta.
        on_removal: called as (key, value, cause) after a value has left, outside every lock, by the thread that took it
            out. What it raises is logged on the "areole" logger, and swallowed.
        stats: count hits too; a hit then takes 1.2 to 1.5 times as long.
        clock: gives seconds; for tests there is `areole.testing.ManualClock`.
        name: for messages and `repr`; by default that of `fill`.
        index: "dict" or "atomic" (a cereggii.AtomicDict, for caches without ttl: threads that insert new keys share no
            lock, but an invalidated key leaves some 130 bytes), or "auto".
        max_items, max_bytes: how many values there may be, and what they may weigh; past that, others are evicted.
            With `max_bytes` goes a weigher, called as (key, value), for the bytes of a value. A value over the limit is
            not stored, and its callers get it all the same. For methods, the limits are each instance's.
        policy: what is evicted: "s3fifo" or "lru"; see `Storage`.
        resilience: what to do when fills fail, or take long: see Resilience.
        allow_single_use: store results that can be used once, too. Otherwise a miss whose `fill` returns a coroutine, a
            generator, an asynchronous generator, or the context manager of a function under `contextlib`'s decorators
            raises a TypeError.

    Raises:
        TypeError, ValueError: for an argument, naming it.
        RecursiveFillError, FillDeadlockError, FillTimeout: from a lookup that would wait; see each.
    """

    __slots__ = ("_fill",)

    @suggests_names()
    def __init__(
        self,
        fill: Callable[[K], V],
        ttl: Ttl[K, V] | None = None,
        *,
        cache_exceptions: bool | type[Exception] | tuple[type[Exception], ...] = False,
        wait_timeout: float | timedelta | None = None,
        on_removal: RemovalListener[K, V] | None = None,
        stats: bool = False,
        clock: Clock = time.monotonic,
        name: str | None = None,
        index: IndexName = "auto",
        max_items: int | None = None,
        max_bytes: int | None = None,
        weigher: Callable[[K, V], int] | None = None,
        policy: PolicyName = "s3fifo",
        resilience: Resilience | None = None,
        allow_single_use: bool = False,
    ) -> None:
        check_callable("fill", fill)
        check_bool("allow_single_use", allow_single_use)
        if is_async_function(fill) and not allow_single_use:
            raise TypeError(
                f"fill, {name_of(fill)}, is an async def, whose coroutine can be awaited only once: "
                "use AsyncAtomicCache"
            )
        check_name(name)
        name = name or name_of(fill)
        plan = None if resilience is None else plan_of(resilience)
        if plan is not None:
            plan.check_cache(ttl, cache_exceptions, wait_timeout)
        bounds = bounded_index(index, max_items, max_bytes, weigher, policy)
        super().__init__(ttl, on_removal=on_removal, stats=stats, clock=clock, name=name, index=bounds or index)
        self._fill = fill
        self._stored_errors = _error_types(cache_exceptions)
        self._wait_timeout = None if wait_timeout is None else seconds_of(wait_timeout, "wait_timeout")
        self._plan = plan
        self._refused_results = frozenset() if allow_single_use else SINGLE_USE
        self._returner = f"AtomicCache: the fill of {name}"
        self._seconds_of = make_seconds(ttl)
        if plan is not None and plan.negative_ttl is not None:
            self._error_deadline_of = make_deadline(plan.negative_ttl, clock)

    if not TYPE_CHECKING:

        @functools.wraps(__init__)  # for `inspect.signature` and help
        def __new__(cls, *args, **options):
            # The class is chosen here: to change that of a live object stops all threads on free-threaded builds.
            return object.__new__(_class_for(*args, **options) if cls is AtomicCache else cls)

    def __getitem__(self, key: K) -> V:
        """Return the value of `key`, filling it, or waiting for the fill that is running, if it has none."""
        try:
            entry = self._entries[key]
            deadline = entry.deadline
            if deadline is None or deadline > (now := self._clock()):
                if self._on_hit is not None:
                    self._on_hit(entry)
                return entry.value  # type: ignore[no-any-return]
        except (KeyError, TypeError):
            now = None
        fill = self._dropped.own_fill_of(self) if self._dropped.were_cached else self._fill
        if self._plan is not None:
            return self._serve(key, partial(fill, key), now)
        while True:
            flight = Flight(key, self._index.entry_type)
            latch = flight.latch
            try:
                if self._claim(flight, now):
                    self._settle(flight, fill(key))
            except BaseException as error:
                flight.error = error
                self._fail(flight)
                del flight  # the traceback keeps this frame: it must not lead back to the exception
                raise
            finally:
                latch.release()
            value = self._finish(flight)
            if value is not Empty:
                return value  # type: ignore[no-any-return]
            now = None

    fetch = __getitem__

    def fetch_many(self, keys: Iterable[K]) -> dict[K, V]:
        """Return the values of `keys`, filling each one that has none, in order; raise as soon as one fill does."""
        check_keys("fetch_many", keys)
        values: dict[K, V] = {}
        for key in keys:
            try:
                is_new = key not in values
            except TypeError:
                self._refuse_unhashable(key)
                raise
            if is_new:
                values[key] = self[key]
        return values

    if not TYPE_CHECKING:  # these are for the message alone, and nothing is to be checked after a use of one

        def __setitem__(self, key: K, value: V) -> NoReturn:
            raise NotImplementedError(
                f"{self.name}: a read-through cache takes its values from its fill function alone; "
                "use invalidate(key) or refresh(key), or a Storage for values of your own"
            )

        def __delitem__(self, key: K) -> NoReturn:
            raise NotImplementedError(f"{self.name}: use invalidate(key), which says whether there was something")

    def refresh(self, key: K) -> V:
        """Fill `key` again, replace its value and return the new one; others read the old one meanwhile.

        Joins a fill of the key that is already running. If the fill raises, the old value stays; if the key was
        invalidated meanwhile, nothing is stored.
        """
        fill = self._dropped.own_fill_of(self) if self._dropped.were_cached else self._fill
        return self._refresh(key, fill, (key,), {})

    @property
    def aio(self) -> AsyncAtomicCache[K, V]:
        """The same cache for event loops: another view of the same values, fills and counters, which tasks await.

        Its fills run in the loop's executor. Store it: creating one costs.
        """
        from .async_cache import AsyncAtomicCache  # it stands above this module

        return AsyncAtomicCache._over(self)


class _AtomicCacheWithTtl(AtomicCache[K, V]):
    """An AtomicCache that has a ttl, and need not note its hits: one comparison instead of three.

    Measured, that is an eighth of a hit's time (`python -m benchmarks.hits`: cache[k], areole ttl).
    """

    __slots__ = ()

    def __getitem__(self, key: K) -> V:
        try:
            now = self._clock()  # first: with this in the comparison, a hit takes a tenth more
            entry: Any = self._entries[key]
            if entry.deadline > now:
                return entry.value  # type: ignore[no-any-return]
        except (KeyError, TypeError):
            now = None
        fill = self._dropped.own_fill_of(self) if self._dropped.were_cached else self._fill
        if self._plan is not None:
            return self._serve(key, partial(fill, key), now)
        return self._filled(key, fill, now)

    fetch = __getitem__
    __getitem__.__doc__ = AtomicCache.__getitem__.__doc__


class _CountingAtomicCache(AtomicCache[K, V]):
    """An AtomicCache whose hits are counted, and noted by nothing else: it does so without a call."""

    __slots__ = ()

    def __getitem__(self, key: K) -> V:
        try:
            entry = self._entries[key]
            deadline = entry.deadline
            if deadline is None or deadline > (now := self._clock()):
                try:
                    for _ in self._hits.local.hits:  # type: ignore[union-attr]
                        break
                except AttributeError:
                    self._hits.start()  # type: ignore[union-attr]
                return entry.value  # type: ignore[no-any-return]
        except (KeyError, TypeError):
            now = None
        fill = self._dropped.own_fill_of(self) if self._dropped.were_cached else self._fill
        if self._plan is not None:
            return self._serve(key, partial(fill, key), now)
        return self._filled(key, fill, now)

    fetch = __getitem__
    __getitem__.__doc__ = AtomicCache.__getitem__.__doc__


for _special in (_AtomicCacheWithTtl, _CountingAtomicCache):
    _special.__name__ = AtomicCache.__name__
    _special.__qualname__ = AtomicCache.__qualname__


def _class_for(fill: object = None, ttl: object = None, /, *_: object, **options: Any) -> type:
    """Return the class that has least to do on a hit of a cache with these arguments."""
    if options.get("max_items") is not None or options.get("max_bytes") is not None:
        return AtomicCache
    if options.get("stats"):
        return _CountingAtomicCache
    return AtomicCache if ttl is None and options.get("ttl") is None else _AtomicCacheWithTtl


def name_of(fill: object) -> str:
    return getattr(fill, "__qualname__", None) or type(fill).__qualname__


def _error_types(cache_exceptions: object) -> tuple[type[Exception], ...]:
    if isinstance(cache_exceptions, bool):
        return (Exception,) if cache_exceptions else ()
    types = cache_exceptions if isinstance(cache_exceptions, tuple) else (cache_exceptions,)
    for each in types:
        if not (isinstance(each, type) and issubclass(each, Exception)):
            raise TypeError(f"cache_exceptions must be a bool, or a type or tuple of types of Exception, not {each!r}")
    return types
