"""Where the values come from that one call gets: noted on a miss, if it asks. A hit in this process notes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from ..typing import Source, Sourced

__all__ = ["note_source", "note_sources", "sources"]

_seen: Final[ContextVar[list[Sourced] | None]] = ContextVar("areole.sources", default=None)


@contextmanager
def sources() -> Iterator[list[Sourced]]:
    """Note where the values come from that this thread or task gets within, of shared caches and of those before them.

    What is noted is (cache, key, source): the cache's name, the key, and "shared" for a value that was found in the
    store, "filled" for one that a fill made, here or in the caller that was waited for, or "stale". A value that this
    process had kept is not noted, as its lookup costs nothing more: so an empty list says "local". Fills inside of
    fills are noted too, and what a task or a thread does that was started with this context. In a `sources` inside of
    another one, the inner one notes alone.
    """
    seen: list[Sourced] = []
    token = _seen.set(seen)
    try:
        yield seen
    finally:
        _seen.reset(token)


def note_source(cache: str, key: Any, source: Source) -> None:
    """Note where a value came from, if this context wants to know."""
    seen = _seen.get()
    if seen is not None:
        seen.append(Sourced(cache, key, source))


def note_sources(cache: str, keys: Iterable[Any], source: Source) -> None:
    """Do that for several keys; they are not looked at if nobody wants to know."""
    seen = _seen.get()
    if seen is not None:
        seen += [Sourced(cache, key, source) for key in keys]
