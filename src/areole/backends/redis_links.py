"""The connections of a Redis backend for threads.

Invariant: a connection is among the idle ones only between calls, after the last answer of its call was read. So
whatever breaks a call (a time limit, an interrupt between any two steps) leaves no connection that would answer
another call: it is not put back. redis-py's clients put one back that was interrupted between sending and reading.

A connection that has anything to be read when it is taken was closed by the server, or has an answer that nobody waits
for. It is dropped before anything is sent. What was sent is never sent again, since it may have been done.

What connects, sends and parses is redis-py's; its clients and pools are not used: they cost as much as the server does.
"""

from __future__ import annotations

import os
from collections import deque
from typing import Any

from ..errors import CacheClosedError
from .redis_commands import Address, pack
from .redis_routes import Batch, InTurn
from .redis_servers import NOT_REDIS, UNASKED, Servers, import_redis

__all__ = ["Links"]


class Links:
    """Connections to servers: idle ones of each, and those that calls have.

    Under concurrency: taking and putting back is one atomic step each, of a deque's `pop` and `append`.
    """

    def __init__(self, servers: Servers, timeout: float) -> None:
        self._servers = servers
        self._timeout = timeout
        self._sentinels = InTurn(servers.addresses)
        self._idle: dict[Address | None, deque[Any]] = {}
        self._errors = import_redis().exceptions
        self.is_closed = False

    def send(self, batches: list[Batch]) -> list[list[Any]]:
        """Send all batches, then read all answers; put the connections back if all went well."""
        used: list[tuple[Address | None, Any]] = []
        try:
            for address, requests in batches:
                connection = self._take(address)
                used.append((address, connection))
                packed = b"".join([pack(request.words) for request in requests])
                connection.send_packed_command((packed,), check_health=False)
            answers = [
                [self._read(connection) for _ in batch.requests]
                for batch, (_, connection) in zip(batches, used, strict=True)
            ]
        except BaseException:
            self._drop(used)
            raise
        for address, connection in used:
            self._put_back(address, connection)
        return answers

    def close(self) -> None:
        self.is_closed = True
        for idle in list(self._idle.values()):
            disconnect_all(idle)

    def _read(self, connection: Any) -> Any:
        """Read one answer: bytes, a number, a list, None, or an error, which is returned."""
        try:
            return connection.read_response(disable_decoding=True)
        except self._errors.ReadOnlyError:
            raise  # the server is no primary any more: the connection is dropped
        except self._errors.ResponseError as error:
            return error.with_traceback(None)  # whose frames would keep all of this alive until a collection
        except ValueError as error:
            raise self._errors.InvalidResponse(NOT_REDIS) from error

    def _drop(self, used: list[tuple[Address | None, Any]]) -> None:
        """Close what a broken call had, and what is idle to the same servers: they may be gone."""
        for address, connection in used:
            connection.disconnect()
            disconnect_all(self._idle.get(address, deque()))

    def _take(self, address: Address | None) -> Any:
        if self.is_closed:
            raise CacheClosedError("RedisBackend is closed: make another one")
        idle = self._idle.get(address)
        while idle:
            try:
                connection = idle.pop()
            except IndexError:
                break  # another thread has taken the last one
            if connection.pid == os.getpid() and self._is_clean(connection):
                return connection
            connection.disconnect()  # that of a parent process only forgets it
        return self.connect(address)

    def _is_clean(self, connection: Any) -> bool:
        try:
            return not connection.can_read(timeout=0)
        except (self._errors.RedisError, OSError):
            return False

    def _put_back(self, address: Address | None, connection: Any) -> None:
        idle = self._idle.get(address)
        if idle is None:
            idle = self._idle.setdefault(address, deque())
        idle.append(connection)
        if self.is_closed:  # since this call began, and `close` may have looked here already
            disconnect_all(idle)

    def connect(self, address: Address | None, most: float | None = None) -> Any:
        """Return a new connection, which is the caller's own, and waits for an answer for `most` seconds at most."""
        if self._servers.kind == "sentinel":
            address = self._primary()
        connection = self._servers.connection(address, self._timeout, most)
        try:
            connection.connect()
            if not self._servers.has_tls and not self._is_clean(connection):
                raise self._errors.InvalidResponse(UNASKED)
        except BaseException:
            connection.disconnect()
            raise
        return connection

    def _primary(self) -> Address:
        """Ask the Sentinels for the primary, for each new connection: nobody says when there is another."""
        failed: Exception | None = None
        for address in self._sentinels:
            connection = self._servers.connection_to_sentinel(address, self._timeout)
            try:
                connection.connect()
                connection.send_packed_command((self._servers.question,), check_health=False)
                answer = connection.read_response(disable_decoding=True)
            except (self._errors.RedisError, OSError) as error:
                failed = error
            else:
                if answer:
                    self._sentinels.answered(address)
                    return answer[0].decode(), int(answer[1])
            finally:
                connection.disconnect()
        raise failed or self._errors.ConnectionError(f"the Sentinels know no service {self._servers.service}")


def disconnect_all(idle: deque[Any]) -> None:
    while idle:
        try:
            connection = idle.pop()
        except IndexError:
            return
        connection.disconnect()
