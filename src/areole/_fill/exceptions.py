"""Copies of exceptions: how what a fill raised reaches callers other than its leader.

    the leader       gets the very object, and no other thread touches it
    the waiters      get a copy each, so that a traceback or a note which one of them adds is not seen by the others
    later lookups    of a stored exception (`cache_exceptions`) get a copy each too, without the frames of the fill

The leader makes the first copy, the *twin*, while it still holds its latch and before it raises on; and only if a
lookup has joined its flight, or if the exception is to be stored. The twin is never raised. A waiter makes a copy of
the twin, and never touches the object that the leader raises. Otherwise, on a build without a GIL,

    1. the leader fails; it has no waiters, so it copies nothing    3. a late waiter reads the old traceback, to copy it
    2. the leader raises on, and links a frame to it                4. that traceback is freed under it: a crash.

The mark by which a leader knows of waiters (`Flight.is_joined`) may come too late:

    1. a lookup finds the flight, its latch held     3. the lookup sets the mark, and waits
    2. the leader sees no mark, and makes no twin    4. the latch opens, and there is no outcome for the lookup.

The lookup is then made again, as if it had come a moment later. So no result depends on the mark being seen in time.

How a copy is made
    By the `__new__` of the built-in class that lays the object out, and by the descriptors of its slots and of the
    fields of built-in classes. The class's own constructor, `__copy__`, `__reduce__` and `__setattr__` do not run. The
    copy has the same `args`, attributes and notes, and the same traceback, unless frames are to be left out. The
    exceptions that it leads to (`__cause__`, `__context__`, members of a group, in `args` or in an attribute) are
    copied too if they have been raised, for they have tracebacks. The user's own objects are never changed.

Where no copy is made
    An exception with a `__del__`: that would run for each copy, and close what the original still uses. An exception
    whose memory is laid out by an extension module: its state cannot be seen. With a GIL, all get that object itself;
    a stored one then keeps the frames of the last lookup that raised it. Without a GIL no two threads may raise one
    object: the waiters get a FillFailedError, which names its type and its text.
"""

from __future__ import annotations

import builtins
import sys
from contextlib import suppress
from functools import lru_cache
from operator import is_
from types import GetSetDescriptorType, MemberDescriptorType, NoneType
from typing import Any, Final, NamedTuple, NoReturn

from .._platform.refcount import is_free_threaded
from ..errors import FillFailedError

__all__ = ["raise_copy_of", "raise_unchanged", "twin_of"]

# Descriptors, rather than attributes: what a class defines under these names, or in `__setattr__`, is not asked.
_ARGS: Any = vars(BaseException)["args"]
_ATTRIBUTES: Any = vars(BaseException)["__dict__"]
_CAUSE: Any = vars(BaseException)["__cause__"]
_CONTEXT: Any = vars(BaseException)["__context__"]
_SUPPRESS: Any = vars(BaseException)["__suppress_context__"]
_TRACEBACK: Any = vars(BaseException)["__traceback__"]
_MESSAGE: Any = vars(BaseExceptionGroup)["message"]
_MEMBERS: Any = vars(BaseExceptionGroup)["exceptions"]

_HEAP_TYPE: Final = 1 << 9
"""The flag of a class that is not part of the interpreter or of an extension module's static data."""

_POINTER: Final = sys.maxsize.bit_length() // 8 + 1


_PLAIN: Final = frozenset({NoneType, bool, bytes, dict, float, int, set, str})
"""Types of values in which no exception is looked for: a shortcut."""


class _NoCopy(Exception):
    """Says why there is no copy."""


# ---- for the protocol


def twin_of(error: Exception, *, keeps_frames: bool) -> Exception:
    """Copy `error` and what it leads to. If there is no copy: return `error` itself, or an error that stands for it."""
    try:
        return _Copying(keeps_frames).copy(error)  # type: ignore[return-value]  # of the same type
    except Exception as reason:
        return _stand_in(error, str(reason), keeps_frames) if is_free_threaded() else error


def raise_copy_of(twin: Exception, *, keeps_frames: bool) -> NoReturn:
    """Raise a copy of `twin`; if it is shared, `twin` itself, whose traceback must not grow if it is stored."""
    error: Exception | None = None
    try:
        error = twin_of(twin, keeps_frames=keeps_frames)
        if error is twin and not keeps_frames:
            _TRACEBACK.__set__(error, None)
        raise_unchanged(error)
    finally:
        del twin, error  # a traceback keeps its frames, which must not lead back to the exception


def raise_unchanged(error: BaseException) -> NoReturn:
    """Raise `error` and keep its context, even if the caller is handling another exception."""
    context = _CONTEXT.__get__(error)
    try:
        raise error
    finally:
        _CONTEXT.__set__(error, context)
        del error, context


def _stand_in(error: BaseException, reason: str, keeps_frames: bool) -> FillFailedError:
    """Make what is raised instead of `error`, naming its type and its text."""
    kind, text = type(error), ""
    with suppress(Exception):  # from the class's own `__str__`
        text = str(error)
    made = FillFailedError(
        f"the fill raised {kind.__module__}.{kind.__qualname__}: {text} (this error stands for it, as areole can make "
        f"no copy of it for another caller: {reason}; catch AreoleError, or raise an exception that can be copied)"
    )
    return made.with_traceback(_TRACEBACK.__get__(error) if keeps_frames else None)


# ---- copying


