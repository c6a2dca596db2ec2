"""Pickles and copies of instances leave out the results of memoized methods, which stand in their `__dict__`."""

from __future__ import annotations

import contextlib
import functools
import operator
from typing import Any

__all__ = ["LeftOut", "leave_results_out_of_copies"]


class LeftOut:
    """What copies leave out. Where a `__reduce_ex__` of the user's hands it out all the same, it is copied as None."""

    __slots__ = ()

    def __reduce__(self) -> Any:
        return type(None), ()


def leave_results_out_of_copies(cls: type) -> None:
    """Have pickles and copies of the instances of `cls` leave out their results, by a `__reduce_ex__` of its own.

    What a `__getstate__` or `__reduce__` of the user's hands out, state and arguments, is looked through too, one level
    deep. A `__copy__` of the user's that copies the `__dict__` copies results too, which the copy never uses.
    """
    if getattr(cls.__reduce_ex__, "leaves_results_out", False):
        return
    with contextlib.suppress(Exception):
        # A class that lets nothing be set, by whatever its metaclass raises, pickles results as None, under their name.
        cls.__reduce_ex__ = _ReduceWithoutResults(cls)  # type: ignore[method-assign, assignment]


class _ReduceWithoutResults:
    """A `__reduce_ex__` for a class: what the class did before, without results of memoized methods.

    Through an instance it is a routine of C, as `object.__reduce_ex__` is: it is not among the methods in Python.
    """

    leaves_results_out = True

    def __init__(self, cls: type) -> None:
        own = cls.__dict__.get("__reduce_ex__")
        self.own: Any = own.own if isinstance(own, _ReduceWithoutResults) else own  # another thread's, set meanwhile
        self.__doc__ = object.__reduce_ex__.__doc__
        self.__name__ = "__reduce_ex__"

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance).__call__

    def __call__(self, instance: Any, protocol: Any, /) -> Any:
        cls = type(instance)
        if self.own is not None:
            reduced = self.own.__get__(instance, cls)(protocol)
        else:
            # It may stand in other classes too, made from this one's `__dict__`. Of a class and a base the base counts.
            holders = [each for each in cls.__mro__ if each.__dict__.get("__reduce_ex__") is self]
            above: Any = super(holders[-1] if holders else cls.__mro__[-2], instance)
            reduced = above.__reduce_ex__(protocol)
        if type(reduced) is not tuple or len(reduced) < 2:
            return reduced
        return _without_results(reduced, cls, protocol)


def _without_results(reduced: tuple[Any, ...], cls: type, protocol: int) -> tuple[Any, ...]:
    """Take the results out of the arguments and the state in what a `__reduce_ex__` gave."""
    made_by, arguments, *rest = reduced
    if not rest:
        return made_by, _stripped(arguments)
    state = rest[0]
    if type(state) is tuple and len(state) == 2:  # (__dict__, slots)
        attributes = _stripped(state[0])
        stripped = (attributes or None, state[1]) if attributes is not state[0] else state
    else:
        stripped = _stripped(state)
    if not stripped and stripped is not state and _is_reduced_by_python(cls):  # as Python has it without attributes
        if protocol < 2:
            return made_by, _stripped(arguments)
        stripped = None if getattr(cls, "__getstate__", None) is _GETSTATE else stripped
    return made_by, _stripped(arguments), stripped, *rest[1:]


_GETSTATE = getattr(object, "__getstate__", None)


def _is_reduced_by_python(cls: type) -> bool:
    found = [vars(each)["__reduce_ex__"] for each in cls.__mro__[:-1] if "__reduce_ex__" in vars(each)]
    is_ours = all(isinstance(each, _ReduceWithoutResults) and each.own is None for each in found)
    return is_ours and cls.__reduce__ is object.__reduce__  # type: ignore[comparison-overlap]


def _stripped(state: Any, depth: int = 1) -> Any:
    """Return `state` without results, itself if there are none; looks into tuples, lists and dicts, `depth` levels."""
    if depth and (type(state) is tuple or type(state) is list):
        parts = [_stripped(each, depth - 1) for each in state]
        return state if all(map(operator.is_, parts, state)) else type(state)(parts)
    if type(state) is not dict:
        return state
    items = list(state.items())
    kept = {
        name: _stripped(value, depth - 1) if depth else value for name, value in items if not isinstance(value, LeftOut)
    }
    return state if len(kept) == len(items) and all(kept[name] is value for name, value in items) else kept
