"""What is stored: a head of 40 bytes that says what the payload is good for, the key, the tags, and the payload.

A value is accepted only under the key that it was stored for, under the namespace's version of the moment at which its
fill began, whole, and from the same serializer. Anything else is a miss, whatever it is. The head, without what depends
on the payload, the key and the tags are what a signature is bound to.

Each tag is there with its version of the moment at which the fill began: a byte with the tag's length, the tag, and the
version. Whether those versions stand is for the caller to see.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from struct import Struct
from typing import Any, Final, TypeAlias
from zlib import crc32

from .._core.entry import Empty
from ..errors import SerializationError
from ..serializers.plain import PlainSerializer

__all__ = ["EXTRAS", "MOST_TAG_BYTES", "NO_EXTRAS", "NO_TAGS", "TAGS", "VERSION_BYTES", "Bare", "Envelope", "Tags"]

Tags: TypeAlias = Sequence[tuple[str, bytes]]
"""Tags, each with a version."""

VERSION_BYTES: Final = 8

_MAGIC: Final = b"\xc1\xa1"
"""Its first byte is none of a JSON text, of UTF-8, or of MessagePack."""

_SUM: Final = Struct(">II")
"""Length of the payload, and a checksum of all that follows this."""

_BOUND: Final = Struct(">2sHI8sdfH2x")
"""Magic, length of the key, serializer, version, when a signed value ends, in seconds since the epoch, for how many
seconds before the store's own deadline the value is stale, and length of the tags.

