"""Caches that the kit has no adapter for: `Plain`, `OnLoop` and `Broken` are faulty, the others keep their promises."""

from __future__ import annotations

import asyncio
import pickle
import threading
import time
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


class Odd:
    not_promised = ("wrong",)

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.call = function


def unmade(function: Callable[[Any], Any]) -> Any:
    raise OSError("no server")


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


class Locked:
    """A dict behind one lock, which is held while a value is made: slow, and right."""

    not_promised = ()

    def __init__(
        self,
        function: Callable[[Any], Any],
        ttl: float = float("inf"),
        clock: Callable[[], float] = time.monotonic,
        max_items: float = float("inf"),
    ) -> None:
        self.function, self.ttl, self.clock, self.max_items = function, ttl, clock, max_items
        self.values: dict[Any, tuple[Any, float]] = {}
        self.lock = threading.RLock()

    def get(self, key: Any) -> Any:
        with self.lock:
            value, expires = self.values.get(key, (None, 0.0))
            return value if self.clock() < expires else None

    def call(self, key: Any) -> Any:
        with self.lock:
            value = self.get(key)
            if value is None:
                self.values.pop(key, None)
                value = self.function(key)
                self.values[key] = value, self.clock() + self.ttl
                while len(self.values) > self.max_items:
                    del self.values[next(iter(self.values))]
            return value

    def invalidate(self, key: Any) -> None:
        with self.lock:
            self.values.pop(key, None)

    def clear(self) -> None:
        with self.lock:
            self.values.clear()

    def count(self) -> int:
        return len(self.values)


class Broken(Locked):
    """The same with what is easily forgotten: no lock, values that have expired, no eviction."""

    def get(self, key: Any) -> Any:
        return self.values.get(key, (None, 0.0))[0]

    def call(self, key: Any) -> Any:
        value = self.get(key)
        if value is None:
            value = self.function(key)
            self.values[key] = value, 0.0
        return value


class Pickling:
    """The same as `Locked` for values that are pickled; it has no clear, no ttl and no limit."""

    not_promised = ()

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.locked = Locked(lambda key: pickle.dumps(function(key)))
        self.invalidate = self.locked.invalidate

    def call(self, key: Any) -> Any:
        return pickle.loads(self.locked.call(key))


class Forgetful:
    """It keeps nothing, and does not promise to."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.call = function


class OneFlight:
    """On an event loop: one flight of a key, which its value is read from later, until it is invalidated."""

    is_async = True
    not_promised = ()

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function
        self.flights: dict[Any, asyncio.Future[Any]] = {}

    async def call(self, key: Any) -> Any:
        flight = self.flights.get(key)
        if flight is None:
            flight = self.flights[key] = asyncio.ensure_future(self.function(key))
            flight.add_done_callback(lambda flight: self.drop_failed(key, flight))
        return await asyncio.shield(flight)

    def drop_failed(self, key: Any, flight: asyncio.Future[Any]) -> None:
        if flight.exception() is not None and self.flights.get(key) is flight:
            del self.flights[key]

    async def invalidate(self, key: Any) -> None:
        self.flights.pop(key, None)
