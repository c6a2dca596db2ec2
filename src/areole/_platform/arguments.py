"""Checks of arguments, the same for every class and function of the library.

A message says what was called, which argument is wrong, what it must be, and what to change. TypeError is for a value
of a wrong type, ValueError for one that is out of bounds.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final, TypeVar

__all__ = [
    "check_bool",
    "check_callable",
    "check_keys",
    "check_name",
    "check_on_abandon",
    "check_plain",
    "check_tags",
    "hint_for",
    "in_the_name_of",
    "is_async_function",
    "shown",
    "suggests_names",
    "unexpected_keyword",
    "without_name",
]

F = TypeVar("F", bound=Callable[..., Any])

_ELSEWHERE: Final[dict[str, tuple[str, ...]]] = {
    "max_items": ("maxsize", "max_size", "size", "maxlen", "capacity", "limit", "max_entries"),
    "max_bytes": ("size_limit_in_bytes", "max_weight", "max_memory", "memory_limit"),
    "size_limit_in_bytes": ("max_bytes", "max_weight", "max_memory", "memory_limit"),
    "ttl": ("default_ttl", "time_to_live", "timeout", "expire", "expires", "expire_after", "expiration", "lifetime"),
    "default_ttl": ("ttl", "time_to_live", "timeout", "expire", "expires", "expire_after", "expiration", "lifetime"),
    "weigher": ("getsizeof", "sizeof", "cost"),
    "clock": ("timer", "time"),
    "key": ("key_maker", "make_key", "keyfunc", "key_func", "key_builder"),
    "skip": ("exclude", "skip_if", "unless"),
    "ignore": ("exclude", "exclude_args", "ignore_args"),
    "on_removal": ("removal_listener", "listener", "callback", "on_evict", "on_eviction", "on_expire"),
    "policy": ("eviction", "algorithm"),
    "wait_timeout": ("lock_timeout",),
    "stats": ("statistics", "record_stats"),
}
"""Our names of arguments, and what other libraries call the same."""


# ---- values


def shown(value: object) -> str:
    """Return `repr(value)` for a message; of an int that has too many digits to be written out, what it is."""
    try:
        return repr(value)
    except ValueError:
        return f"an {type(value).__name__} of thousands of digits"


def check_bool(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be a bool, not {type(value).__name__}")


def check_name(value: object) -> None:
    if not (value is None or isinstance(value, str)):
        raise TypeError(f"name must be a str or None, not {type(value).__name__}")


def check_callable(name: str, value: object) -> None:
    if not callable(value):
        raise TypeError(f"{name} must be callable, not {type(value).__name__}")


def check_plain(name: str, value: object) -> None:
    """Raise TypeError unless `value` is a callable whose result need not be awaited."""
    check_callable(name, value)
    if is_async_function(value):
        called = getattr(value, "__qualname__", type(value).__qualname__)
        raise TypeError(f"{name} must be a plain function, not the async def {called}: its coroutine is never awaited")


def check_on_abandon(value: object) -> None:
    if value not in ("cancel", "complete"):
        raise ValueError(f'on_abandon must be "cancel" or "complete", not {shown(value)}')


def check_keys(called: str, keys: Iterable[Any]) -> None:
    """Raise TypeError if `keys` is one key: a text or bytes, whose letters would be taken for keys, or no iterable."""
    if isinstance(keys, str | bytes | bytearray):
        raise TypeError(f"{called} takes an iterable of keys, not one key of type {type(keys).__name__}: pass [key]")
    if not hasattr(type(keys), "__iter__") and not hasattr(type(keys), "__getitem__"):  # as `iter` has it
        raise TypeError(f"{called} takes an iterable of keys, such as a list, not {type(keys).__name__}")


def check_tags(called: str, tags: Iterable[Any]) -> tuple[str, ...]:
    """Return `tags` as a tuple of plain texts; raise TypeError for what is no iterable of texts."""
    is_list = type(tags) is tuple or type(tags) is list  # most are, and what follows takes longer than all the rest
    if not is_list and (isinstance(tags, str | bytes | bytearray) or not isinstance(tags, Iterable)):
        raise TypeError(f"{called}: tags must be a list of texts, not one {type(tags).__name__}: write ['...']")
    found = tuple(tags)
    for tag in found:
        if not isinstance(tag, str):
            raise TypeError(f"{called}: a tag must be a text, not {type(tag).__name__}")
    return tuple(map(str.__str__, found))  # of a subclass, whose methods may be anything, the text alone


def is_async_function(function: Any) -> bool:
    """Say whether calling `function` gives a coroutine: it is an async def, or an object whose `__call__` is one."""
    if inspect.iscoroutinefunction(function):
        return True
    return not isinstance(function, type) and inspect.iscoroutinefunction(type(function).__call__)


# ---- names


def suggests_names(also: Collection[str] = (), called: str = "") -> Callable[[F], F]:
    """Have a function name itself in what it raises for an argument, and say which keyword an unknown one may mean.

    `also` are the names that it takes through `**options`; `called` is its name in the message, by default that of the
    class which is being made.
    """

    def decorate(function: F) -> F:
        kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
        own = [p.name for p in inspect.signature(function).parameters.values() if p.kind in kinds]
        known = [name for name in own if name != "self"] + [name for name in sorted(also) if name not in own]

        @functools.wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Any:
            for name in kwargs:
                if name not in known:
                    raise unexpected_keyword(called or type(args[0]).__name__, name, known)
            try:
                return function(*args, **kwargs)
            except (TypeError, ValueError) as error:
                _begin_with(called or type(args[0]).__name__, error)
                raise

        return checked  # type: ignore[return-value]

    return decorate


class in_the_name_of:
    """A context in which a TypeError or ValueError says what was called; of nested ones the outermost is named."""

    __slots__ = ("called",)

    def __init__(self, called: str) -> None:
        self.called = called

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            _begin_with(self.called, error)


def _begin_with(called: str, error: BaseException) -> None:
    if type(error) not in (TypeError, ValueError):
        return
    text = without_name(error)
    if not text.startswith(called):
        error.__dict__["_said"] = text
        error.args = (f"{called}: {text}",)


def without_name(error: BaseException) -> str:
    """Return what an error said before what was called named itself."""
    return str(error.__dict__.get("_said", error))


def unexpected_keyword(called: str, name: str, known: Collection[str]) -> TypeError:
    """Make the error for a keyword that `called` does not take."""
    return TypeError(f"{called}() got an unexpected keyword argument {name!r}: {hint_for(name, known, 'it takes')}")


def hint_for(name: str, known: Collection[str], otherwise: str) -> str:
    """Ask whether the nearest known name was meant; where none is near, list them after `otherwise`."""
    meant = _meant_by(name, known)
    return f"did you mean {meant!r}?" if meant else f"{otherwise} {', '.join(known)}"


def _meant_by(name: str, known: Collection[str]) -> str | None:
    from difflib import get_close_matches  # only needed for an error

    for each in known:
        if name in _ELSEWHERE.get(each, ()):
            return each
    near = get_close_matches(name, known, n=1)
    return near[0] if near else None