Two bytes are not used yet."""

_read_head: Final = Struct(">II2sHI8xd4xH2x").unpack_from
_read_sum: Final = _SUM.unpack_from
_read_stale: Final = Struct(">f").unpack_from
_KEY_AT, _STALE_AT = 10, 32
TAGS: Final = slice(36, 38)
NO_TAGS: Final = b"\0\0"
"""Is at TAGS in a value that was opened, if that has no tags."""
EXTRAS: Final = slice(32, 38)
NO_EXTRAS: Final = b"\0" * 6
"""Is at EXTRAS if it has neither tags nor a stale time."""
_SUM_SIZE: Final = _SUM.size
HEAD: Final = _SUM_SIZE + _BOUND.size

MOST_TAG_BYTES: Final = 3500
"""That the tags of a value take, with 9 more for each: so head, key and tags are in the first 4 KiB of it."""


class Envelope:
    """Packs and opens the values of one serializer."""

    __slots__ = ("_kind", "_loads", "_plain_heads", "is_signed", "serializer")

    def __init__(self, serializer: Any) -> None:
        self.serializer = serializer
        self.is_signed: bool = serializer.is_signed
        self._kind = crc32(serializer.name.encode())
        self._loads = serializer.decode if isinstance(serializer, PlainSerializer) else serializer.loads
        self._plain_heads: tuple[bytes, dict[int, bytes]] = b"", {}  # of a version, by the length of the key

    def pack(
        self, value: Any, name: str, version: bytes, seconds: float | None, tags: Tags = (), stale: float = 0.0
    ) -> bytes:
        """Return what is to be stored for `value`; raise SerializationError if it would not come back.

        It is fresh until `stale` seconds before the store's deadline, which is in `seconds`.
        """
        ends = math.inf if seconds is None or not self.is_signed else time.time() + seconds
        key = name.encode()
        tagged = _pack_tags(tags) if tags else b""
        bound = _BOUND.pack(_MAGIC, len(key), self._kind, version, ends, stale, len(tagged)) + key + tagged
        payload: bytes = self.serializer.dumps(value, bound)
        return _SUM.pack(len(payload), crc32(payload, crc32(bound))) + bound + payload

    def open_plain(self, raw: bytes, name: str, version: bytes | None) -> Any:
        """Return the value, if it has no signature, stale time or tags; else Empty, or raise: `open` says what that is.

        All that is before its payload is known then, but for the sum, and is compared at once.
        """
        key = name.encode()
        of_version, heads = self._plain_heads
        if of_version != version:
            self._plain_heads = _, heads = version or b"", {}
        bound = (heads.get(len(key)) or self._plain_head(heads, version, len(key))) + key
        payload = raw[_SUM_SIZE + len(bound) :]
        if raw.startswith(bound, _SUM_SIZE) and _read_sum(raw) == (len(payload), crc32(raw[_SUM_SIZE:])):
            return self._loads(payload)
        return Empty

    def _plain_head(self, heads: dict[int, bytes], version: bytes | None, length: int) -> bytes:
        if version is None or self.is_signed:
            return b"\0"  # no value begins with that
        return heads.setdefault(length, _BOUND.pack(_MAGIC, length, self._kind, version, math.inf, 0.0, 0))

    def open(self, raw: bytes, name: str, version: bytes | None) -> Any:
        """Return the value; Empty for one that is not valid any more. Raise SerializationError for what is none."""
        if version is None or raw[16:24] != version:  # as `is_old` says; here each call counts
            return Empty
        try:
            length, checksum, magic, key_length, kind, ends, tags_length = _read_head(raw)
        except Exception as error:
            raise SerializationError("what is stored has no whole head") from error
        begin = HEAD + key_length
        if raw[HEAD:begin] != name.encode() or magic != _MAGIC:
            raise SerializationError("what is stored belongs to another key")
        begin += tags_length
        if kind != self._kind:
            raise SerializationError("what is stored is of another serializer")
        if length != len(raw) - begin or checksum != crc32(raw[_SUM_SIZE:]):
            raise SerializationError("what is stored is cut, or was changed")
        if not self.is_signed:
            return self.serializer.loads(raw[begin:])
        if ends < time.time():
            return Empty
        return self.serializer.loads(raw[begin:], raw[_SUM_SIZE:begin])

    def open_again(self, raw: bytes) -> Any:
        """Return the value of what this process has opened before, or packed itself: nothing is checked again."""
        begin = HEAD + int.from_bytes(raw[_KEY_AT : _KEY_AT + 2]) + int.from_bytes(raw[TAGS])
        if self.is_signed:
            return self.serializer.loads(raw[begin:], raw[_SUM_SIZE:begin])
        return self._loads(raw[begin:])

    def tags_of(self, raw: bytes) -> Tags:
        """Return the tags of a value, or of its beginning, with their versions; of what is none, anything."""
        at = HEAD + int.from_bytes(raw[_KEY_AT : _KEY_AT + 2])
        end = at + int.from_bytes(raw[TAGS])
        tags = []
        while at < end:
            begin, after = at + 1, at + 1 + int.from_bytes(raw[at : at + 1])
            at = after + VERSION_BYTES
            tags.append((raw[begin:after].decode(errors="replace"), raw[after:at]))
        return tags

    def stale_of(self, raw: bytes) -> float:
        """Return for how many seconds before the store's deadline a value that was opened is stale."""
        return _read_stale(raw, _STALE_AT)[0]  # type: ignore[no-any-return]

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

    def pack(
        self, value: Any, name: str, version: bytes, seconds: float | None, tags: Tags = (), stale: float = 0.0
    ) -> bytes:
        payload: bytes = self.serializer.dumps(value)
        return payload

    def open(self, raw: bytes, name: str, version: bytes | None) -> Any:
        return self.serializer.loads(raw)

    open_plain = open

    def open_again(self, raw: bytes) -> Any:
        return self.serializer.loads(raw)

    def tags_of(self, raw: bytes) -> Tags:
        return ()

    def stale_of(self, raw: bytes) -> float:
        """Return 0: nothing is stored beside the payload."""
        return 0.0

    def is_old(self, head: bytes, version: bytes | None) -> bool:
        return False

    def is_stored(self, head: bytes | None, version: bytes | None) -> bool:
        return head is not None


def _pack_tags(tags: Tags) -> bytes:
    packed = b"".join([bytes([len(name := tag.encode())]) + name + version for tag, version in tags])
    if len(packed) > MOST_TAG_BYTES:
        raise ValueError(
            f"the {len(tags)} tags of a value take {len(packed):,} bytes, of which {MOST_TAG_BYTES:,} are room: "
            "take fewer tags, or shorter ones"
        )
    return packed
