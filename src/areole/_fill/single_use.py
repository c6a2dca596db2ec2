"""Results that can be used once, and are of no use to a second caller: refused on a miss.

The type of the result decides, by one lookup in a frozenset: coroutines, generators, asynchronous generators, and what
a function under `contextlib.contextmanager` or `asynccontextmanager` returns. No other awaitable: a client or a pool
may be one, and be used many times. The declared kind of the function is not enough: a plain function may return these.
"""

from __future__ import annotations

import inspect
from contextlib import asynccontextmanager, contextmanager
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, Final, NoReturn

__all__ = ["SINGLE_USE", "refuse_result"]

_of_nothing: Any = lambda: None  # noqa: E731
_ContextManager: type[Any] = type(contextmanager(_of_nothing)())
_AsyncContextManager: type[Any] = type(asynccontextmanager(_of_nothing)())

_MANAGED: Final = (
    "a context manager ({}), which can be entered only once: return what it gives, and close that elsewhere "
    "(functools.cached_property keeps something for the life of an object)"
)
_AWAITED: Final = (
    "a coroutine ({}), which can be awaited only once: make the function an async def, which memoize and cached await, "
    "give it to AsyncAtomicCache, or await the coroutine in it"
)
_USED_UP: Final = "({}), which its first caller would use up: return a list or a tuple"
_KINDS: Final[dict[type[Any], str]] = {
    CoroutineType: _AWAITED,
    GeneratorType: f"a generator {_USED_UP}",
    AsyncGeneratorType: f"an asynchronous generator {_USED_UP}",
    _ContextManager: _MANAGED,
    _AsyncContextManager: _MANAGED,
}
"""What was returned, and what to return instead."""

SINGLE_USE: Final[frozenset[type[Any]]] = frozenset(_KINDS)


def refuse_result(returner: str, result: Any) -> NoReturn:
    """Raise TypeError for a `result` of a type in SINGLE_USE; `returner` is the function called, and what it called."""
    of = getattr(result, "gen", result)  # a context manager's generator
    if inspect.iscoroutine(result) and inspect.getcoroutinestate(result) == inspect.CORO_CREATED:
        result.close()  # it is never awaited, and Python would warn of that
    text = _KINDS[type(result)].format(getattr(of, "__qualname__", "unnamed"))
    raise TypeError(f"{returner} returned {text}; allow_single_use=True lets it pass")
