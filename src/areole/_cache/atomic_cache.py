"""AtomicCache and AsyncAtomicCache: read-through caches that fill each key exactly once, for threads and for tasks."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from .._core.accelerator import accelerate_subscript, accelerated
from .._core.entry import Empty
from .._core.flight import Flight
from .._fill.batches import ThreadBatches
from .._fill.blocking import BlockingFill
from .._fill.many import AsyncManyFill, ManyFill
from .._fill.resilience import Resilience
from .._fill.rules import LEAD
from .._fill.threads import ThreadFills
from .._memoize.decorator import Memoizing
from .._platform.arguments import check_keys, is_async_function, suggests_names
from .._platform.refcount import defer
from ..typing import Clock, FillResult, IndexName, ManyResults, PolicyName, RemovalListener, Tags, Ttl
from .async_cache import AsyncReadThrough
from .copying import CopyingForTasks, CopyingForThreads
from .read_through import ReadThrough, gatherings_of, name_of, open_fills, the_one_given

__all__ = ["AsyncAtomicCache", "AtomicCache"]

K = TypeVar("K")
V = TypeVar("V")


class AtomicCache(ReadThrough[K, V]):
    """A mapping that computes its values: `cache[key]` is `fill(key)`, computed once and kept.

    After the `AtomicCache` of cereggii, by Daniele Parmeggiani, and the loading caches of Guava and Caffeine.

    Args:
        fill: called with a key, returns its value, or a `Filled`, which says more of it. It may look up other keys, in
            this cache and in others. If it has a parameter `previous`, with a default, a refresh gives it the old value
            there, and it may return NOT_MODIFIED: that value stays, with a new ttl.
        fill_many: instead of `fill`: called with a list of keys, returns a mapping, or a sequence of values in their
            order. A key that is left out of a mapping raises errors.KeyLeftOutError, a KeyError; a Resilience's
            `negative_ttl` has that stored for this long. A single lookup calls it with one key.
        coalesce: with `fill_many`: seconds or a timedelta: a single miss waits so long for others, of threads and
            tasks, to be filled with them by one call.
        max_batch: with `fill_many`: the most keys of one call. So many single misses do not wait any longer.
        ttl: how long a value is kept, from the end of its fill: seconds, a timedelta, or a callable of (key, value)
            that returns either, or None. None: for ever. Where a callable returns 0 or less, the value is returned and
            not stored. `areole.typing.Ttl` is the whole rule.
        cache_exceptions: True, or a type or tuple of types of Exception: such an exception is stored like a value, and
            each lookup raises a copy of it (a callable ttl gets it as the value). `get` and `in` do not see it.
        wait_timeout: seconds or a timedelta: a caller that waits longer for another caller's fill raises FillTimeout.
        on_removal: called as (key, value, cause) once for each value that has left, by the thread that removed it. What
            it raises is logged on the "areole" logger.
        stats: count hits too, and note how long fills take, by `clock`, for metrics; a hit then takes longer.
        clock: returns seconds; `areole.testing.ManualClock` is one for tests.
        name: for messages and `repr`; by default that of `fill`.
        index: "auto"; "dict"; or "atomic", cereggii's AtomicDict, for caches without a ttl or limits: an invalidated
            key leaves some 130 bytes there.
        max_items, max_bytes: limits on the values stored; past one, others are evicted. `max_bytes` needs a weigher. A
            value over the limit is returned and not stored. For methods, the limits are those of each instance.
        weigher: called as (key, value), returns the bytes of a value.
        policy: what is evicted: "s3fifo", or "lru", the least recently used.
        resilience: what to do when fills fail or take long; see Resilience.
        allow_single_use: store results that can be used only once. Otherwise a fill that returns a coroutine, a
            generator (asynchronous or not), or the context manager of a function under `contextlib`'s decorators is a
            TypeError.
        shared: a SharedCache, which a miss asks before it fills, and which stores what is filled, for `ttl`. What this
            process keeps of it, other processes' `invalidate`, `set`, `delete` and `clear` remove within two seconds.
        local_ttl: seconds or a timedelta: for how long values of the shared cache are kept here, at most.
        copies: with `shared`: keep bytes of these values, from which each caller gets an object of its own, also those
            that wait for one fill. Otherwise all get the same object: do not change it. `max_bytes` counts the bytes.
        idle: seconds or a timedelta: a value that no lookup has found for that long expires, beside the ttl; `peek`,
            `in` and iteration are no such lookups. A hit then notes its time, and takes longer. With `shared`, that
            concerns what is kept here alone. Not with a `resilience`.
        tags: texts by which `invalidate_tags` finds values: a list of them, of which some may be templates, such as
            "user:{key}", where what is put in is percent-escaped; or a callable of the key that returns such a list.

    Under concurrency:
        A hit takes no lock. A miss runs `fill` in exactly one thread; the others that ask for the key wait for its
        outcome. If `fill` raises an Exception, its caller gets that object, each of the others a copy (or
        errors.FillFailedError), and nothing is stored. If it is interrupted by another BaseException, such as
        KeyboardInterrupt, one of the others fills instead. `fill`, `ttl`, `weigher`, `on_removal` and `clock` never run
        under a lock.

    Raises:
        TypeError, ValueError: for an argument; the message names it.
        RecursiveFillError, FillDeadlockError, FillTimeout: from a lookup that would have to wait; see each.
    """

    __slots__ = ()
    _fills: ThreadFills

    @suggests_names()
    def __init__(
        self,
        fill: Callable[[K], FillResult[V]] | None = None,
        ttl: Ttl[K, V] | None = None,
        *,
        fill_many: Callable[[list[K]], ManyResults[K, V]] | None = None,
        coalesce: float | timedelta | None = None,
        max_batch: int | None = None,
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
        shared: Any = None,
        local_ttl: float | timedelta | None = None,
        copies: bool = False,
        idle: float | timedelta | None = None,
        tags: Tags = None,
    ) -> None:
        given = the_one_given("AtomicCache", fill, fill_many, coalesce, max_batch)
        if is_async_function(given) and (fill is None or allow_single_use is not True):
            raise TypeError(
                f"{'fill' if fill_many is None else 'fill_many'}, {name_of(given)}, is an async def, whose coroutine "
                "can be awaited only once: use AsyncAtomicCache"
            )
        fills = open_fills(
            ThreadFills,
            "AtomicCache",
            given,
            ttl,
            cache_exceptions=cache_exceptions,
            wait_timeout=wait_timeout,
            on_removal=on_removal,
            stats=stats,
            clock=clock,
            name=name,
            index=index,
            max_items=max_items,
            max_bytes=max_bytes,
            weigher=weigher,
            policy=policy,
            resilience=resilience,
            allow_single_use=allow_single_use,
            shared=shared,
            local_ttl=local_ttl,
            copies=copies,
            idle=idle,
            tags=tags,
            has_many=fill is None,
        )
        tier, one = fills.rules.tier, None
        if fill is None:
            if tier is not None:
                one = tier.fill_for_threads(ManyFill(given, None))
                given = tier.fill_many_for_threads(given)
            given = ManyFill(given, max_batch, gatherings_of(fills, coalesce, max_batch), one)
        elif tier is not None:
            given = tier.fill_for_threads(given)
        self._fill_by(fills, given)
        defer(self)

    if not TYPE_CHECKING:

        @functools.wraps(__init__)  # for `inspect.signature` and help
        def __new__(cls, *args, **options):
            # The class is chosen here: to change that of a live object stops all threads on free-threaded builds.
            return object.__new__(_class_for(*args, **options) if cls is AtomicCache else cls)

    def __getitem__(self, key: K) -> V:
        """Return the value of `key`. If it has none, fill it, or wait for the fill that is running."""
        try:
            entry = self._entries[key]
            deadline = entry.deadline
            if deadline is None or deadline > (now := self._clock()):
                if self._on_hit is not None:
                    self._on_hit(entry)
                return entry.value  # type: ignore[no-any-return]
        except (KeyError, TypeError):
            now = None
        fills, state = self._fills, self._state
        if not state.fills_plainly:
            return fills.get_or_fill(key, self._call_for(key), now)  # type: ignore[no-any-return]
        flight = Flight(key, state.entry_type)
        latch = flight.latch
        try:
            found = fills.claim(flight, now)
            if found is LEAD:
                fills.complete(flight, self._fill(key))
        except BaseException as error:
            flight.error = error
            fills.abort(flight)
            del flight  # the traceback keeps this frame: it must not lead back to the exception
            raise
        finally:
            latch.release()
        value = fills.result_or_wait(flight, found)
        if value is Empty:
            return fills.get_or_fill(key, self._call_for(key), is_counted=True)  # type: ignore[no-any-return]
        return value  # type: ignore[no-any-return]

    fetch = __getitem__

    def _miss(self, key: K, now: float | None) -> V:
        """Do what `__getitem__` does on a miss, for the classes below: it writes that out, as a frame saves depth."""
        fills, state = self._fills, self._state
        if not state.fills_plainly:
            return fills.get_or_fill(key, self._call_for(key), now)  # type: ignore[no-any-return]
        flight = Flight(key, state.entry_type)
        latch = flight.latch
        try:
            found = fills.claim(flight, now)
            if found is LEAD:
                fills.complete(flight, self._fill(key))
        except BaseException as error:
            flight.error = error
            fills.abort(flight)
            del flight
            raise
        finally:
            latch.release()
        value = fills.result_or_wait(flight, found)
        if value is Empty:
            return fills.get_or_fill(key, self._call_for(key), is_counted=True)  # type: ignore[no-any-return]
        return value  # type: ignore[no-any-return]

    def fetch_many(self, keys: Iterable[K]) -> dict[K, V]:
        """Return a dict of the values of `keys`. Fill those that have none, in order; stop where a fill raises.

        With `fill_many`: by one call of it for those that nobody else is filling (or one for each `max_batch` of them).
        """
        check_keys("fetch_many", keys)
        if isinstance(self._fill, ManyFill):
            values, missing = self._look_up_many(keys)
            return values | self._fill_missing(missing) if missing else values
        values = {}
        for key in keys:
            self._state.refuse_unhashable(key)
            if key not in values:  # a value that is not stored is filled once all the same
                values[key] = self[key]
        return values

    def _fill_missing(self, keys: list[K]) -> dict[K, V]:
        fill: Any = self._fill
        return ThreadBatches(self._fills).get_or_fill_many(keys, self._own_many(keys), self._call_for, fill.most)

    def refresh(self, key: K) -> V:
        """Fill `key` again and return the new value; other callers get the old one meanwhile.

        Joins a fill of the key that is running. If the fill raises, the old value stays; if the key is invalidated
        meanwhile, the result is not stored.
        """
        return self._fills.refresh(key, self._refresh_for(key))  # type: ignore[no-any-return]

    @property
    def aio(self) -> AsyncAtomicCache[K, V]:
        """The same cache for event loops: the same values, fills and counters, in an AsyncAtomicCache.

        Its fills run in the loop's executor. Store it: creating one costs.
        """
        return AsyncAtomicCache._over(self._fills, self._fill)


accelerate_subscript(AtomicCache)


class _AtomicCacheInPython(AtomicCache[K, V]):
    """An AtomicCache whose hits are not for hit.c: it asks that for none."""

    __slots__ = ()
    __getitem__ = AtomicCache.fetch  # type: ignore[misc]


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
        return self._miss(key, now)

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
        return self._miss(key, now)

    fetch = __getitem__
    __getitem__.__doc__ = AtomicCache.__getitem__.__doc__


class _CopyingAtomicCache(CopyingForThreads[K, V], AtomicCache[K, V]):
    """An AtomicCache with `copies=True`."""

    __slots__ = ()


AtomicCache._copying = _CopyingAtomicCache

for _special in (_AtomicCacheInPython, _AtomicCacheWithTtl, _CountingAtomicCache, _CopyingAtomicCache):
    _special.__name__ = _special.__qualname__ = AtomicCache.__name__


def _class_for(fill: object = None, ttl: object = None, /, *_: object, **options: Any) -> type:
    """Return the class that has least to do on a hit of a cache with these arguments."""
    if options.get("copies"):
        return _CopyingAtomicCache
    if accelerated:
        is_in_python = options.get("idle") is not None or options.get("index") == "atomic"
        return _AtomicCacheInPython if is_in_python else AtomicCache
    if options.get("max_items") is not None or options.get("max_bytes") is not None:
        return AtomicCache
    if options.get("idle") is not None:
        return AtomicCache
    if options.get("stats"):
        return _CountingAtomicCache
    has_ttl = ttl is not None or options.get("ttl") is not None or options.get("shared") is not None
    return _AtomicCacheWithTtl if has_ttl else AtomicCache


class AsyncAtomicCache(AsyncReadThrough[K, V]):
    """A mapping that computes its values, for event loops: `await cache[key]` is `fill(key)`, computed once and kept.

    `get`, `get_many`, `peek`, `in`, `len`, iteration, `invalidate`, `clear` and `cache_info` are plain calls, not
    awaited.

    Args:
        fill: called with a key, returns its value, or something to await for it. A plain function runs in the loop's
            default executor, where it can be abandoned but not stopped. A StopIteration from it becomes a RuntimeError.
        inline: call a plain `fill` on the loop itself.
        on_abandon: what happens to a fill when its last caller has been cancelled or has given up: "cancel" it, and
            free its key; or "complete" it, and store its result.
        ttl, options: those of `AtomicCache`; `ttl`, weigher and listener are called on the loop. `wait_timeout` is for
            callers that join a fill, not for the task that has started it.
        resilience: that of `AtomicCache`. All fills run in tasks, on the loop of the lookup that began them, and are
            cancelled when that loop shuts down; stale values stay. A task that gives up after a timeout has not
            abandoned the fill.

    Under concurrency:
        A hit takes no lock and does not suspend. A miss runs `fill` in one task, in a copy of the caller's context;
        tasks on any loops, and threads (through `sync`), wait for its outcome, and no loop is blocked. The task that
        started the fill gets the exception that it raised, the others get copies. A caller that is cancelled leaves the
        fill running for the others. If the fill is cancelled by others, or raises CancelledError, the task that started
        it gets a RuntimeError, and one of the others fills instead.

    Raises:
        TypeError, ValueError: for an argument; the message names it.
        RecursiveFillError, FillDeadlockError, FillTimeout: from a lookup that would have to wait; see each. What a fill
            starts with its context (`gather`, `to_thread`) counts as part of it.
    """

    __slots__ = ()

    if not TYPE_CHECKING:

        @functools.wraps(AsyncReadThrough.__init__)
        def __new__(cls, *args, **options):
            return object.__new__(cls._copying if cls is AsyncAtomicCache and options.get("copies") else cls)

    @property
    def sync(self) -> AtomicCache[K, V]:
        """The same cache for threads: the same values, fills and counters, in an AtomicCache.

        Store it: creating one costs. A thread that leads runs an `async def` fill with `asyncio.run`: what it uses must
        not be bound to another loop. In a thread that runs a loop such a miss is a RuntimeError.
        """
        fills = self._fills
        own = ThreadFills(fills.state, fills.rules, fills.stored_errors, fills.wait_timeout)
        fill: Any = self._fill
        is_many = isinstance(fill, AsyncManyFill)
        return AtomicCache._view(own, fill.for_threads(self.name) if is_many else BlockingFill(fill, self.name))


class _CopyingAsyncAtomicCache(CopyingForTasks[K, V], AsyncAtomicCache[K, V]):
    """An AsyncAtomicCache with `copies=True`."""

    __slots__ = ()


_CopyingAsyncAtomicCache.__name__ = _CopyingAsyncAtomicCache.__qualname__ = AsyncAtomicCache.__name__
AsyncAtomicCache._copying = _CopyingAsyncAtomicCache
Memoizing.for_threads, Memoizing.for_tasks = AtomicCache, AsyncAtomicCache
