"""Two faulty caches that the kit has no adapter for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

NUMBER = 1


class Plain:
    def __init__(self, function: Callable[[Any], Any], ttl: float | None = None) -> None:
        self.values: dict[Any, Any] = {}
        self.function = function

    def call(self, key: Any) -> Any:
        if key not in self.values:
            self.values[key] = self.function(key)
        return self.values[key]

    def invalidate(self, key: Any) -> None:
        self.values.pop(key, None)


class OnLoop:
    """What it removes by is awaited, and an old task stores its value over the newer one's."""

    is_async = True

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.values: dict[Any, Any] = {}
        self.function = function

    async def call(self, key: Any) -> Any:
        if key not in self.values:
            value = await self.function(key)
            self.values[key] = value
        return self.values[key]

    async def invalidate(self, key: Any) -> None:
        self.values.pop(key, None)
