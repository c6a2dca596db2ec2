"""Deferred reference counts: what lets hits scale on free-threaded builds of 3.14 and later.

There every shared object that a hit touches costs two contended atomic operations, unless its count is deferred. The
few long-lived objects of a cache (the cache, its dict) get that; see `PyUnstable_Object_EnableDeferredRefcount` in the
C API. Such an object is freed by the garbage collector only, so never an entry, a value, or the cache of an instance.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

__all__ = ["defer", "is_free_threaded"]


def is_free_threaded() -> bool:
    """Say whether this interpreter runs without a GIL now."""
    return not getattr(sys, "_is_gil_enabled", lambda: True)()


def _look_up() -> Callable[[object], object] | None:
    if not is_free_threaded():
        return None
    try:
        import ctypes

        enable = ctypes.pythonapi.PyUnstable_Object_EnableDeferredRefcount
    except (ImportError, AttributeError):
        return None
    enable.argtypes, enable.restype = [ctypes.py_object], ctypes.c_int
    return enable


_enable = _look_up()


def defer(*objects: object) -> None:
    """Defer the reference counts of `objects` where this interpreter can; do nothing elsewhere."""
    if _enable is not None:
        for each in objects:
            _enable(each)
