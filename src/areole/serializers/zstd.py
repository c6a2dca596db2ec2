"""zstd's compression: by `compression.zstd` of Python 3.14, else by the package zstandard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .compression import MAX_SIZE, MIN_SIZE, BaseCompression

__all__ = ["ZstdCompression"]


class ZstdCompression(BaseCompression):
    """Compresses by zstd: better than zlib and faster. Before Python 3.14 that needs the package zstandard.

    Args:
        level: 1 (fast) to 22 (small); negative ones are faster still.
        threads: how many further threads compress one large value; 0: the caller's own does.
        min_size, max_size: as for `ZlibCompression`.

    Raises:
        ImportError: if there is neither.
    """

    __slots__ = ("_engine", "threads")
    name = "zstd"

    def __init__(self, level: int = 3, threads: int = 0, min_size: int = MIN_SIZE, max_size: int = MAX_SIZE) -> None:
        super().__init__(level, min_size, max_size, (-131_072, 22))
        self._check("threads", threads, 0, 256)
        self.threads = threads
        self._engine = _engine(level, threads)

    def compress(self, data: bytes) -> bytes:
        """Return `data` in a frame of zstd, with its size and a checksum."""
        return self._engine.compress(data)

    def decompress(self, data: bytes) -> bytes:
        """Return what was compressed. Raise SerializationError if it was cut, changed, or is larger than `max_size`."""
        try:
            size = self._engine.size_of(data)
            if size is not None and size > self.max_size:
                raise self._too_large()
            found = self._engine.decompress(data, size) if size else None  # a frame of ours says its size
        except self._engine.error as error:
            raise self._damaged(data) from error
        if found is None or len(found) != size:
            raise self._damaged(data)
        return found


class _Engine(NamedTuple):
    error: type[Exception]
    compress: Callable[[bytes], bytes]
    size_of: Callable[[bytes], int | None]
    decompress: Callable[[bytes, int], bytes | None]


def _engine(level: int, threads: int) -> _Engine:
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        pass
    else:
        return _standard_engine(zstd, level, threads)
    try:
        import zstandard
    except ImportError as error:
        text = "ZstdCompression needs Python 3.14, or the package zstandard: pip install 'areole[zstd]'"
        raise ImportError(text) from error
    return _package_engine(zstandard, level, threads)


def _standard_engine(zstd: Any, level: int, threads: int) -> _Engine:
    """Use `compression.zstd`. What has a state is made for each call: threads must not share it."""
    names = zstd.CompressionParameter
    options = {names.compression_level: level, names.checksum_flag: 1} | (
        {names.nb_workers: threads} if threads else {}
    )

    def compress(data: bytes) -> bytes:
        found: bytes = zstd.ZstdCompressor(options=options).compress(data, zstd.ZstdCompressor.FLUSH_FRAME)
        return found

    def size_of(data: bytes) -> int | None:
        size: int | None = zstd.get_frame_info(data).decompressed_size
        return size

    def decompress(data: bytes, size: int) -> bytes | None:
        stream = zstd.ZstdDecompressor()
        found: bytes = stream.decompress(data, size + 1)
        return found if stream.eof and not stream.unused_data else None

    return _Engine(zstd.ZstdError, compress, size_of, decompress)


def _package_engine(zstandard: Any, level: int, threads: int) -> _Engine:
    """Use the package zstandard. What has a state is made for each call: threads must not share it."""

    def compress(data: bytes) -> bytes:
        found: bytes = zstandard.ZstdCompressor(level=level, threads=threads, write_checksum=True).compress(data)
        return found

    def size_of(data: bytes) -> int | None:
        size: int = zstandard.frame_content_size(data)
        return None if size < 0 else size

    def decompress(data: bytes, size: int) -> bytes | None:
        found: bytes = zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
        return found

    return _Engine(zstandard.ZstdError, compress, size_of, decompress)
