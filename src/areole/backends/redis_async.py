"""AsyncRedisBackend: what `redis` does for threads, for event loops. Each loop has connections of its own.

How a loop's connections end
    by `aclose`        on that loop.
    with the loop      An asynchronous generator is left suspended on it. `asyncio.run` and the like close those before
                       they close the loop, and its last step closes the connections.
    after the loop     Where it was closed without that, their sockets are closed when the backend is next used on
                       another loop, or dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from .._core.sentinels import CacheMissSentinel
from .._platform.weak import WeakTable
from ..errors import CacheClosedError
from .redis_async_links import LoopLinks
from .redis_clients import check_timeout, servers_of
from .redis_commands import Commands, Steps
from .redis_errors import as_backend_error
from .redis_routes import route_to
from .redis_servers import Servers, import_redis

__all__ = ["AsyncRedisBackend"]

R = TypeVar("R")


class AsyncRedisBackend:
    """Keeps bytes on a Redis or Valkey server, the primary that a Sentinel names, or a cluster, for event loops.

    Args:
        target: a URL or a client, as for RedisBackend; the client may be one for threads or one of redis.asyncio.
        timeout: seconds that each request may take, with connecting if it must.
        service_name: of the primary, if `target` is a Sentinel.

    Under concurrency:
        Any number of loops, in any threads, share one. Each call that runs has a connection of its own. A call that is
        cancelled leaves no connection that would answer another call.

    Raises:
        BackendError, BackendTimeout, CacheClosedError: see `Backend`. The `aio` of a RedisBackend is closed with it.
        TypeError, ValueError, SettingsError: for an argument, which the message names.
        ModuleNotFoundError: redis-py is not installed.
    """

    is_shared = True
    clears_cheaply = False

    def __init__(self, target: Any, *, timeout: float = 0.25, service_name: str | None = None) -> None:
        call = "AsyncRedisBackend"
        self.timeout = check_timeout(call, timeout)
        servers = target if isinstance(target, Servers) else servers_of(call, target, service_name)
        self._servers = servers.for_loops()
        self._commands = Commands(route_to(self._servers))
        self._loops: WeakTable[tuple[LoopLinks, AsyncGenerator[None]]] = WeakTable()
        self._errors = import_redis().exceptions
        self._is_closed = False
        self._servers.connection(None, None)  # settings that are wrong are refused now

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._servers.where})"

    # ---- values

    async def get(self, key: str, /) -> bytes | None:
        return await self._run("get", self._commands.get(key))

    async def get_many(self, keys: Sequence[str], /) -> list[bytes | None]:
        return await self._run("get_many", self._commands.get_many(keys))

    async def set(self, key: str, value: bytes, /, ttl: float | None = None, only_if_absent: bool = False) -> bool:
        return await self._run("set", self._commands.set(key, value, ttl, only_if_absent))

    async def set_many(self, items: Mapping[str, bytes], /, ttl: float | None = None) -> None:
        await self._run("set_many", self._commands.set_many(items, ttl))

    async def delete(self, key: str, /) -> bool:
        return await self.kill(key) is not None

    async def delete_many(self, keys: Iterable[str], /) -> int:
        return sum(head is not None for head in await self.kill_many(list(keys)))

    async def expire(self, key: str, ttl: float | None, /) -> bool:
        return await self._run("expire", self._commands.expire(key, ttl))

    async def ttl_of(self, key: str, /) -> float | CacheMissSentinel | None:
        return await self._run("ttl_of", self._commands.ttl_of(key))

    async def get_many_timed(
        self, keys: Sequence[str], timed: Sequence[str], /
    ) -> tuple[list[bytes | None], list[float | CacheMissSentinel | None]]:
        return await self._run("get_many_timed", self._commands.get_many_timed(keys, timed))

    async def tell(self, key: str, /) -> None:
        """Have all processes drop their copies of `key`, as after a change of it."""
        await self._run("tell", self._commands.tell(key))

    async def clear(self, prefix: str, /) -> None:
        """Walk through all keys of the database (SCAN), and remove (UNLINK) those that begin with `prefix`."""
        await self._run("clear", self._commands.clear(prefix))

    # ---- the fence

    async def take(
        self, key: str, token: bytes, lease: float, seen: bytes | None = None, /
    ) -> tuple[bytes | None, bytes | None]:
        return await self._run("take", self._commands.take(key, token, lease, seen))

    async def take_many(self, asked: Sequence[tuple[Any, ...]], /) -> list[tuple[bytes | None, bytes | None]]:
        """Do what `take` does with each of these arguments."""
        return await self._run("take_many", self._commands.take_many(asked))

    async def renew(self, key: str, token: bytes, lease: float, /) -> bool:
        return await self._run("renew", self._commands.renew(key, token, lease))

    async def store_if_mine(self, key: str, value: bytes | None, token: bytes, ttl: float | None = None, /) -> bool:
        return await self._run("store_if_mine", self._commands.store_if_mine(key, value, token, ttl))

    async def store_many_if_mine(self, asked: Sequence[tuple[Any, ...]], /) -> list[bool]:
        """Do what `store_if_mine` does with each of these arguments."""
        return await self._run("store_many_if_mine", self._commands.store_many_if_mine(asked))

    async def kill(self, key: str, /) -> bytes | None:
        return (await self._run("kill", self._commands.kill_many([key])))[0]

    async def kill_many(self, keys: Sequence[str], /) -> list[bytes | None]:
        return await self._run("kill_many", self._commands.kill_many(keys))

    # ---- life

    async def aclose(self) -> None:
        """Close the idle connections of the running loop; a later call on it makes others."""
        await self._links().close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        if "_loops" in self.__dict__:
            self._abandon_closed_loops()
            self._loops.records.clear()  # a loop closes an asynchronous generator that nobody has any more

    def _links(self) -> LoopLinks:
        """Return the running loop's connections."""
        loop = asyncio.get_running_loop()
        found = self._loops.records.get(id(loop))
        if found is not None and found[0]() is loop:
            return found[1][0]
        self._abandon_closed_loops()
        links = LoopLinks(self._servers, self.timeout)
        keeper = end_with_loop(links)
        self._loops.add_if_absent(loop, (links, keeper))
        begin(keeper)
        return links

    def _abandon_closed_loops(self) -> None:
        for loop in self._loops.objects():
            if loop.is_closed():
                _, (links, _) = self._loops.records.pop(id(loop), (None, (None, None)))
                if links is not None:
                    links.abandon()

    async def _run(self, call: str, steps: Steps[R]) -> R:
        """Do what the steps ask for, until they return."""
        name = f"AsyncRedisBackend.{call}"
        if self._is_closed:
            raise CacheClosedError(f"{name}: it is closed: make another one")
        links = self._links()
        try:
            wanted = next(steps)
            while True:
                try:
                    got = await (pause(wanted) if isinstance(wanted, float) else links.send(wanted))
                except BaseException as error:
                    wanted = steps.throw(error)
                else:
                    wanted = steps.send(got)
        except StopIteration as stop:
            result: R = stop.value
            return result
        except (self._errors.RedisError, OSError) as error:
            made = as_backend_error(error, name, self._servers, self.timeout)
            raise made from made.__cause__


async def pause(seconds: float) -> list[list[Any]]:
    await asyncio.sleep(seconds)
    return []


async def end_with_loop(links: LoopLinks) -> AsyncGenerator[None]:
    """Wait for the loop to close the asynchronous generators that were begun on it, as it does at its end."""
    try:
        yield
    finally:
        await links.end()


def begin(generator: AsyncGenerator[None]) -> None:
    """Run it up to its `yield`, before which it awaits nothing."""
    with suppress(StopIteration):
        generator.__anext__().__await__().__next__()
