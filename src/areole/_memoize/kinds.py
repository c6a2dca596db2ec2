"""Which kind of thing is decorated: a function, a method, and of which classes; something that cannot be memoized.

That a function stands in a class body is seen by its qualified name, or that of one that it wraps, and else by the
frames that the decorator is called from.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Iterator
from types import FrameType, MethodType
from typing import Any, Final, TypeAlias

__all__ = [
    "ClassName",
    "check_suitable",
    "classes_by_name",
    "classes_of",
    "classes_of_object",
    "find_class",
    "full_name_of",
    "has_equality",
    "is_static_in",
    "share_an_attribute",
]

ClassName: TypeAlias = tuple[Any, str]
"""Of a class: its module's name, and its qualified name."""

MAX_FRAMES: Final = 10
"""How many decorators may have been called between a class body and the one that is called last."""


def check_suitable(function: Any, decorator: str = "memoize", allows_single_use: bool = False) -> None:
    if isinstance(function, property | functools.cached_property):
        kind = type(function).__name__
        raise TypeError(f"{decorator} takes no {kind}: put @{kind} above {decorator}, which takes the function itself")
    if not callable(function):
        raise TypeError(f"{decorator} takes a function, a method or a callable, not {type(function).__name__}")
    if allows_single_use:
        return
    forms = [function] if isinstance(function, type) else [function, type(function).__call__]
    if any(inspect.isgeneratorfunction(form) or inspect.isasyncgenfunction(form) for form in forms):
        raise TypeError(
            f"{full_name_of(function)} is a generator function: memoized, its first caller would use up what all "
            "others get. Return a list or a tuple instead"
        )


def full_name_of(function: Any) -> str:
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return f"{getattr(function, '__module__', None)}.{name}"


def classes_of(function: Any) -> frozenset[ClassName]:
    """Return the classes in whose bodies `function`, or what it wraps, stands; none: it is to become no method."""
    if isinstance(function, MethodType):  # it has its instance
        return frozenset()
    return _class_body_around() | classes_by_name(function)


def classes_by_name(function: Any) -> frozenset[ClassName]:
    functions = [each for each in _unwrapped(function) if inspect.isfunction(each)]
    outer = [(each.__module__, each.__qualname__.rpartition(".")[0]) for each in functions]
    return frozenset(each for each in outer if each[1] and not each[1].endswith("<locals>"))


def _class_body_around() -> frozenset[ClassName]:
    """Return the class in whose body the running calls of decorators stand: not every function tells its own."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == __name__.partition(".")[0]:
        frame = frame.f_back
    for _ in range(MAX_FRAMES):
        if frame is None:
            break
        if not frame.f_code.co_flags & inspect.CO_OPTIMIZED:  # the body of a class or module
            names = frame.f_locals
            is_class = names is not frame.f_globals and "__qualname__" in names
            return frozenset([(names.get("__module__"), names["__qualname__"])] if is_class else ())
        frame = frame.f_back
    return frozenset()


def _unwrapped(function: Any) -> Iterator[Any]:
    """Give `function`, what it wraps, and so on."""
    for _ in range(100):  # more is a circle
        yield function
        inner = getattr(function, "__wrapped__", None)
        function = function.func if inner is None and isinstance(function, functools.partial) else inner
        if function is None:
            return


# ---- classes and their instances


def classes_of_object(instance: object) -> tuple[type, ...]:
    return (*type(instance).__mro__, *(instance.__mro__ if isinstance(instance, type) else ()))


def find_class(name: ClassName) -> type | None:
    """Return the class of this name, if it can be reached by it."""
    found: Any = sys.modules.get(name[0])
    for part in name[1].split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) else None


def is_static_in(cls: type, method: object) -> bool:
    statics = [each for each in vars(cls).values() if isinstance(each, staticmethod)]
    return any(form is method for each in statics for form in _unwrapped(each))


def share_an_attribute(cls: type, other: type) -> bool:
    """Say whether `other` may be made from `cls`, by its attributes: instances of both may call the same method."""
    own = [each for each in vars(cls).values() if hasattr(each, "__get__") or callable(each)]
    return any(any(value is each for each in own) for base in other.__mro__ for value in vars(base).values())


def has_equality(instance: object) -> bool:
    """Say whether another object may be equal: one of a class of the user's with an `__eq__`."""
    return type(instance).__eq__ is not object.__eq__ and type(instance).__module__ != "builtins"
