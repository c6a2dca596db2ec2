"""Parser: how the connections for threads read answers. redis-py's own one takes longer for an MGET than the server.

It does what our connections need: protocol 2, and answers as bytes. A connection of redis-py takes it as its
`parser_class`. Where hiredis is installed, redis-py reads with that, which is faster still.
"""

from __future__ import annotations

import select
from typing import Any, Final

__all__ = ["Parser"]

LEAST_BYTES: Final = 1 << 16
MOST_BYTES: Final = 1 << 20
"""So many are asked for at once: more than the least where they are known to come."""

END: Final = b"\r\n"
BULK: Final = ord("$")


class Parser:
    """Reads answers from a socket. What has come, and was not read yet, is `_data` from `_at` on."""

    def __init__(self, redis: Any, socket_read_size: int) -> None:
        self._errors = redis.exceptions
        self._nothing_yet = TimeoutError, BlockingIOError, redis.connection.ssl.SSLWantReadError
        self._parse_error = redis.connection.DefaultParser.parse_error
        self._sock: Any = None
        self._poll: Any = None

    def on_connect(self, connection: Any, **_: Any) -> None:
        self._data, self._at = b"", 0
        self._sock = connection._sock
        self._timeout = connection.socket_timeout
        if hasattr(select, "poll"):  # Windows has none
            self._poll = select.poll()
            self._poll.register(self._sock, select.POLLIN)

    def on_disconnect(self) -> None:
        self._sock = self._poll = None

    def can_read(self, timeout: float) -> bool:
        """Say whether anything is to be read; wait for that up to `timeout` seconds. Raise if there is no more."""
        if self._at < len(self._data):
            return True
        has_decrypted = hasattr(self._sock, "pending") and self._sock.pending()
        if self._poll is not None and not has_decrypted and not self._poll.poll(timeout * 1000):
            return False
        self._sock.settimeout(timeout)
        try:
            self._receive(1)
        except self._nothing_yet:
            return False
        finally:
            self._sock.settimeout(self._timeout)
        return True

    def read_response(self, disable_decoding: bool = True, **_: Any) -> Any:
        """Return one answer: bytes, a number, a list, None, or an error. ValueError: it is none."""
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"$" or kind == b"*":
            if rest == b"-1":
                return None
            read = self._bytes if kind == b"$" else self._items
            return read(_length(rest))
        if kind == b":":
            return int(rest)
        if kind == b"+":
            return rest
        if kind == b"-":
            return self._error(rest)
        raise ValueError("unknown kind of answer")

    def _error(self, text: bytes) -> Exception:
        error: Exception = self._parse_error(text.decode("utf-8", errors="replace"))
        if isinstance(error, self._errors.ConnectionError):
            raise error
        return error

    def _items(self, count: int) -> list[Any]:
        """Return so many answers; those that are bytes, and have come, without a call for each."""
        items: list[Any] = []
        data, at = self._data, self._at
        for _ in range(count):
            head = data.find(END, at)
            length = int(data[at + 1 : head]) if head > 0 and data[at] == BULK else -1
            end = head + 2 + length
            if length >= 0 and end + 2 <= len(data):
                items.append(data[head + 2 : end])
                at = end + 2
            else:
                self._at = at
                items.append(self.read_response())
                data, at = self._data, self._at
        self._at = at
        return items

    def _line(self) -> bytes:
        while (end := self._data.find(END, self._at)) < 0:
            self._receive(1)
        line = self._data[self._at : end]
        self._at = end + 2
        return line

    def _bytes(self, length: int) -> bytes:
        if (missing := self._at + length + 2 - len(self._data)) > 0:
            self._receive(missing)
        begin, self._at = self._at, self._at + length + 2
        return self._data[begin : begin + length]

    def _receive(self, missing: int) -> None:
        """Read from the socket until so many bytes more are there."""
        parts = [self._data[self._at :]]
        while missing > 0:
            part = self._sock.recv(min(max(missing, LEAST_BYTES), MOST_BYTES))
            if not part:
                raise self._errors.ConnectionError("the server has closed the connection")
            parts.append(part)
            missing -= len(part)
        self._data, self._at = b"".join(parts), 0


def _length(digits: bytes) -> int:
    length = int(digits)
    if length < 0:
        raise ValueError("a length is negative")
    return length
