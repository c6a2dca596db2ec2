"""A stranger's cache: `--subject package.module:factory`, for `python -m stress` and `python -m stress.contenders`.

`factory(function, **options)` returns a new cache of `function`, which takes one key. docs/stress.md has the protocol.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from contextvars import ContextVar
from functools import cache, cached_property, partial
from typing import Any, Final

from .worker import Worker, current_worker

__all__ = ["OPERATIONS", "OPTIONS", "Stranger", "StrangerCache", "is_stranger", "load"]

OPTIONS: Final = frozenset({"ttl", "clock", "max_items", "max_bytes", "item_ttl", "cache_exceptions"})
"""What a factory may take by name. What needs one that it does not take is left out."""

OPERATIONS: Final = ("invalidate", "clear", "count", "size", "contains", "store", "tidy", "get")
"""What the cache may have besides `call`."""


def is_stranger(variant: str) -> bool:
    """Say whether a scenario's variant names a stranger's cache."""
    return ":" in variant


@cache
def load(name: str) -> Stranger:
    """Return what "package.module:factory" names.

    Raises:
        ValueError: if there is no such module, or nothing callable of that name in it.
    """
    module, _, attribute = name.partition(":")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"--subject {name}: {error}. Give package.module:factory, as from this folder") from error
    if not callable(factory):
        raise ValueError(f"--subject {name}: {attribute} is a {type(factory).__name__}, not a factory")
    return Stranger(name, factory)


class Stranger:
    """What a factory takes, and what it says of its caches as attributes."""

    def __init__(self, name: str, factory: Callable[..., Any]) -> None:
        self.name = name
        self.factory: Any = factory
        self.options = frozenset(inspect.signature(factory).parameters) & OPTIONS
        self.is_async: bool = getattr(factory, "is_async", False)
        self.least_ttl: float = getattr(factory, "least_ttl", 0.05)
        self.not_promised: tuple[str, ...] = tuple(getattr(factory, "not_promised", ("doubled",)))
        if unknown := set(self.not_promised) - {"doubled", "stale"}:
            raise ValueError(f"--subject {name}: not_promised has {sorted(unknown)}; it may have 'doubled' and 'stale'")

    @cached_property
    def run(self) -> Callable[..., Any]:
        """Called with a function of such a cache, and its arguments: in a loop and awaited, if it is asynchronous."""
        return _event_loop().run if self.is_async else _call

    def make(self, function: Callable[..., Any], **options: Any) -> tuple[Callable[..., Any], dict[str, Any]]:
        """Make a cache; return its `call`, and what else it offers by name."""
        made = self.factory(function, **options)
        return made.call, {name: getattr(made, name) for name in OPERATIONS if hasattr(made, name)}

    @cached_property
    def operations(self) -> frozenset[str]:
        """What a cache offers besides `call`: one is made, and looked at. Raises ValueError if that cannot be made."""
        try:
            return frozenset(self.run(self.make, _no_function)[1])
        except Exception as error:
            raise ValueError(f"--subject {self.name}: the factory raised {error!r}") from error

    def lacks(self, needed: Iterable[str]) -> str:
        """Say what of that it does not offer; empty if it offers all."""
        options = [f"its factory takes no `{name}`" for name in needed if name in OPTIONS - self.options]
        operations = [f"it has no `{name}`" for name in needed if name not in OPTIONS | self.operations]
        return ", ".join(options + operations)


async def _no_function(key: Any) -> Any:
    raise AssertionError("this cache is only looked at")


class StrangerCache:
    """One cache of a stranger, as the scenarios use it: what it does not offer is done by what it does."""

    def __init__(self, stranger: Stranger, fill: Callable[[Any], Any], **options: Any) -> None:
        self._stranger, self._fill = stranger, fill
        self._options = {name: value for name, value in options.items() if name in stranger.options}
        self._run = stranger.run
        self._filled: list[Any] = []  # the keys that have been filled since all was removed
        self._make()
        self.peek = self._get if self.offers("get") else self.read

    def _make(self) -> None:
        function = _event_loop().awaited(self._noted_fill) if self._stranger.is_async else self._noted_fill
        self._call, self._offered = self._run(partial(self._stranger.make, function, **self._options))

    def _noted_fill(self, key: Any) -> Any:
        self._filled.append(key)
        return self._fill(key)

    def offers(self, operation: str) -> bool:
        return operation in self._offered

    def read(self, key: Any) -> Any:
        return self._run(self._call, key)

    def _get(self, key: Any) -> Any:
        return self._run(self._offered["get"], key)

    def invalidate(self, key: Any) -> Any:
        return self._run(self._offered["invalidate"], key)

    def clear(self) -> None:
        """Remove all; without a `clear` key by key, or by a new cache, which is only asked for while idle."""
        filled, self._filled = self._filled, []
        if self.offers("clear"):
            self._run(self._offered["clear"])
        elif self.offers("invalidate"):
            for key in filled:
                self.invalidate(key)
        else:
            self._make()

    def check(self) -> None:
        """Called while idle: a limit holds then, at the latest once the cache has tidied up."""
        limit = self._options.get("max_items")
        if limit is None:
            return
        if self.offers("tidy"):
            self._run(self._offered["tidy"])
        count = self._run(self._offered["count"])
        assert 0 <= count <= limit, f"{count} items while idle, and there may be {limit}"


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


_asker: ContextVar[Worker | None] = ContextVar("_asker")
"""The worker for which a task runs."""


class _EventLoop:
    """A loop in a thread of its own, in which an asynchronous cache is asked by all workers at once."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="stranger-loop", daemon=True).start()

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function in the loop, await what it returns if that has to be, and return what that gives."""
        return asyncio.run_coroutine_threadsafe(_ask(current_worker(), function, arguments), self._loop).result()

    def awaited(self, fill: Callable[[Any], Any]) -> Callable[[Any], Coroutine[Any, Any, Any]]:
        """Make the coroutine function of a fill, which runs on a thread as its asker's: the loop is free meanwhile."""

        async def function(key: Any) -> Any:
            filled: Future[Any] = Future()
            threading.Thread(target=_fill_into, args=(filled, _asker.get(), fill, key), daemon=True).start()
            return await asyncio.wrap_future(filled)

        return function


@cache
def _event_loop() -> _EventLoop:
    return _EventLoop()


async def _ask(worker: Worker | None, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    _asker.set(worker)
    result = function(*arguments)
    return await result if inspect.isawaitable(result) else result


def _fill_into(filled: Future[Any], worker: Worker | None, fill: Callable[[Any], Any], key: Any) -> None:
    if worker is not None:
        worker.enter_thread()
    try:
        value = fill(key)
    except BaseException as error:
        filled.set_exception(error)
    else:
        filled.set_result(value)
