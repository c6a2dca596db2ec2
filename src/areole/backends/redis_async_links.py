"""The connections of a Redis backend for one event loop.

Invariant: as in `redis_links`, a connection is idle only between calls. A call that is cancelled, at any await, or ends
by its time limit drops the connections that it has.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from operator import methodcaller
from typing import Any
from weakref import ref

from .redis_commands import Address, pack
from .redis_routes import Batch, InTurn
from .redis_servers import NOT_REDIS, UNASKED, Servers, import_redis

__all__ = ["LoopLinks"]


class LoopLinks:
    """Connections to servers: idle ones of each, and those that calls have. Of one loop, and used on it only."""

    def __init__(self, servers: Servers, timeout: float) -> None:
        self._servers = servers
        self._timeout = timeout
        self._sentinels = InTurn(servers.addresses)
        self._idle: dict[Address | None, deque[Any]] = {}
        self._errors = import_redis().exceptions
        self._is_at_end = False

    async def send(self, batches: list[Batch]) -> list[list[Any]]:
        """Send all batches, then read all answers; put the connections back if all went well."""
        used: list[tuple[Address | None, Any]] = []
        try:
            async with asyncio.timeout(self._timeout):
                for address, requests in batches:
                    connection = await self._take(address)
                    used.append((address, connection))
                    packed = b"".join([pack(request.words) for request in requests])
                    await connection.send_packed_command((packed,), check_health=False)
                answers = [
                    [await self._read(connection) for _ in batch.requests]
                    for batch, (_, connection) in zip(batches, used, strict=True)
                ]
        except BaseException:
            await self._drop(used)
            raise
        for address, connection in used:
            await self._put_back(address, connection)
        return answers

    async def close(self) -> None:
        """Close what is idle, and wait for that, together for no longer than a request may take."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timeout):
                await self._disconnect_idle(nowait=False)
        await self._disconnect_idle()

    async def _disconnect_idle(self, nowait: bool = True) -> None:
        for idle in list(self._idle.values()):
            while idle:
                await disconnect(idle.pop(), nowait)

    async def end(self) -> None:
        """Close what is idle, and from now on what is put back."""
        self._is_at_end = True
        await self.close()

    def abandon(self) -> None:
        """Close the sockets of a loop that is closed, from anywhere."""
        for idle in self._idle.values():
            while idle:
                abandon(idle.pop())

    async def _read(self, connection: Any) -> Any:
        """Read one answer: bytes, a number, a list, None, or an error, which is returned."""
        try:
            return await connection.read_response(disable_decoding=True)
        except self._errors.ReadOnlyError:
            raise  # the server is no primary any more: the connection is dropped
        except self._errors.ResponseError as error:
            return error.with_traceback(None)  # whose frames would keep all of this alive until a collection
        except ValueError as error:
            raise self._errors.InvalidResponse(NOT_REDIS) from error

    async def _drop(self, used: list[tuple[Address | None, Any]]) -> None:
        """Close what a broken call had, and what is idle to the same servers: they may be gone."""
        for address, connection in used:
            await disconnect(connection)
            idle = self._idle.get(address)
            while idle:
                await disconnect(idle.pop())

    async def _take(self, address: Address | None) -> Any:
        idle = self._idle.get(address)
        while idle:
            connection = idle.pop()
            try:
                if await is_clean(connection):
                    return connection
            except BaseException:
                await disconnect(connection)
                raise
            await disconnect(connection)
        return await self._connect(address)

    async def _put_back(self, address: Address | None, connection: Any) -> None:
        if self._is_at_end:
            await disconnect(connection)
        else:
            self._idle.setdefault(address, deque()).append(connection)

    async def _connect(self, address: Address | None) -> Any:
        if self._servers.kind == "sentinel":
            address = await self._primary()
        connection = self._servers.connection(address, None)  # `send` has a time limit for all of it
        expect_to_be_lost(connection)
        try:
            await connection.connect()
            if not self._servers.has_tls and not await is_clean(connection):
                raise self._errors.InvalidResponse(UNASKED)
        except BaseException:
            await disconnect(connection)
            raise
        return connection

    async def _primary(self) -> Address:
        """Ask the Sentinels for the primary, for each new connection: nobody says when there is another."""
        failed: Exception | None = None
        for address in self._sentinels:
            connection = self._servers.connection_to_sentinel(address, None)
            expect_to_be_lost(connection)
            try:
                await connection.connect()
                await connection.send_packed_command((self._servers.question,), check_health=False)
                answer = await connection.read_response(disable_decoding=True)
            except (self._errors.RedisError, OSError) as error:
                failed = error
            else:
                if answer:
                    self._sentinels.answered(address)
                    return answer[0].decode(), int(answer[1])
            finally:
                await disconnect(connection)
        raise failed or self._errors.ConnectionError(f"the Sentinels know no service {self._servers.service}")


def expect_to_be_lost(connection: Any) -> None:
    """Let asyncio not report that the server has ended the connection: the call that finds it so raises.

    asyncio's protocol does this in `__del__`, which comes too late where a collection frees the future before it; so it
    is done before the handshake, in which the server may end too.
    """
    for name in ("on_connect", "on_connect_check_health"):  # which one is called depends on redis-py's version
        if hasattr(connection, name):
            setattr(connection, name, partial(_greet, ref(connection), name))


async def _greet(connection_of: Callable[[], Any], name: str, *args: Any, **kwargs: Any) -> None:
    connection = connection_of()
    with suppress(Exception):
        writer = connection._writer
        closed: asyncio.Future[None] = writer.transport.get_protocol()._get_close_waiter(writer)
        closed.add_done_callback(lambda closed: closed.cancelled() or closed.exception())
    await getattr(type(connection), name)(connection, *args, **kwargs)


async def is_clean(connection: Any) -> bool:
    """Say whether the connection is open, and no answer has come that nobody waits for."""
    try:
        if hasattr(connection, "can_read"):
            return not await connection.can_read()
        reader = connection._reader  # before redis-py 8, whose own look passes over answers or over an end of file
        return not (reader.at_eof() or reader._buffer or await connection.can_read_destructive())
    except Exception:
        return False


async def disconnect(connection: Any, nowait: bool = True) -> None:
    with suppress(Exception):  # it is closed, whatever it says
        await connection.disconnect(nowait=nowait)


def abandon(connection: Any) -> None:
    """Close what asyncio and redis-py would warn of, and cannot close themselves once the loop is closed."""
    writer, connection._reader, connection._writer = connection._writer, None, None
    transport = writer.transport
    below = getattr(getattr(transport, "_ssl_protocol", None), "_transport", transport)
    for close in (transport.close, below.close, partial(methodcaller("_call_connection_lost", None), below)):
        with suppress(Exception):  # each does its part before it asks the loop for more
            close()
