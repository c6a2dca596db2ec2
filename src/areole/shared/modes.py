"""How threads and tasks do what an operation's steps need: call the store, sleep, run a fill, join a flight."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine
from copy import copy
from functools import partial
from typing import Any, Final, Self

from .._core.entry import UNPUBLISHED
from .._core.ttl import make_seconds
from .._fill.batches import TaskBatches, ThreadBatches
from .._fill.blocking import call_fill
from .._fill.rules import FillRules
from .._fill.tasks import TaskFills
from .._fill.threads import ThreadFills
from .._platform.arguments import is_async_function
from .._state.cache_state import CacheState
from ..errors import BackendError, BackendTimeout
from .breaker import CircuitBreaker
from .counters import SharedCounters
from .steps import Steps, run, run_async

__all__ = ["INLINE", "LARGE", "Tasks", "Threads"]

INLINE: Final = object()
"""For `executor`: values are coded on the loop."""

LARGE: Final = 64 * 1024
"""Bytes from which on the coding of a value is moved off an event loop, where there is an `executor`."""


def _is_stored_nowhere(key: object, value: object) -> float:
    return UNPUBLISHED


class _Mode:
    """What both have: a backend, and the flights of this process, whose values are for those who wait alone."""

    _fills: Any

    def __init__(self, backend: Any, breaker: CircuitBreaker, counters: SharedCounters, flights: CacheState) -> None:
        self.backend = backend
        self.breaker = breaker
        self.counters = counters
        self.flights = flights
        self.rules = FillRules(_is_stored_nowhere, make_seconds(None), returner=f"get_or_fill of {flights.name}")

    def over(self, counters: SharedCounters, flights: CacheState, make_fills: Callable[..., Any]) -> Self:
        """Return the same mode for a part of the cache; `make_fills(flights, rules)` makes its fills."""
        part = copy(self)
        part.counters, part.flights = counters, flights
        part._fills = make_fills(flights, self.rules)
        return part

    def _check(self) -> None:
        try:
            self.breaker.check()
        except BackendError:
            self.counters.backend_errors.increment_and_get()
            raise

    def _note(self, error: Exception) -> BackendError:
        self.counters.backend_errors.increment_and_get()
        self.breaker.failed()
        return error if isinstance(error, BackendError) else _as_backend_error(error)


class Threads(_Mode):
    """For threads: each step is done at once."""

    offload = None

    def __init__(self, backend: Any, breaker: CircuitBreaker, counters: SharedCounters, flights: CacheState) -> None:
        super().__init__(backend, breaker, counters, flights)
        self._fills = ThreadFills(flights, self.rules)

    def call(self, method: Callable[..., Any], *args: Any) -> Any:
        """Call a method of the backend, unless the breaker refuses; whatever fails is a BackendError."""
        breaker = self.breaker
        if breaker.failures:
            self._check()
        try:
            result = method(*args)
        except (BackendError, OSError) as error:
            failure = self._note(error)
            if failure is error:
                raise
            raise failure from error
        if breaker.failures:
            breaker.succeeded()
        return result

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def call_fill(self, fill: Callable[[Any], Any], key: Any) -> Any:
        return fill(key)

    def fly(self, name: str, lead: Callable[[], Steps[Any]], is_refresh: bool = False) -> Any:
        """Run `lead` in exactly one thread or task of this process; the others wait for what comes of it."""
        return self._fills.get_or_fill(name, lambda: run(lead()), is_refresh=is_refresh)

    def fly_many(self, names: list[str], lead: Callable[[list[str]], Steps[list[Any]]]) -> Any:
        """Do so for each name, with one run of `lead` for those that nobody leads; Failed stands for what raises."""
        return ThreadBatches(self._fills, raises=False).get_or_fill_many(names, lambda led: run(lead(led)), partial)

    def renewal(self, name: str, token: bytes, lease: float) -> Callable[[], object]:
        return partial(self.backend.renew, name, token, lease)


class Tasks(_Mode):
    """For tasks: each step is something to await. The loop is never blocked."""

    def __init__(
        self,
        backend: Any,
        breaker: CircuitBreaker,
        counters: SharedCounters,
        flights: CacheState,
        timeout: float | None,
        sync_backend: Any,
        executor: Any = INLINE,
    ) -> None:
        super().__init__(backend, breaker, counters, flights)
        self._fills = TaskFills(flights, self.rules)
        self._timeout = None if hasattr(backend, "timeout") else timeout
        self._sync_backend = sync_backend
        self._executor = executor
        self.offload = None if executor is INLINE else self._offload
        """Runs the coding of a large value off the loop, where there is an executor."""

    def _offload(self, code: Callable[..., Any], *args: Any) -> Awaitable[Any]:
        import asyncio

        return asyncio.get_running_loop().run_in_executor(self._executor, code, *args)

    async def call(self, method: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        breaker = self.breaker
        if breaker.failures:
            self._check()
        try:
            if self._timeout is None or method.__name__ == "clear":
                result = await method(*args)
            else:
                result = await self._call_in_time(method, *args)
        except (BackendError, OSError) as error:
            failure = self._note(error)
            if failure is error:
                raise
            raise failure from error
        if breaker.failures:
            breaker.succeeded()
        return result

    async def _call_in_time(self, method: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        import asyncio

        async with asyncio.timeout(self._timeout):
            return await method(*args)

    async def sleep(self, seconds: float) -> None:
        import asyncio

        await asyncio.sleep(seconds)

    async def call_fill(self, fill: Callable[[Any], Any], key: Any) -> Any:
        return await call_fill(partial(fill, key), offloads=not is_async_function(fill))

    def fly(self, name: str, lead: Callable[[], Steps[Any]], is_refresh: bool = False) -> Awaitable[Any]:
        return self._fills.get_or_fill(name, lambda: run_async(lead()), is_refresh=is_refresh)  # type: ignore[no-any-return]

    def fly_many(self, names: list[str], lead: Callable[[list[str]], Steps[list[Any]]]) -> Awaitable[Any]:
        many = TaskBatches(self._fills, raises=False)
        return many.get_or_fill_many(names, lambda led: run_async(lead(led)), partial)

    def renewal(self, name: str, token: bytes, lease: float) -> Callable[[], object]:
        """Return what renews a token from another thread: by the backend for threads, or on this loop."""
        import asyncio

        loop = asyncio.get_running_loop()
        if self._sync_backend is not None:
            renew = partial(self._sync_backend.renew, name, token, lease)
            return lambda: not loop.is_closed() and renew()  # what ran there will never end
        return partial(_renew_on, loop, partial(self.backend.renew, name, token, lease))


def _renew_on(loop: Any, renew: Callable[[], Coroutine[Any, Any, Any]]) -> object:
    import asyncio

    steps = renew()
    try:
        return asyncio.run_coroutine_threadsafe(steps, loop)
    except RuntimeError:  # the loop is closed
        steps.close()
        return False


def _as_backend_error(error: Exception) -> BackendError:
    kind = BackendTimeout if isinstance(error, TimeoutError) else BackendError
    return kind(f"the store failed: {type(error).__name__}: {error}")
