"""What compressions have in common, and zlib's."""

from __future__ import annotations

import zlib
from typing import Final

from ..errors import SerializationError

__all__ = ["MAX_SIZE", "MIN_SIZE", "BaseCompression", "ZlibCompression"]

MIN_SIZE: Final = 1024
MAX_SIZE: Final = 64 * 1024 * 1024


class BaseCompression:
    """A level, and the bounds of what is compressed and of what comes back."""

    __slots__ = ("level", "max_size", "min_size")
    name = ""

    def __init__(self, level: int, min_size: int, max_size: int, levels: tuple[int, int]) -> None:
        self._check("level", level, *levels)
        self._check("min_size", min_size, 0, 2**62)
        self._check("max_size", max_size, 1, 2**62)
        self.level, self.min_size, self.max_size = level, min_size, max_size

    def _check(self, argument: str, value: int, lowest: int, highest: int) -> None:
        called = type(self).__name__
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{called}: {argument} must be an int, not {type(value).__name__}")
        if not lowest <= value <= highest:
            raise ValueError(f"{called}: {argument} must be {lowest} to {highest}, not {value}")

    def _too_large(self) -> SerializationError:
        return SerializationError(f"{self.name}: what was compressed has more than max_size={self.max_size} bytes")

    def _damaged(self, data: bytes) -> SerializationError:
        return SerializationError(f"{self.name}: {len(data)} bytes were cut or changed, or are of something else")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(level={self.level}, min_size={self.min_size}, max_size={self.max_size})"


class ZlibCompression(BaseCompression):
    """Compresses by zlib, which every Python has.

    Args:
        level: 1 (fast) to 9 (small), 0 (not at all), or -1: zlib's default.
        min_size: bytes; what is not larger is stored as it is.
        max_size: bytes; nothing larger is stored or comes back, so that what a stranger stores cannot fill the memory.
    """

    __slots__ = ()
    name = "zlib"

    def __init__(self, level: int = -1, min_size: int = MIN_SIZE, max_size: int = MAX_SIZE) -> None:
        super().__init__(level, min_size, max_size, (-1, 9))

    def compress(self, data: bytes) -> bytes:
        """Return `data` in zlib's format, which has a checksum."""
        return zlib.compress(data, self.level)

    def decompress(self, data: bytes) -> bytes:
        """Return what was compressed. Raise SerializationError if it was cut, changed, or is larger than `max_size`."""
        stream = zlib.decompressobj()
        try:
            found = stream.decompress(data, self.max_size + 1)
        except zlib.error as error:
            raise self._damaged(data) from error
        if len(found) > self.max_size:
            raise self._too_large()
        if not stream.eof or stream.unused_data:
            raise self._damaged(data)
        return found
