"""A serializer whose bytes are compressed."""

from __future__ import annotations

from typing import Any, Final

from ..errors import SerializationError
from .foreign import from_object
from .protocol import Compression

__all__ = ["Chain"]

_AS_IT_IS: Final = b"\x00"
_COMPRESSED: Final = b"\x01"


class Chain:
    """Serializes, then compresses what is larger than the `min_size` of the compression, if that makes it smaller.

    The first byte says whether the rest is compressed.

    Args:
        serializer: one of ours, or what `as_serializer` makes one of; names such as "json+zstd" are for
            `serializer_from_url`.
        compression: a `ZlibCompression` or `ZstdCompression`, or an object of your own like them.

    Raises:
        SerializationError: from `dumps` for more bytes than the compression's `max_size`; from `loads` for data that is
            cut, has something after its end, was changed, or would have more than `max_size` bytes.
    """

    __slots__ = ("compression", "is_signed", "name", "runs_code", "serializer")

    def __init__(self, serializer: Any, compression: Compression) -> None:
        if isinstance(compression, type) or not isinstance(compression, Compression):
            shown = compression.__name__ if isinstance(compression, type) else type(compression).__name__
            raise TypeError(f"Chain: compression must be a compression such as ZlibCompression(), not {shown}")
        self.serializer = from_object(serializer, "Chain: serializer")
        self.compression = compression
        self.name = f"{self.serializer.name}+{compression.name}"
        self.runs_code, self.is_signed = self.serializer.runs_code, self.serializer.is_signed

    def dumps(self, value: Any, context: bytes = b"") -> bytes:
        """Return the bytes of `value`, compressed if that pays."""
        data = self.serializer.dumps(value, context)
        if len(data) > self.compression.max_size:
            raise self._too_large(data)
        if len(data) > self.compression.min_size:
            smaller = self.compression.compress(data)
            if len(smaller) < len(data):
                return _COMPRESSED + smaller
        return _AS_IT_IS + data

    def loads(self, data: bytes, context: bytes = b"") -> Any:
        """Return the value of `data`."""
        kind, rest = data[:1], data[1:]
        if kind == _COMPRESSED:
            rest = self.compression.decompress(rest)
        elif kind != _AS_IT_IS:
            raise SerializationError(f"{self.name}: {len(data)} bytes were not written by a Chain")
        elif len(rest) > self.compression.max_size:
            raise self._too_large(rest)
        return self.serializer.loads(rest, context)

    def _too_large(self, data: bytes) -> SerializationError:
        limit = self.compression.max_size
        return SerializationError(f"{self.name}: the value has {len(data)} bytes, more than max_size={limit}")

    def __repr__(self) -> str:
        return f"Chain({self.serializer!r}, {self.compression!r})"
