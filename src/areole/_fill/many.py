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

    `again` fills one key again, also where a shared cache has it; None: `load` does.
    """

    def __init__(
        self,
        load: Callable[[list[Any]], Any],
        most: int | None,
        gatherings: Gatherings | None = None,
        again: Callable[[Any], Any] | None = None,
    ) -> None:
        self.load = load
        self.most = most
        self.gatherings = gatherings
        self.again = again

    def __call__(self, key: Any) -> Any:
        if self.gatherings is not None:
            return self.gatherings.fill(key, self.many)
        return result_of(outcomes_of([key], self.many([key]))[0])

    def many(self, keys: list[Any]) -> Any:
        return self.load(keys)

    def refresh(self, key: Any) -> Any:
        """Do what a refresh of a cache in front of a shared one does."""
        return self.again(key) if self.again is not None else self(key)

    def for_tasks(self) -> AsyncManyFill:
        load, again = (each.fill if isinstance(each, BlockingFill) else each for each in (self.load, self.again))
        assert load is not None
        return AsyncManyFill(load, self.most, self.gatherings, again)


class AsyncManyFill(ManyFill):
    """For tasks; a plain `load` is called in the loop's executor, or on the loop."""

    def __init__(
        self,
        load: Callable[[list[Any]], Any],
        most: int | None,
        gatherings: Gatherings | None = None,
        again: Callable[[Any], Any] | None = None,
        inline: bool = False,
    ) -> None:
        super().__init__(load, most, gatherings, again)
        self.offloads = not inline and not is_async_function(load)

    async def __call__(self, key: Any) -> Any:
        if self.gatherings is not None:
            return await self.gatherings.fill_in_task(key, self.many)
        return result_of(outcomes_of([key], await self.many([key]))[0])

    async def many(self, keys: list[Any]) -> Any:
        return await call_fill(partial(self.load, keys), self.offloads)

    async def refresh(self, key: Any) -> Any:
        return await (call_fill(partial(self.again, key), self.offloads) if self.again is not None else self(key))

    def for_threads(self, name: str) -> ManyFill:
        again = None if self.again is None else BlockingFill(self.again, name)
        return ManyFill(BlockingFill(self.load, name), self.most, self.gatherings, again)
