"""How a process hears what others have changed in Redis: published by each change, in the step that makes it.

A message is the origin of the change, which is a backend, and the keys' names. A backend does not hear its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from .redis_commands import CHANNEL, Address, pack

__all__ = ["RedisListener"]


class RedisListener:
    """Subscriptions to one server, or to each primary of a cluster: a change is published where its key lies."""

    def __init__(self, connect: Callable[[Address | None], Any], addresses: Sequence[Address | None], origin: bytes):
        self._origin = origin
        self._connections: list[Any] = []
        self._heard: dict[int, float] = {}
        began = time.monotonic()
        try:
            for address in addresses:
                self._subscribe(connect(address), began)
        except BaseException:
            self.close()
            raise

    def _subscribe(self, connection: Any, began: float) -> None:
        self._connections.append(connection)
        connection.send_packed_command((pack((b"SUBSCRIBE", CHANNEL)),), check_health=False)
        if connection.read_response(disable_decoding=True)[0] != b"subscribe":
            raise ConnectionError("the server has not answered SUBSCRIBE")
        self._heard[id(connection)] = began

    @property
    def heard(self) -> float:
        """When the last PING was sent that all have answered."""
        return min(self._heard.values())

    def ping(self) -> None:
        words = b"PING", b"%r" % time.monotonic()
        for connection in self._connections:
            connection.send_packed_command((pack(words),), check_health=False)

    def receive(self, timeout: float) -> list[str]:
        """Return the names that others have changed; wait up to `timeout` seconds for some."""
        names: list[str] = []
        for connection in self._connections:
            left = timeout / len(self._connections)
            while connection.can_read(timeout=left):
                names += self._read(connection)
                left = 0.0
        return names

    def _read(self, connection: Any) -> list[str]:
        kind, *rest = connection.read_response(disable_decoding=True)
        if kind == b"pong":
            self._heard[id(connection)] = float(rest[0])
        if kind != b"message":
            return []
        origin, _, names = rest[1].partition(b" ")
        return [] if origin == self._origin else names.decode().split("\n")

    def close(self) -> None:
        for connection in self._connections:
            connection.disconnect()
