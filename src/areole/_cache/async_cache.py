"""AsyncReadThrough: a read-through cache for tasks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

from .._fill.batches import TaskBatches
from .._fill.blocking import BlockingFill
from .._fill.gather import gather
from .._fill.many import AsyncManyFill, ManyFill
from .._fill.tasks import TaskFills
from .._fill.threads import ThreadFills
from .._memoize.decorator import CacheOptions
from .._platform.arguments import (
    check_bool,
    check_keys,
    check_on_abandon,
    is_async_function,
    suggests_names,
)
from .._platform.refcount import defer
from ..typing import FillResult, ManyResults, OnAbandon, Ttl
from .read_through import ReadThrough, gatherings_of, open_fills, the_one_given

__all__ = ["AsyncReadThrough"]

K = TypeVar("K")
V = TypeVar("V")


class AsyncReadThrough(ReadThrough[K, V]):
    """AsyncAtomicCache, but for its view for threads, which stands above this module."""

    __slots__ = ()
    _fills: TaskFills

    @overload
    def __init__(
        self,
        fill: Callable[[K], Awaitable[FillResult[V]]],
        ttl: Ttl[K, V] | None = None,
        *,
        inline: bool = False,
        on_abandon: OnAbandon = "cancel",
        **options: Unpack[CacheOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        fill: Callable[[K], FillResult[V]],
        ttl: Ttl[K, V] | None = None,
        *,
        inline: bool = False,
        on_abandon: OnAbandon = "cancel",
        **options: Unpack[CacheOptions],
    ) -> None: ...

    @overload
    def __init__(
        self,
        fill: None = None,
        ttl: Ttl[K, V] | None = None,
        *,
        fill_many: Callable[[list[K]], Awaitable[ManyResults[K, V]]],
        coalesce: float | timedelta | None = None,
        max_batch: int | None = None,
        inline: bool = False,
        on_abandon: OnAbandon = "cancel",
        **options: Unpack[CacheOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        fill: None = None,
        ttl: Ttl[K, V] | None = None,
        *,
        fill_many: Callable[[list[K]], ManyResults[K, V]],
        coalesce: float | timedelta | None = None,
        max_batch: int | None = None,
        inline: bool = False,
        on_abandon: OnAbandon = "cancel",
        **options: Unpack[CacheOptions],
    ) -> None: ...

    @suggests_names(CacheOptions.__optional_keys__)
    def __init__(
        self,
        fill: Callable[[K], Any] | None = None,
        ttl: Any = None,
        *,
        fill_many: Callable[[list[K]], Any] | None = None,
        coalesce: float | timedelta | None = None,
        max_batch: int | None = None,
        inline: bool = False,
        on_abandon: OnAbandon = "cancel",
        **options: Any,
    ) -> None:
        given = the_one_given("AsyncAtomicCache", fill, fill_many, coalesce, max_batch)
        check_bool("inline", inline)
        check_on_abandon(on_abandon)
        fills = open_fills(TaskFills, "AsyncAtomicCache", given, ttl, has_many=fill is None, **options)
        fills.cancels = on_abandon == "cancel"
        tier, one = fills.rules.tier, None
        if fill is None:
            if tier is not None:
                one = tier.fill_for_tasks(AsyncManyFill(given, None, inline=inline), inline)
                given = tier.fill_many_for_tasks(given, inline)
            given = AsyncManyFill(given, max_batch, gatherings_of(fills, coalesce, max_batch), one, inline)
        elif tier is not None:
            given = tier.fill_for_tasks(given, inline)
        fills.offloads = not inline and not is_async_function(given)
        self._fill_by(fills, given)
        defer(self)

    @classmethod
    def _over(cls, fills: ThreadFills, fill: Callable[[K], Any]) -> Self:
        """Make a view for tasks of what threads fill."""
        if isinstance(fill, ManyFill):
            fill = fill.for_tasks()
        elif isinstance(fill, BlockingFill):
            fill = fill.fill
        rules = replace(fills.rules, returner=f"AsyncAtomicCache: the fill of {fills.state.name}")
        own = TaskFills(fills.state, rules, fills.stored_errors, fills.wait_timeout)
        own.offloads = not is_async_function(fill)
        return cls._view(own, fill)

    if TYPE_CHECKING:  # with `shared`, what these return can be awaited

        def invalidate(self, key: K) -> Any: ...
        def invalidate_tags(self, *tags: str) -> Any: ...

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
        return await self._fills.get_or_fill(key, self._call_for(key), now)  # type: ignore[no-any-return]

    __getitem__ = fetch

    async def fetch_many(self, keys: Iterable[K]) -> dict[K, V]:
        """Return a dict of the values of `keys`; fill those that have none, concurrently.

        If a fill raises, the other waits are cancelled, and the exception is raised once they have ended. With
        `fill_many`: by one call of it for those that nobody else is filling (or one for each `max_batch` of them).
        """
        check_keys("fetch_many", keys)
        values, missing = self._look_up_many(keys)
        if missing:
            self._fills.running_loop()  # raises where there is none, before there are coroutines to be awaited
            if isinstance(self._fill, ManyFill):
                values.update(await self._fill_missing(missing))
            else:
                values.update(zip(missing, await gather(map(self.fetch, missing)), strict=True))
        return values

    async def _fill_missing(self, keys: list[K]) -> dict[K, V]:
        fill: Any = self._fill
        batches = TaskBatches(self._fills)
        return await batches.get_or_fill_many(keys, self._own_many(keys), self._call_for, fill.most)

    async def refresh(self, key: K) -> V:
        """Fill `key` again and return the new value; other callers get the old one meanwhile.

        Joins a fill of the key that is running. If the fill raises or is cancelled, the old value stays; if the key is
        invalidated meanwhile, the result is not stored.
        """
        return await self._fills.refresh(key, self._refresh_for(key))  # type: ignore[no-any-return]
