"""Bytes as they are."""

from __future__ import annotations

__all__ = ["RawSerializer"]


class RawSerializer:
    """Passes bytes through as they are.

    Raises:
        TypeError: from `dumps`, for a value that is not bytes.
    """

    __slots__ = ()
    name = "noop"
    runs_code = False
    is_signed = False

    def dumps(self, value: bytes, context: bytes = b"") -> bytes:
        """Return `value`, which must be bytes."""
        if type(value) is not bytes:
            kind = type(value).__name__
            raise TypeError(f'RawSerializer takes bytes, not a value of type {kind}: name a serializer, such as "json"')
        return value

    def loads(self, data: bytes, context: bytes = b"") -> bytes:
        """Return `data`."""
        return bytes(data)

    def __repr__(self) -> str:
        return "RawSerializer()"
