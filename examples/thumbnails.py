"""Thumbnails of pictures, made once per picture and size, and kept within a limit in bytes.

    python -m examples.thumbnails

A picture is a PPM, which is a few numbers and then three bytes per pixel, so no library is needed. In `shrink` stands
what your library for images does.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from areole import AtomicCache, RemovalCause

LIMIT = 100_000


def make_picture(path: Path, side: int, red: int) -> None:
    pixels = b"".join(bytes((red, x % 256, y % 256)) for y in range(side) for x in range(side))
    path.write_bytes(b"P6 %d %d 255\n" % (side, side) + pixels)


def shrink(picture: bytes, side: int) -> bytes:
    """Take the nearest pixel for each pixel of a square of `side` by `side`."""
    head, pixels = picture.split(b"\n", 1)
    width, height = (int(number) for number in head.split()[1:3])
    rows = (y * height // side * width for y in range(side))
    at = (3 * (row + x * width // side) for row in rows for x in range(side))
    return b"P6 %d %d 255\n" % (side, side) + b"".join(pixels[i : i + 3] for i in at)


class Thumbnails:
    """Thumbnails by (path, when it was changed, side): a picture that was changed has another key."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.made = 0
        self.evicted = 0
        self.cache = AtomicCache(
            self.make, max_bytes=limit, weigher=lambda key, thumbnail: len(thumbnail), on_removal=self.count_evicted
        )

    def get(self, path: Path, side: int) -> bytes:
        return self.cache[path, path.stat().st_mtime_ns, side]

    def make(self, key: tuple[Path, int, int]) -> bytes:
        path, _, side = key
        self.made += 1
        return shrink(path.read_bytes(), side)

    def count_evicted(self, key: object, thumbnail: bytes, cause: RemovalCause) -> None:
        self.evicted += cause is RemovalCause.EVICTED


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(4) as threads:
        pictures = [Path(folder) / f"{number}.ppm" for number in range(20)]
        for number, path in enumerate(pictures):
            make_picture(path, side=64, red=number)
        thumbnails = Thumbnails()
        for _ in range(3):
            list(threads.map(thumbnails.get, pictures[:3] * 4, [32] * 12))
        print(f"3 pictures, asked for 36 times by 4 threads: {thumbnails.made} made")
        list(threads.map(thumbnails.get, pictures * 4, [48] * 80))
        size = thumbnails.cache.size_in_bytes
        print(f"20 larger ones: {size:,} of {LIMIT:,} bytes are used, {thumbnails.evicted} were evicted")


if __name__ == "__main__":
    main()
