"""AsyncAtomicCache: a read-through cache for tasks and threads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

from .._core.entry import Empty
from .._fill.blocking import BlockingFill
from .._fill.protocol import SingleFlight
from .._fill.stale_tasks import AsyncStayingUp
from .._memoize.decorator import CacheOptions, Memoizing
from .._platform.arguments import (
    check_bool,
    check_callable,
    check_keys,
    check_name,
    check_on_abandon,
    is_async_function,
    suggests_names,
)
from .._platform.refcount import defer
from ..typing import OnAbandon, Ttl
from .atomic_cache import AtomicCache, name_of

__all__ = ["AsyncAtomicCache"]

K = TypeVar("K")
V = TypeVar("V")


class AsyncAtomicCache(Memoizing, AsyncStayingUp[K, V]):
    """A mapping that computes, for event loops: `await cache[key]` is `fill(key)`, run once and kept.

    A hit takes no lock and does not suspend. A miss runs `fill` in a task of its own, in a copy of the context of the
    task that asks; all others that ask for the key meanwhile, tasks on any loops and threads (through `sync`), wait for
    its outcome, the tasks without blocking their loops. What `fill` raises, the task that had started it gets itself,
    and each of the others as a copy of its own.

    A caller that waits may be cancelled, or give up, and leaves the fill running for the others. When the last one has
    left, the fill is cancelled and its key free (`on_abandon="cancel"`), or it goes on and is stored (`"complete"`). If
    the fill is cancelled by others, as a closing loop does, or raises CancelledError by itself, the task that had
    started it gets a RuntimeError, and one of the others fills instead: nobody gets a CancelledError that was not meant
    for it.

    `get`, `get_many`, `peek`, `in`, `len`, iteration, `invalidate`, `clear` and `cache_info` are plain calls.

    Args:
        fill: called with a key, gives its value, or something to await for it. A plain function runs in the loop's
            default executor, in a copy of the context; there it cannot be stopped, but only abandoned. A StopIteration
            from it becomes a RuntimeError, as in all coroutines.
        inline: a plain `fill` is called on the loop itself.
        on_abandon: "cancel" or "complete".
        ttl, options: those of `AtomicCache`; `ttl`, weigher and listener are called on the loop. `wait_timeout` is for
            those who join a fill, not for the task that has started it.
        resilience: that of `AtomicCache`, where all fills, those in the background too, run in tasks on the loop of the
            lookup that began them. Who gives up after a timeout has not abandoned the fill, and the task that has
            started it gives up like all others. As the loop is shut down, background fills are cancelled with its other
            tasks; what was there stays, and the next lookup tries again.

    Raises:
        TypeError, ValueError: for an argument, naming it.
        RecursiveFillError, FillDeadlockError, FillTimeout: from a lookup that would wait; see each. Tasks and threads
            that a fill starts with its context (`gather`, `to_thread`) count as part of it.
    """

    __slots__ = ("_fill",)

    @overload
    def __init__(
        self,
        fill: Callable[[K], Awaitable[V]],
        ttl: Ttl[K, V] | None = None,
        *,
        inline: bool = False,
        on_abandon: OnAbandon = "cancel",
        **options: Unpack[CacheOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        fill: Callable[[K], V],
        ttl: Ttl[K, V] | None = None,
        *,
        inline: bool = False,
        on_abandon: OnAbandon = "cancel",
        **options: Unpack[CacheOptions],
    ) -> None: ...

    @suggests_names(CacheOptions.__optional_keys__)
    def __init__(
        self,
        fill: Callable[[K], Any],
        ttl: Any = None,
        *,
        inline: bool = False,
        on_abandon: OnAbandon = "cancel",
        **options: Any,
    ) -> None:
        check_callable("fill", fill)
        check_bool("inline", inline)
        check_name(options.get("name"))
        options["name"] = options.get("name") or name_of(fill)
        self._take_over_from(AtomicCache(_refuse_to_fill, ttl, **options), fill, inline, on_abandon)
        defer(self, self._entries)

    def _take_over_from(
        self,
        cache: SingleFlight[K, V],
        fill: Callable[[K], Any],
        inline: bool = False,
        on_abandon: OnAbandon = "cancel",
    ) -> None:
        """Become a view of `cache`: the same values, flights and counters, for tasks."""
        check_on_abandon(on_abandon)
        cache._share_with(self)
        self._returner = f"AsyncAtomicCache: the fill of {cache.name}"
        self._fill = fill.fill if isinstance(fill, BlockingFill) else fill
        self._cancels = on_abandon == "cancel"
        self._offloads = not inline and not is_async_function(self._fill)

    @classmethod
    def _over(cls, cache: AtomicCache[K, V]) -> AsyncAtomicCache[K, V]:
        """Make a view of `cache` for tasks; `cache.aio` does."""
        view: AsyncAtomicCache[K, V] = object.__new__(cls)
        view._take_over_from(cache, cache._fill)
        return view

    @property
    def sync(self) -> AtomicCache[K, V]:
        """The same cache for threads: another view of the same values, fills and counters.

        Store it: creating one costs. A thread that leads runs an asynchronous fill with `asyncio.run`, so what that
        uses must not be bound to another loop. In a thread that runs a loop such a miss is a RuntimeError.
        """
        view: AtomicCache[K, V] = object.__new__(AtomicCache)
        self._share_with(view)
        view._fill = BlockingFill(self._fill, self.name)
        return view

    async def fetch(self, key: K) -> V:
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
            return await self._serve(key, partial(fill, key), now)
        return await self._awaited(key, partial(fill, key), now)

    def __getitem__(self, key: K) -> Coroutine[Any, Any, V]:
        """Return `fetch(key)`, to be awaited."""
        return self.fetch(key)

    async def fetch_many(self, keys: Iterable[K]) -> dict[K, V]:
        """Return the values of `keys`, filling those that have none concurrently.

        If one fill raises, the others' waits are cancelled at once, and that is raised once they have ended.
        """
        check_keys("fetch_many", keys)
        values: dict[K, Any] = {}
        for key in keys:
            values[key] = self._value_if_any(key)
        missing = [key for key, value in values.items() if value is Empty]
        if missing:
            self._running_loop()  # raises where there is none, before there are coroutines that nobody would await
            values.update(zip(missing, await _gather(map(self.fetch, missing)), strict=True))
        return values

    def _value_if_any(self, key: K) -> Any:
        if self._plan is not None:
            fill = self._dropped.own_fill_of(self) if self._dropped.were_cached else self._fill
            return self._served_at_once(self._own_order(key, partial(fill, key)), None)
        value = self.get(key, Empty)
        if value is Empty:
            self._counters.misses.decrement_and_get()  # `fetch` is about to count it
        return value

    async def refresh(self, key: K) -> V:
        """Fill `key` again, replace its value and return the new one; others read the old one meanwhile.

        Joins a fill of the key that is already running. If the fill raises, or is cancelled, the old value stays; if
        the key was invalidated meanwhile, nothing is stored.
        """
        fill = self._dropped.own_fill_of(self) if self._dropped.were_cached else self._fill
        return await self._refresh(key, fill, (key,), {})

    if not TYPE_CHECKING:
        __setitem__ = AtomicCache.__setitem__  # they refuse, and say what to use
        __delitem__ = AtomicCache.__delitem__


async def _gather(coroutines: Iterable[Coroutine[Any, Any, V]]) -> list[V]:
    """Run all at once; as soon as one raises, or this is cancelled, cancel the others, and wait until they have ended.

    Whoever asked may close then what the fills use, as after an `await` of one. A second cancellation ends this wait.
    """
    import asyncio

    tasks = [asyncio.ensure_future(each) for each in coroutines]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            if not task.cancelling():  # as after a cancellation, which `gather` hands on: once more would end its wait
                task.cancel()
        await asyncio.wait(tasks)
        raise
    finally:
        del tasks  # the traceback keeps this frame: it must not lead back to the exception


def _refuse_to_fill(key: object) -> Any:
    raise AssertionError("the asynchronous view fills")
