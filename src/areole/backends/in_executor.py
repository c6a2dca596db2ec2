"""A `Backend` as an `AsyncBackend`: its calls run in an executor, or in place where they never wait."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from .._core.sentinels import CacheMissSentinel
from .protocol import Backend

__all__ = ["InExecutor", "InPlace"]

P = ParamSpec("P")
R = TypeVar("R")


class InPlace:
    """An `AsyncBackend` over a `Backend` whose calls never wait, so that the loop may run them itself.

    It has no connections: `aclose` does nothing, and `backend` stays open.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.is_shared = backend.is_shared
        self.clears_cheaply = backend.clears_cheaply

    async def _call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **kwargs)

    async def get(self, key: str, /) -> bytes | None:
        return await self._call(self._backend.get, key)

    async def get_many(self, keys: Sequence[str], /) -> list[bytes | None]:
        return await self._call(self._backend.get_many, keys)

    async def set(self, key: str, value: bytes, /, ttl: float | None = None, only_if_absent: bool = False) -> bool:
        return await self._call(self._backend.set, key, value, ttl, only_if_absent)

    async def set_many(self, items: Mapping[str, bytes], /, ttl: float | None = None) -> None:
        return await self._call(self._backend.set_many, items, ttl)

    async def delete(self, key: str, /) -> bool:
        return await self._call(self._backend.delete, key)

    async def delete_many(self, keys: Iterable[str], /) -> int:
        return await self._call(self._backend.delete_many, list(keys))

    async def expire(self, key: str, ttl: float | None, /) -> bool:
        return await self._call(self._backend.expire, key, ttl)

    async def ttl_of(self, key: str, /) -> float | CacheMissSentinel | None:
        return await self._call(self._backend.ttl_of, key)

    async def get_many_timed(
        self, keys: Sequence[str], timed: Sequence[str], /
    ) -> tuple[list[bytes | None], list[float | CacheMissSentinel | None]]:
        def get() -> tuple[list[bytes | None], list[float | CacheMissSentinel | None]]:
            left = [self._backend.ttl_of(key) for key in timed]
            return self._backend.get_many(keys), left

        return await self._call(get)

    async def clear(self, prefix: str, /) -> None:
        return await self._call(self._backend.clear, prefix)

    async def take(
        self, key: str, token: bytes, lease: float, seen: bytes | None = None, /
    ) -> tuple[bytes | None, bytes | None]:
        return await self._call(self._backend.take, key, token, lease, seen)

    async def renew(self, key: str, token: bytes, lease: float, /) -> bool:
        return await self._call(self._backend.renew, key, token, lease)

    async def store_if_mine(self, key: str, value: bytes | None, token: bytes, ttl: float | None = None, /) -> bool:
        return await self._call(self._backend.store_if_mine, key, value, token, ttl)

    async def kill(self, key: str, /) -> bytes | None:
        return await self._call(self._backend.kill, key)

    async def kill_many(self, keys: Sequence[str], /) -> list[bytes | None]:
        return await self._call(self._backend.kill_many, keys)

    async def aclose(self) -> None:
        """Do nothing: the connections are the backend's, and its `close` closes them."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        await self.aclose()


class InExecutor(InPlace):
    """An `AsyncBackend` over any `Backend`, whose calls run in an executor's threads.

    Args:
        backend: stays open when this is closed: its own `close` closes it.
        executor: None: the default executor of the loop that calls.

    Under concurrency:
        Any number of loops share one. A call sees the context variables of its caller. One that is cancelled before a
        thread has begun it is dropped; a thread that has begun it completes it, and its result is dropped.
    """

    def __init__(self, backend: Backend, executor: Executor | None = None) -> None:
        super().__init__(backend)
        self._executor = executor
        self._release_thread: Callable[[], object] | None = getattr(backend, "release_thread", None)

    async def _call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        run: Callable[..., R] = contextvars.copy_context().run
        call = partial(run, function, *args, **kwargs)
        if self._release_thread is not None:
            call = partial(_call_and_then, self._release_thread, call)
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)


def _call_and_then(release: Callable[[], object], call: Callable[[], R]) -> R:
    try:
        return call()
    finally:
        release()
