"""How a process hears what was changed in Redis: published by each change, in the step that makes it.

A message has the names of the keys. A process hears its own changes too. If it did not,

    1. A's `set` gets no answer in time, and raises     3. the server does what was asked for: A keeps the old value
    2. A reads the key, and keeps the old value

and the child of a fork might take the changes of its parent, and of its siblings, for its own.

What programs write that know nothing of areole has no such message. The server itself tells of it (BCAST tracking): of
every change of a key that begins like this, also of its expiry, and of FLUSHDB. A second connection asks for that, and
the first one gets it. Both are asked for answers, as either may be lost alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from ..errors import CacheClosedError
from .protocol import ALL_THAT_BEGIN
from .redis_commands import Address, pack
from .redis_links import Links
from .redis_scripts import CHANNEL

__all__ = ["RedisListener"]

MOST_MESSAGES: Final = 1000
"""So many are read at once, then obeyed: while others come without a pause, too."""

READ_SECONDS: Final = 0.25
"""How long the rest of a message may take: nothing else is heard meanwhile."""


TRACKED: Final = b"__redis__:invalidate"
"""Where the server tells of what it tracks."""


class RedisListener:
    """Subscriptions to one server, or to each primary of a cluster: a change is published where its key lies.

    `prefixes`: changes of keys that begin with one of these are heard, by any program.
    """

    def __init__(self, links: Links, addresses: Sequence[Address | None], prefixes: Sequence[str] = ()):
        self._links = links
        self._connections: list[Any] = []  # those that get messages
        self._trackers: list[Any] = []
        self._heard: dict[int, float] = {}
        began = time.monotonic()
        try:
            for address in addresses:
                self._open(self._connections, address, began)
                if prefixes:
                    self._track(address, prefixes, began)
                else:
                    self._subscribe(CHANNEL)
        except BaseException:
            self.close()
            raise

    def _open(self, among: list[Any], address: Address | None, began: float) -> None:
        connection = self._links.connect(address, READ_SECONDS)
        among.append(connection)
        self._heard[id(connection)] = began

    def _ask(self, connection: Any, *words: bytes) -> Any:
        connection.send_packed_command((pack(words),), check_health=False)
        return connection.read_response(disable_decoding=True)

    def _subscribe(self, *channels: bytes) -> None:
        """By one command: after its first answer there may be messages among the answers to others."""
        connection = self._connections[-1]
        answers = [self._ask(connection, b"SUBSCRIBE", *channels)]
        answers += [connection.read_response(disable_decoding=True) for _ in channels[1:]]
        if any(answer[0] != b"subscribe" for answer in answers):
            raise ConnectionError("the server has not answered SUBSCRIBE")

    def _track(self, address: Address | None, prefixes: Sequence[str], began: float) -> None:
        client = self._ask(self._connections[-1], b"CLIENT", b"ID")
        self._subscribe(CHANNEL, TRACKED)
        self._open(self._trackers, address, began)
        words = [word for prefix in prefixes for word in (b"PREFIX", prefix.encode())]
        self._ask(self._trackers[-1], *(b"CLIENT", b"TRACKING", b"ON", b"REDIRECT", b"%d" % client, b"BCAST"), *words)

    @property
    def heard(self) -> float:
        """When the last PING was sent that all have answered."""
        return min(self._heard.values())

    def ping(self) -> None:
        """Ask for an answer. CacheClosedError: the backend was closed, and this is to end."""
        if self._links.is_closed:
            raise CacheClosedError("RedisBackend is closed: make another one")
        words = b"PING", b"%r" % time.monotonic()
        for connection in (*self._connections, *self._trackers):
            connection.send_packed_command((pack(words),), check_health=False)

    def receive(self, timeout: float) -> list[str]:
        """Return the names that were changed; wait up to `timeout` seconds for some."""
        names: list[str] = []
        ends = time.monotonic() + timeout
        for connection in (*self._trackers, *self._connections):
            left = timeout / len(self._connections) if connection in self._connections else 0.0
            for _ in range(MOST_MESSAGES):
                if not connection.can_read(timeout=left):
                    break
                names += self._read(connection)
                left = 0.0
                if time.monotonic() > ends:  # of a slow network, each message may take its time
                    break
        return names

    def _read(self, connection: Any) -> list[str]:
        answer: Any = connection.read_response(disable_decoding=True)
        if isinstance(answer, bytes):  # of one that tracks
            answer = [b"pong", answer]
        kind, *rest = answer
        if kind == b"pong":
            self._heard[id(connection)] = float(rest[0])
        if kind != b"message":
            return []
        if rest[0] != TRACKED:
            return rest[1].decode().split("\n")  # type: ignore[no-any-return]
        if rest[1] is None:  # FLUSHDB, FLUSHALL
            return [ALL_THAT_BEGIN]
        return [name.decode(errors="replace") for name in rest[1]]

    def close(self) -> None:
        for connection in (*self._connections, *self._trackers):
            connection.disconnect()
