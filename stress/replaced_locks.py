"""Locks in the place of those that the library has and makes, for tests that look at each acquisition."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

__all__ = ["replaced_locks"]

_MAKERS = {type(threading.Lock()): threading.Lock, type(threading.RLock()): threading.RLock}
"""By kind of lock: a lock's own type cannot be called to make another before Python 3.13."""


@contextmanager
def replaced_locks(wrap: Callable[[Any], Any]) -> Iterator[None]:
    """Give areole's modules locks that `wrap` makes of ordinary ones, for those that they have and those to come."""
    made = {"Lock": lambda: wrap(threading.Lock()), "RLock": lambda: wrap(threading.RLock())}
    instead = SimpleNamespace(**vars(threading) | made)
    with ExitStack() as stack:
        for module in [module for name, module in sys.modules.items() if name.partition(".")[0] == "areole"]:
            for owner, name, value in _to_patch(module, instead, wrap):
                stack.enter_context(mock.patch.object(owner, name, value))
        yield


def _to_patch(module: ModuleType, instead: Any, wrap: Callable[[Any], Any]) -> Iterator[tuple[Any, str, Any]]:
    for name, value in list(vars(module).items()):  # compared by identity: not all of them can be hashed or compared
        if value is threading:
            yield module, name, instead
        elif type(value) in _MAKERS:
            yield module, name, wrap(_MAKERS[type(value)]())
        elif value is threading.Lock or value is threading.RLock:
            yield module, name, instead.Lock if value is threading.Lock else instead.RLock
        elif type(value).__module__.startswith("areole.") and type(getattr(value, "lock", None)) in _MAKERS:
            yield value, "lock", wrap(_MAKERS[type(value.lock)]())
