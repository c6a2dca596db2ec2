"""What a shared cache counts in this process."""

from __future__ import annotations

from typing import Final

from cereggii import AtomicInt64

from .._core.stats import InnerCounter

__all__ = ["SharedCounters"]

_NAMES: Final = (
    "hits",
    "misses",
    "local_hits",
    "fills",
    "failures",
    "refused_stores",
    "rejected",
    "backend_errors",
    "evictions",
)


class SharedCounters:
    """Atomic integers, beside the counters of the flights. With an `outer`, they count for a part of a cache too."""

    __slots__ = _NAMES
    hits: AtomicInt64
    misses: AtomicInt64
    local_hits: AtomicInt64
    fills: AtomicInt64
    failures: AtomicInt64
    refused_stores: AtomicInt64
    rejected: AtomicInt64
    backend_errors: AtomicInt64
    evictions: AtomicInt64

    def __init__(self, outer: SharedCounters | None = None) -> None:
        for name in _NAMES:
            setattr(self, name, AtomicInt64(0) if outer is None else InnerCounter(getattr(outer, name)))

    def reset(self) -> None:
        """Start at 0 again."""
        for name in _NAMES:
            getattr(self, name).set(0)

    def read(self) -> dict[str, int]:
        return {name: getattr(self, name).get() for name in _NAMES}
