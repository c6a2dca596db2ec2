"""The indexes there are: whose locks a thread may hold, and a fork may leave held."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from .._platform.weak import WeakTable

__all__ = ["holds_a_lock", "others_that_hold", "register"]

_indexes: WeakTable[None] = WeakTable()  # those whose lock a fork may leave held


others_that_hold: Final[list[Callable[[], bool]]] = []
"""Functions that say whether this thread holds a lock of the library's that is no index's, and that fills may need."""


def holds_a_lock() -> bool:
    """Say whether this thread is inside a step of any index: a method of a key, or a finalizer, of its asks.

    Whoever waits there for a fill may wait for ever, whatever cache that is of:

        1. A's step on X calls a method of a key, which asks Y for what B is filling
        2. B's fill asks X, and waits for the lock that A holds    -- and A waits for B.
    """
    return any(index.lock._is_owned() for index in _indexes.objects()) or any(holds() for holds in others_that_hold)


def register(index: Any) -> None:
    """Have the lock of `index` freed in the child of a fork."""
    _indexes.add_if_absent(index, None)


def _free_locks_in_child() -> None:
    """Let go of the locks that threads of the parent held at the fork: those threads do not exist here."""
    for index in _indexes.objects():
        if not index.lock._is_owned():
            index.lock._at_fork_reinit()
            index.start_anew_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_locks_in_child)
