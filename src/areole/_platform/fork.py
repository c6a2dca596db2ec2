"""What the child of a fork does before anything else: one registry for the library, in one order.

The child has one thread, the one that forked. So, in this order, each step resting on those before it:

    "participants"   fills of other threads are known to have no leader here
    "locks"          locks that other threads held are free, and what they were in the middle of is repaired
    "threads"        the library's own threads are forgotten, and started again if they are needed: they take locks

The steps are callbacks of their own, so that an exception in one of them does not keep the others from running.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Literal

__all__ = ["after_fork_in_child", "around_fork", "epoch"]

epoch = 1
"""Differs in each child from what it was in its parent; never 0."""

_callbacks: Final[dict[str, list[Callable[[], Any]]]] = {"participants": [], "locks": [], "threads": []}


def after_fork_in_child(step: Literal["participants", "locks", "threads"], callback: Callable[[], Any]) -> None:
    """Have `callback` called in each child of a fork, in this step."""
    _callbacks[step].append(callback)


def around_fork(before: Callable[[], Any], after: Callable[[], Any]) -> None:
    """Have `before` called before each fork, and `after` when it is done: in the parent, and in the child."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=before, after_in_parent=after, after_in_child=after)


def _begin_epoch() -> None:
    global epoch
    epoch += 1


def _run(step: str) -> None:
    for callback in _callbacks[step]:
        callback()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_epoch)
    for _step in _callbacks:
        os.register_at_fork(after_in_child=partial(_run, _step))
