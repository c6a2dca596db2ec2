"""The accelerator: hits that are looked up in C, by `hit.c`, where that was compiled.

It is left out with the environment variable AREOLE_PURE set to anything but 0, and where it cannot be imported. All
that it does the Python code does too; see docs/accelerator.md.
"""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Sequence
from types import BuiltinFunctionType
from typing import TYPE_CHECKING, Any, Final

__all__ = ["View", "accelerate_get", "accelerate_subscript", "accelerated", "lookup_of", "make_front"]


def _import() -> Any:
    if os.environ.get("AREOLE_PURE", "0") not in ("", "0"):
        return None
    try:
        return importlib.import_module("._hit", __package__)
    except ImportError:
        return None


_hit = _import()
accelerated: Final[bool] = _hit is not None
"""Whether hits are looked up in C in this process."""
make_front: Final[Any] = getattr(_hit, "front", None)
"""Makes a function of two that are generated, and of a Lookup."""

if TYPE_CHECKING:

    class View:
        """What caches are made of: it has what `cache[key]` and `get` need."""

        def _attach(self, lookup: Any) -> None: ...

elif accelerated:
    View = _hit.View
else:

    class View:
        __slots__ = ()


_FREQ, _NEXT, _TIME = 1, 2, 3
"""What a policy notes at a hit: `Note` in hit.c."""


def lookup_of(state: Any, hits: Sequence[Any]) -> Any:
    """Return how the entries of `state` are looked up, where `hits` count the hits; None: not in C."""
    if _hit is None or type(state.entries) is not dict or state.idle is not None or len(hits) > 1:
        return None
    policy = getattr(state.index, "policy", None)
    note, ticks = (0, None) if policy is None else _note_of(policy.record_with)
    if note is None:
        return None
    return _hit.Lookup(
        state.entries,
        state.entry_type,
        _is_of_time(state.clock, "monotonic"),
        note,
        getattr(policy, "noted_in", None),
        ticks,
        hits[0].stepped if hits else None,
    )


def _note_of(record_with: Any) -> tuple[int | None, Any]:
    if record_with is None:
        return _FREQ, None
    if hasattr(record_with, "__next__"):
        return _NEXT, record_with
    return (_TIME if _is_of_time(record_with, "perf_counter_ns") else None), None


def _is_of_time(function: Any, name: str) -> bool:
    """Say whether `function` is that of `time`, and not what a test has put there in its place."""
    return isinstance(function, BuiltinFunctionType) and (function.__module__, function.__name__) == ("time", name)


def accelerate_get(cls: Any) -> None:
    """Have hits of `cls.get` looked up in C."""
    if _hit is not None:
        whole = cls.get
        cls.get = functools.update_wrapper(_hit.get_front(whole), whole)
        del cls.get.__wrapped__


def accelerate_subscript(cls: Any) -> None:
    """Have hits of `cache[key]` looked up in C; `_look_up` is what that was, `_miss(key, None)` what a miss does."""
    if _hit is not None:
        cls._look_up, cls.__getitem__ = cls.__getitem__, _hit.View.__getitem__
