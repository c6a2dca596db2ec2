"""What a shared cache counts in this process."""

from __future__ import annotations

from typing import Final

from cereggii import AtomicInt64

__all__ = ["SharedCounters"]

_NAMES: Final = ("hits", "misses", "refused_stores", "rejected", "backend_errors", "evictions")


class SharedCounters:
    """Atomic integers, beside the counters of the flights."""

    __slots__ = _NAMES
    hits: AtomicInt64
    misses: AtomicInt64
    refused_stores: AtomicInt64
    rejected: AtomicInt64
    backend_errors: AtomicInt64
    evictions: AtomicInt64

    def __init__(self) -> None:
        for name in _NAMES:
            setattr(self, name, AtomicInt64(0))

    def read(self) -> dict[str, int]:
        return {name: getattr(self, name).get() for name in _NAMES}
