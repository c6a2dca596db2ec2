"""A command that remembers between its runs: it counts the words of files, and reads only those that have changed.

    python -m examples.count_words README.md docs/*.md
    python -m examples.count_words --forget README.md docs/*.md

The counts are in a SQLite file, words.db in the folder for temporary files, which runs at the same time share too.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from areole import SharedCache, cached, sources


class Counter:
    """Counts words, and keeps what it has counted in a store that other runs see."""

    def __init__(self, store: str) -> None:
        self.cache = SharedCache[int](store, namespace="words", ttl=30 * 24 * 3600, on_error="miss")
        self.count = cached(self.cache, name="count", version=1, wait=10)(count_words)

    def words(self, path: Path) -> int:
        """Return the count. When the file is changed, its time and size are others, so that it is another key."""
        found = path.stat()
        return self.count(str(path.resolve()), found.st_mtime_ns, found.st_size)


def count_words(path: str, changed: int, size: int) -> int:
    return len(Path(path).read_text(encoding="utf-8", errors="replace").split())


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="count_words", description="Count the words of files.")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--store", default=f"sqlite:///{tempfile.gettempdir()}/words.db")
    parser.add_argument("--forget", action="store_true", help="count again")
    options = parser.parse_args(arguments)
    counter = Counter(options.store)
    with counter.cache, sources() as seen:
        if options.forget:
            counter.cache.clear()
        total = 0
        for path in options.files:
            total += (words := counter.words(path))
            print(f"{words:8,} {path}")
    counted = sum(each.source == "filled" for each in seen)
    print(f"{total:8,} in all; {counted} of {len(options.files)} files were read, the others were known")


if __name__ == "__main__":
    main()
