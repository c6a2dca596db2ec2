"""What is stored: a head of 56 bytes that says what the payload is good for, and the payload.

A value is accepted only under the key that it was stored for, under the namespace's version of the moment at which its
fill began, whole, and from the same serializer. Anything else is a miss, whatever it is. The head, without what depends
on the payload, is what a signature is bound to.
"""

from __future__ import annotations

import math
import time
from hashlib import blake2b
from struct import Struct
from typing import Any, Final
from zlib import crc32

from .._core.entry import Empty
from ..errors import SerializationError

__all__ = ["VERSION_BYTES", "Bare", "Envelope"]

VERSION_BYTES: Final = 8

_MAGIC: Final = b"\xc1\xa1"
"""The first byte is none of a JSON text, of UTF-8, or of MessagePack."""

_BOUND: Final = Struct(">2s2xI8s16sd")
"""Magic, serializer, version, digest of the key, and when a signed value ends, in seconds since the epoch."""

_SUM: Final = Struct(">II8x")
"""Length of the payload, and a checksum of all; what follows is for tags and stale times."""

HEAD: Final = _BOUND.size + _SUM.size
_BOUND_SIZE: Final = _BOUND.size
_read_head: Final = Struct(">4xI8x16sdII8x").unpack_from


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
        bound = _BOUND.pack(_MAGIC, self._kind, version, _digest(name), ends)
        payload: bytes = self.serializer.dumps(value, bound)
        return bound + _SUM.pack(len(payload), crc32(payload, crc32(bound))) + payload

    def open(self, raw: bytes, name: str, version: bytes | None) -> Any:
        """Return the value; Empty for one that is not valid any more. Raise SerializationError for what is none."""
        if version is None or raw[8:16] != version:  # as `is_old` says; here each call counts
            return Empty
        try:
            kind, digest, ends, length, checksum = _read_head(raw)
        except Exception as error:
            raise SerializationError("what is stored has no whole head") from error
        bound, payload = raw[:_BOUND_SIZE], raw[HEAD:]
        if digest != _digest(name):
            raise SerializationError("what is stored belongs to another key")
        if kind != self._kind:
            raise SerializationError("what is stored is of another serializer")
        if length != len(payload) or checksum != crc32(payload, crc32(bound)):
            raise SerializationError("what is stored is cut, or was changed")
        if self.is_signed and ends < time.time():
            return Empty
        return self.serializer.loads(payload, bound)

    def is_old(self, head: bytes, version: bytes | None) -> bool:
        """Say whether this was stored under another version than the one that stands, so that a `clear` removed it."""
        return version is None or head[8:16] != version

    def is_stored(self, head: bytes | None, version: bytes | None) -> bool:
        """Say whether this is the beginning of a value that stands."""
        return head is not None and head[:2] == _MAGIC and not self.is_old(head, version)


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


def _digest(name: str) -> bytes:
    return blake2b(name.encode(), digest_size=16).digest()
