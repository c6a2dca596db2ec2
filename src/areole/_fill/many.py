"""The fill of a cache that was made with `fill_many`: called with one key, or with many."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .._platform.arguments import is_async_function
from .batch import outcomes_of, result_of
from .blocking import BlockingFill, call_fill
from .gathering import Gatherings

__all__ = ["AsyncManyFill", "ManyFill"]


class ManyFill:
    """For threads. `load` is what the user gave, or what asks a shared cache first; `most` limits its keys."""

    def __init__(
        self, load: Callable[[list[Any]], Any], most: int | None, gatherings: Gatherings | None = None
    ) -> None:
        self.load = load
        self.most = most
        self.gatherings = gatherings

    def __call__(self, key: Any) -> Any:
        if self.gatherings is not None:
            return self.gatherings.fill(key, self.many)
        return result_of(outcomes_of([key], self.many([key]))[0])

    def many(self, keys: list[Any]) -> Any:
        return self.load(keys)

    def for_tasks(self) -> AsyncManyFill:
        load = self.load.fill if isinstance(self.load, BlockingFill) else self.load
        return AsyncManyFill(load, self.most, self.gatherings)


class AsyncManyFill(ManyFill):
    """For tasks; a plain `load` is called in the loop's executor, or on the loop."""

    def __init__(
        self,
        load: Callable[[list[Any]], Any],
        most: int | None,
        gatherings: Gatherings | None = None,
        inline: bool = False,
    ) -> None:
        super().__init__(load, most, gatherings)
        self.offloads = not inline and not is_async_function(load)

    async def __call__(self, key: Any) -> Any:
        if self.gatherings is not None:
            return await self.gatherings.fill_in_task(key, self.many)
        return result_of(outcomes_of([key], await self.many([key]))[0])

    async def many(self, keys: list[Any]) -> Any:
        return await call_fill(partial(self.load, keys), self.offloads)

    def for_threads(self, name: str) -> ManyFill:
        return ManyFill(BlockingFill(self.load, name), self.most, self.gatherings)
