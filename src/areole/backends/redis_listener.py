"""How a process hears what was changed in Redis: published by each change, in the step that makes it.

A message has the names of the keys. A process hears its own changes too. If it did not,

    1. A's `set` gets no answer in time, and raises     3. the server does what was asked for: A keeps the old value
    2. A reads the key, and keeps the old value

and the child of a fork might take the changes of its parent, and of its siblings, for its own.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from ..errors import CacheClosedError
from .redis_commands import Address, pack
from .redis_links import Links
from .redis_scripts import CHANNEL

__all__ = ["RedisListener"]

MOST_MESSAGES: Final = 1000
"""So many are read at once, then obeyed: while others come without a pause, too."""

READ_SECONDS: Final = 0.25
"""How long the rest of a message may take: nothing else is heard meanwhile."""


class RedisListener:
    """Subscriptions to one server, or to each primary of a cluster: a change is published where its key lies."""

    def __init__(self, links: Links, addresses: Sequence[Address | None]):
        self._links = links
        self._connections: list[Any] = []
        self._heard: dict[int, float] = {}
        began = time.monotonic()
        try:
            for address in addresses:
                self._subscribe(links.connect(address, READ_SECONDS), began)
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
        """Ask for an answer. CacheClosedError: the backend was closed, and this is to end."""
        if self._links.is_closed:
            raise CacheClosedError("RedisBackend is closed: make another one")
        words = b"PING", b"%r" % time.monotonic()
        for connection in self._connections:
            connection.send_packed_command((pack(words),), check_health=False)

    def receive(self, timeout: float) -> list[str]:
        """Return the names that were changed; wait up to `timeout` seconds for some."""
        names: list[str] = []
        ends = time.monotonic() + timeout
        for connection in self._connections:
            left = timeout / len(self._connections)
            for _ in range(MOST_MESSAGES):
                if not connection.can_read(timeout=left):
                    break
                names += self._read(connection)
                left = 0.0
                if time.monotonic() > ends:  # of a slow network, each message may take its time
                    break
        return names

    def _read(self, connection: Any) -> list[str]:
        kind, *rest = connection.read_response(disable_decoding=True)
        if kind == b"pong":
            self._heard[id(connection)] = float(rest[0])
        if kind != b"message":
            return []
        return rest[1].decode().split("\n")  # type: ignore[no-any-return]

    def close(self) -> None:
        for connection in self._connections:
            connection.disconnect()
