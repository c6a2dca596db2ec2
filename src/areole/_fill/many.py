"""The fill of a cache that was made with `fill_many`: called with one key, or with many."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .._platform.arguments import is_async_function
from .blocking import BlockingFill, call_fill
from .gathering import Gatherings
from .outcomes import outcomes_of, result_of

__all__ = ["AsyncManyFill", "ManyFill"]


class ManyFill:
    """For threads. `load` is what the user gave, or what asks a shared cache first; `most` limits its keys.

    `one` asks a shared cache for one key, and can refresh it there; None: there is none.
    """

    def __init__(
        self,
        load: Callable[[list[Any]], Any],
        most: int | None,
        gatherings: Gatherings | None = None,
        one: Any = None,
    ) -> None:
        self.load = load
        self.most = most
        self.gatherings = gatherings
        self.one = one

    def __call__(self, key: Any) -> Any:
        if self.gatherings is not None:
            return self.gatherings.fill(key, self.many)
        if self.one is not None:
            return self.one(key)
        return result_of(outcomes_of([key], self.many([key]))[0])

    def many(self, keys: list[Any]) -> Any:
        return self.load(keys)

    def refresh(self, key: Any) -> Any:
        """Have the shared cache behind fill this again."""
        return self.one.refresh(key)

    def for_tasks(self) -> AsyncManyFill:
        load, one = (each.fill if isinstance(each, BlockingFill) else each for each in (self.load, self.one))
        return AsyncManyFill(load, self.most, self.gatherings, one)


class AsyncManyFill(ManyFill):
    """For tasks; a plain `load` is called in the loop's executor, or on the loop."""

    def __init__(
        self,
        load: Callable[[list[Any]], Any],
        most: int | None,
        gatherings: Gatherings | None = None,
        one: Any = None,
        inline: bool = False,
    ) -> None:
        super().__init__(load, most, gatherings, one)
        self.offloads = not inline and not is_async_function(load)

    async def __call__(self, key: Any) -> Any:
        if self.gatherings is not None:
            return await self.gatherings.fill_in_task(key, self.many)
        if self.one is not None:
            return await call_fill(partial(self.one, key), self.offloads)
        return result_of(outcomes_of([key], await self.many([key]))[0])

    async def many(self, keys: list[Any]) -> Any:
        return await call_fill(partial(self.load, keys), self.offloads)

    async def refresh(self, key: Any) -> Any:
        return await call_fill(partial(self.one.refresh, key), self.offloads)

    def for_threads(self, name: str) -> ManyFill:
        one = None if self.one is None else BlockingFill(self.one, name)
        return ManyFill(BlockingFill(self.load, name), self.most, self.gatherings, one)
