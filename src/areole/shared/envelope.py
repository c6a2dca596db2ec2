"""What is stored: a head of 40 bytes that says what the payload is good for, the key, and the payload.

A value is accepted only under the key that it was stored for, under the namespace's version of the moment at which its
fill began, whole, and from the same serializer. Anything else is a miss, whatever it is. The head, without what depends
on the payload, and the key are what a signature is bound to.
"""

from __future__ import annotations

import math
import time
from struct import Struct
from typing import Any, Final
from zlib import crc32

from .._core.entry import Empty
from ..errors import SerializationError

__all__ = ["VERSION_BYTES", "Bare", "Envelope"]

VERSION_BYTES: Final = 8

_MAGIC: Final = b"\xc1\xa1"
"""Its first byte is none of a JSON text, of UTF-8, or of MessagePack."""

_SUM: Final = Struct(">II")
"""Length of the payload, and a checksum of all that follows this."""

_BOUND: Final = Struct(">2sHI8sd8x")
"""Magic, length of the key, serializer, version, and when a signed value ends, in seconds since the epoch.

What follows is for tags and stale times."""

_read_head: Final = Struct(">II2sHI8xd8x").unpack_from
_SUM_SIZE: Final = _SUM.size
HEAD: Final = _SUM_SIZE + _BOUND.size


class Envelope:
    """Packs and opens the values of one serializer."""

    __slots__ = ("_kind", "is_signed", "serializer")

    def __init__(self, serializer: Any) -> None:
        self.serializer = serializer
        self.is_signed: bool = serializer.is_signed
        self._kind = crc32(serializer.name.encode())

    def pack(self, value: Any, name: str, version: bytes, seconds: float | None) -> bytes:
        """Return what is to be stored for `value`; raise SerializationError if it would not come back."""
        ends = math.inf if seconds is None or not self.is_signed else time.time() + seconds
        key = name.encode()
        bound = _BOUND.pack(_MAGIC, len(key), self._kind, version, ends) + key
        payload: bytes = self.serializer.dumps(value, bound)
        return _SUM.pack(len(payload), crc32(payload, crc32(bound))) + bound + payload

    def open(self, raw: bytes, name: str, version: bytes | None) -> Any:
        """Return the value; Empty for one that is not valid any more. Raise SerializationError for what is none."""
        if version is None or raw[16:24] != version:  # as `is_old` says; here each call counts
            return Empty
        try:
            length, checksum, magic, key_length, kind, ends = _read_head(raw)
        except Exception as error:
            raise SerializationError("what is stored has no whole head") from error
        begin = HEAD + key_length
        if raw[HEAD:begin] != name.encode() or magic != _MAGIC:
            raise SerializationError("what is stored belongs to another key")
        if kind != self._kind:
            raise SerializationError("what is stored is of another serializer")
        if length != len(raw) - begin or checksum != crc32(raw[_SUM_SIZE:]):
            raise SerializationError("what is stored is cut, or was changed")
        if self.is_signed and ends < time.time():
            return Empty
        return self.serializer.loads(raw[begin:], raw[_SUM_SIZE:begin])

    def is_old(self, head: bytes, version: bytes | None) -> bool:
        """Say whether this was stored under another version than the one that stands, so that a `clear` removed it."""
        return version is None or head[16:24] != version

    def is_stored(self, head: bytes | None, version: bytes | None) -> bool:
        """Say whether this is the beginning of a value that stands."""
        return head is not None and head[8:10] == _MAGIC and not self.is_old(head, version)


class Bare:
    """Stores payloads alone, for others to read: nothing is checked, and `clear` has to remove each key."""

    __slots__ = ("serializer",)
    is_signed = False

    def __init__(self, serializer: Any) -> None:
        self.serializer = serializer

    def pack(self, value: Any, name: str, version: bytes, seconds: float | None) -> bytes:
        payload: bytes = self.serializer.dumps(value)
        return payload

    def open(self, raw: bytes, name: str, version: bytes | None) -> Any:
        return self.serializer.loads(raw)

    def is_old(self, head: bytes, version: bytes | None) -> bool:
        return False

    def is_stored(self, head: bytes | None, version: bytes | None) -> bool:
        return head is not None