class _Copying:
    """One copying of an exception, and of all that it leads to; each is copied once, so cycles come out as cycles.

    First all copies are made, and then they are filled in. It works from a list and not by recursion: a chain of
    contexts may have thousands of links.
    """

    def __init__(self, keeps_frames: bool) -> None:
        self._keeps_frames = keeps_frames
        self._copies: dict[int, tuple[BaseException, BaseException]] = {}  # by id; with the original, so that it lives
        self._to_fill_in: list[tuple[BaseException, BaseException, _Layout]] = []

    def copy(self, error: BaseException) -> BaseException:
        """Return a copy of `error`; _NoCopy, or what went wrong, if none can be made."""
        made = self._copy(error)
        while self._to_fill_in:
            self._fill_in(*self._to_fill_in.pop())
        return made

    def _copy(self, error: BaseException) -> BaseException:
        """Return the copy, which is to be filled in yet."""
        known = self._copies.get(id(error))
        if known is not None:
            return known[1]
        kind: Any = type(error)
        layout = _layout_of(kind)
        if layout.refusal:
            raise _NoCopy(layout.refusal)
        made: BaseException
        if issubclass(kind, BaseExceptionGroup):  # `isinstance` may ask the object's own `__class__`
            members = tuple([self._linked(each) for each in _MEMBERS.__get__(error)])
            made = layout.base.__new__(kind, _MESSAGE.__get__(error), members)
        else:
            made = layout.base.__new__(kind)
        self._copies[id(error)] = error, made
        self._to_fill_in.append((error, made, layout))
        return made

    def _fill_in(self, error: BaseException, made: BaseException, layout: _Layout) -> None:
        for member in layout.members:
            try:
                value = member.__get__(error)
            except AttributeError:  # it was never set
                continue
            if value is not None or member in layout.slots:
                member.__set__(made, self._held(value))
        args = _ARGS.__get__(error)
        held = tuple([self._held(each) for each in args])
        _ARGS.__set__(made, args if all(map(is_, args, held)) else held)
        if attributes := dict(_ATTRIBUTES.__get__(error)):
            _ATTRIBUTES.__get__(made).update(zip(attributes, map(self._held, attributes.values()), strict=True))
            if type(notes := attributes.get("__notes__")) is list:
                _ATTRIBUTES.__get__(made)["__notes__"] = list(notes)
        for link in (_CAUSE, _CONTEXT):
            link.__set__(made, self._linked(link.__get__(error)))
        _SUPPRESS.__set__(made, _SUPPRESS.__get__(error))  # after the cause, which sets it
        if self._keeps_frames:
            _TRACEBACK.__set__(made, _TRACEBACK.__get__(error))

    def _held(self, value: Any) -> Any:
        """Return what a copy has where the original has `value`: that, unless it is an exception, or has some in it."""
        kind = type(value)
        if kind in _PLAIN:
            return value
        if issubclass(kind, BaseException):
            return self._linked(value)
        if kind in (list, tuple) and any(issubclass(type(each), BaseException) for each in value):
            return kind([self._linked(each) if issubclass(type(each), BaseException) else each for each in value])
        return value

    def _linked(self, error: BaseException | None) -> Any:
        """Return what a copy leads to where the original leads to `error`: that itself, if it was never raised."""
        if error is None or not _was_raised(error):
            return error
        try:
            return self._copy(error)
        except _NoCopy as reason:
            shares = self._keeps_frames and not is_free_threaded()
            return error if shares else _stand_in(error, str(reason), self._keeps_frames)


def _was_raised(error: BaseException) -> bool:
    """Say whether `error` may lead to frames."""
    links = _TRACEBACK, _CAUSE, _CONTEXT
    return issubclass(type(error), BaseExceptionGroup) or any(link.__get__(error) is not None for link in links)


# ---- what a class is made of


class _Layout(NamedTuple):
    """How to copy the exceptions of one class."""

    base: type[BaseException]
    """The built-in class that lays them out."""
    slots: frozenset[MemberDescriptorType]
    members: tuple[Any, ...]
    """The slots, and what built-in classes keep outside of `args` and the attributes: `errno`, `obj`, `value`. One of
    these that is None may have never been set, and is left so in the copy: `str` of an OSError tells the two apart."""
    refusal: str
    """Why there is no copying; empty: nothing is known against it."""


@lru_cache(maxsize=256)
def _layout_of(error_type: Any) -> _Layout:
    base: Any = error_type
    refusal = "its class has a __del__, which would run for the copy too" if hasattr(error_type, "__del__") else ""
    slots: list[MemberDescriptorType] = []
    while base.__flags__ & _HEAP_TYPE:
        own = [each for each in vars(base).values() if isinstance(each, MemberDescriptorType)]
        if base.__basicsize__ > base.__base__.__basicsize__ + _POINTER * (len(own) + _has_weak_slot(base)):
            refusal = f"{base.__module__}.{base.__qualname__} is laid out by an extension module"
        slots += own
        base = base.__base__
    if getattr(builtins, base.__name__, None) is not base:
        refusal = f"{base.__module__}.{base.__qualname__} is laid out by an extension module"
    return _Layout(base, frozenset(slots), (*slots, *_fields_of(base)), refusal)


def _has_weak_slot(heap_type: Any) -> bool:
    """Say whether instances have a pointer to their weak references, and those of the base class do not."""
    return bool(heap_type.__weakrefoffset__ > 0 >= heap_type.__base__.__weakrefoffset__)


def _fields_of(base: type) -> list[Any]:
    """Return the descriptors of the fields that the built-in class `base` adds to those of BaseException."""
    fields: list[Any] = []
    for each in base.__mro__:
        if each in (BaseException, BaseExceptionGroup, object):
            continue  # copied by name
        found = vars(each).items()
        kinds = MemberDescriptorType, GetSetDescriptorType
        fields += [field for name, field in found if isinstance(field, kinds) and not name.startswith("__")]
    return fields
