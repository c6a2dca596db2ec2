"""What the process holds: memory, threads, open files. Read from the system, so that looking changes nothing."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass

__all__ = ["Vitals", "memory", "vitals"]

_MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Vitals:
    """`memory` in megabytes. None: this system does not say."""

    memory: float | None
    threads: int
    files: int | None


def vitals() -> Vitals:
    """Look at this process."""
    return Vitals(memory(), threading.active_count(), _open_files())


def memory() -> float | None:
    """Return the megabytes of this process that are in memory; None where there is no /proc."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            pages = int(statm.read().split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / _MEGABYTE


def _open_files() -> int | None:
    try:
        return len(os.listdir("/proc/self/fd")) - 1  # without the one that lists them
    except OSError:
        return None
