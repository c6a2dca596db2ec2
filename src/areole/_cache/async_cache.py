"""AsyncReadThrough: a read-through cache for tasks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any, Self, TypeVar, Unpack, overload

from .._core.entry import Empty
from .._fill.blocking import BlockingFill
from .._fill.gather import gather
from .._fill.stale import StaleServing
from .._fill.tasks import TaskFills
from .._fill.threads import ThreadFills
from .._memoize.decorator import CacheOptions
from .._platform.arguments import (
    check_bool,
    check_callable,
    check_keys,
    check_on_abandon,
    is_async_function,
    suggests_names,
)
from .._platform.refcount import defer
from ..typing import FillResult, OnAbandon, Ttl
from .read_through import ReadThrough, open_fills

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
        check_on_abandon(on_abandon)
        fills = open_fills(TaskFills, "AsyncAtomicCache", fill, ttl, **options)
        fills.cancels = on_abandon == "cancel"
        if fills.rules.tier is not None:
            fill = fills.rules.tier.fill_for_tasks(fill, inline)
        fills.offloads = not inline and not is_async_function(fill)
        self._fill_by(fills, fill)
        defer(self)

    @classmethod
    def _over(cls, fills: ThreadFills, fill: Callable[[K], Any]) -> Self:
        """Make a view for tasks of what threads fill."""
        fill = fill.fill if isinstance(fill, BlockingFill) else fill
        rules = replace(fills.rules, returner=f"AsyncAtomicCache: the fill of {fills.state.name}")
        own = TaskFills(fills.state, rules, fills.stored_errors, fills.wait_timeout)
        own.offloads = not is_async_function(fill)
        return cls._view(own, fill)

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

        If a fill raises, the other waits are cancelled, and the exception is raised once they have ended.
        """
        check_keys("fetch_many", keys)
        values: dict[K, Any] = {}
        for key in keys:
            values[key] = self._value_if_any(key)
        missing = [key for key, value in values.items() if value is Empty]
        if missing:
            self._fills.running_loop()  # raises where there is none, before there are coroutines to be awaited
            values.update(zip(missing, await gather(map(self.fetch, missing)), strict=True))
        return values

    def _value_if_any(self, key: K) -> Any:
        """Return the value that `fetch` would return without waiting; else Empty, uncounted, as `fetch` is to count."""
        fills, rules = self._fills, self._fills.rules
        if rules.stale is not None:
            return StaleServing(fills, key, self._call_for(key), rules, rules.stale).try_without_waiting(None)
        entry = self._state.find(key)
        return self._state.hit(entry) if entry is not None and entry.is_live(self._clock()) else Empty

    async def refresh(self, key: K) -> V:
        """Fill `key` again and return the new value; other callers get the old one meanwhile.

        Joins a fill of the key that is running. If the fill raises or is cancelled, the old value stays; if the key is
        invalidated meanwhile, the result is not stored.
        """
        return await self._fills.refresh(key, self._refresh_for(key))  # type: ignore[no-any-return]
