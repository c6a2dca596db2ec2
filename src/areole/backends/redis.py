"""RedisBackend: bytes on Redis or Valkey, for threads.

`redis_commands` says what each method asks for, `redis_routes` which server is asked, `redis_links` how.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from .._core.sentinels import CacheMissSentinel
from ..errors import CacheClosedError
from .base import BaseBackend
from .redis_async import AsyncRedisBackend
from .redis_clients import check_timeout, servers_of
from .redis_commands import Commands, Steps
from .redis_errors import as_backend_error
from .redis_links import Links
from .redis_listener import RedisListener
from .redis_routes import route_to
from .redis_servers import import_redis

__all__ = ["RedisBackend"]

R = TypeVar("R")


class RedisBackend(BaseBackend):
    """Keeps bytes on a Redis or Valkey server, on the primary that a Sentinel names, or on a cluster.

    Args:
        target: a URL: redis://user:password@host:6379/0, rediss:// (TLS), unix:///path?db=0, redis+unix://,
            redis+cluster://host,host2:6380, sentinel://host:26379,host2/service/0, valkey://, valkeys://. Or a client
            of redis-py 5 or later: Redis, RedisCluster or Sentinel. It is neither used nor closed: the connections are
            our own, made with its settings. One of redis.asyncio whose connections are of a class, or have settings,
            of their own serves `aio` only.
        timeout: seconds for each wait for a server, and for `aio`, for each request.
        service_name: of the primary, if `target` is a Sentinel.

    Under concurrency:
        Threads share a backend; each call that runs has a connection of its own, and there are as many as there were
        calls at once. Reads and writes go to primaries only. After a fork the child makes connections of its own.

    Raises:
        BackendError, BackendTimeout, CacheClosedError: see `Backend`.
        TypeError, ValueError, SettingsError: for an argument, which the message names.
        ModuleNotFoundError: redis-py is not installed.
    """

    tracks = True
    """Whether `listen` takes prefixes."""

    def __init__(self, target: Any, *, timeout: float = 0.25, service_name: str | None = None) -> None:
        self.timeout = check_timeout("RedisBackend", timeout)
        self._given = servers_of("RedisBackend", target, service_name)
        self._servers = self._given.for_threads()
        self._commands = Commands(route_to(self._servers))
        self._links = Links(self._servers, timeout)
        self._errors = import_redis().exceptions
        self._servers.connection(None, timeout)  # settings that are wrong are refused now

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._servers.where})"

    @property
    def aio(self) -> AsyncRedisBackend:
        """The same servers for event loops: any number of them. It is closed with this backend."""
        made: AsyncRedisBackend | None = self.__dict__.get("_aio")
        if made is None:
            made = AsyncRedisBackend(self._given, timeout=self.timeout)
            made = self.__dict__.setdefault("_aio", made)  # one atomic step: all threads get the same one
            made._is_closed = self._links.is_closed
        return made

    # ---- values

    def get(self, key: str, /) -> bytes | None:
        return self._run("get", self._commands.get(key))

    def get_many(self, keys: Sequence[str], /) -> list[bytes | None]:
        return self._run("get_many", self._commands.get_many(keys))

    def set(self, key: str, value: bytes, /, ttl: float | None = None, only_if_absent: bool = False) -> bool:
        return self._run("set", self._commands.set(key, value, ttl, only_if_absent))

    def set_many(self, items: Mapping[str, bytes], /, ttl: float | None = None) -> None:
        self._run("set_many", self._commands.set_many(items, ttl))

    def expire(self, key: str, ttl: float | None, /) -> bool:
        return self._run("expire", self._commands.expire(key, ttl))

    def ttl_of(self, key: str, /) -> float | CacheMissSentinel | None:
        return self._run("ttl_of", self._commands.ttl_of(key))

    def get_many_timed(
        self, keys: Sequence[str], timed: Sequence[str], /
    ) -> tuple[list[bytes | None], list[float | CacheMissSentinel | None]]:
        return self._run("get_many_timed", self._commands.get_many_timed(keys, timed))

    def clear(self, prefix: str, /) -> None:
        """Walk through all keys of the database (SCAN), and remove (UNLINK) those that begin with `prefix`."""
        self._run("clear", self._commands.clear(prefix))

    # ---- the fence

    def take(
        self, key: str, token: bytes, lease: float, seen: bytes | None = None, /
    ) -> tuple[bytes | None, bytes | None]:
        return self._run("take", self._commands.take(key, token, lease, seen))

    def take_many(self, asked: Sequence[tuple[Any, ...]], /) -> list[tuple[bytes | None, bytes | None]]:
        """Do what `take` does with each of these arguments."""
        return self._run("take_many", self._commands.take_many(asked))

    def renew(self, key: str, token: bytes, lease: float, /) -> bool:
        return self._run("renew", self._commands.renew(key, token, lease))

    def store_if_mine(self, key: str, value: bytes | None, token: bytes, ttl: float | None = None, /) -> bool:
        return self._run("store_if_mine", self._commands.store_if_mine(key, value, token, ttl))

    def store_many_if_mine(self, asked: Sequence[tuple[Any, ...]], /) -> list[bool]:
        """Do what `store_if_mine` does with each of these arguments."""
        return self._run("store_many_if_mine", self._commands.store_many_if_mine(asked))

    def kill(self, key: str, /) -> bytes | None:
        return self._run("kill", self._commands.kill_many([key]))[0]

    def kill_many(self, keys: Sequence[str], /) -> list[bytes | None]:
        return self._run("kill_many", self._commands.kill_many(keys))

    # ---- what others change

    def tell(self, key: str, /) -> None:
        """Have all processes drop their copies of `key`, as after a change of it."""
        self._run("tell", self._commands.tell(key))

    def listen(self, *prefixes: str) -> RedisListener:
        """Connect, and subscribe to the changes that other backends make, and to all of keys that begin like this.

        See `shared.plane`.
        """
        addresses = self._run("listen", self._commands.primaries())
        try:
            return RedisListener(self._links, addresses, prefixes)
        except (self._errors.RedisError, OSError) as error:  # which the plane writes into the log
            made = as_backend_error(error, "RedisBackend.listen", self._servers, self.timeout)
            raise made from made.__cause__

    # ---- life

    def close(self) -> None:
        """Close the idle connections; those in use are closed as their calls end, those of loops as `aio` says."""
        self._links.close()
        if (aio := self.__dict__.get("_aio")) is not None:
            aio._is_closed = True

    def _run(self, call: str, steps: Steps[R]) -> R:
        """Do what the steps ask for, until they return."""
        name = f"RedisBackend.{call}"
        if self._links.is_closed:
            raise CacheClosedError(f"{name}: it is closed: make another one")
        if self._servers.is_async:
            raise TypeError(f"{name}: a redis.asyncio client serves `aio` only: give it a redis.Redis, or a URL")
        try:
            wanted = next(steps)
            while True:
                try:
                    got = pause(wanted) if isinstance(wanted, float) else self._links.send(wanted)
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


def pause(seconds: float) -> list[list[Any]]:
    time.sleep(seconds)
    return []
