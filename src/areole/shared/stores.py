"""Which backend a shared cache uses: what it was given, or the default, or what the environment names."""

from __future__ import annotations

import os
from typing import Any

from .._cache.storage import Storage
from ..backends.in_executor import InExecutor
from ..backends.memory import MemoryBackend
from ..backends.urls import backend_from_url, registered_backend
from ..typing import Clock

__all__ = ["backend_of", "backends_for"]


def backend_of(store: Any, timeout: float, clock: Clock) -> tuple[Any, bool]:
    """Return the backend for `store`, and whether it was made here: of a URL, a client, a Storage or a path."""
    if store is None:
        store = registered_backend()
    is_given = all(hasattr(store, step) for step in ("take", "store_if_mine", "kill_many", "get_many"))
    return (store, False) if is_given else (_make_backend(store, timeout, clock), True)


def _make_backend(store: Any, timeout: float, clock: Clock) -> Any:
    if store == "memory://":
        return MemoryBackend(clock=clock)
    if store is None or isinstance(store, str):
        return backend_from_url(store, timeout=timeout)
    if isinstance(store, Storage):
        return MemoryBackend(store)
    return _backend_over(store, timeout)


def _backend_over(store: Any, timeout: float) -> Any:
    """Make a backend of what belongs to another library; which one, the module of its class says, or of a base."""
    if isinstance(store, os.PathLike):
        from ..backends.sqlite import SQLiteBackend

        return SQLiteBackend(store, timeout=timeout)
    libraries = {kind.__module__.partition(".")[0] for kind in type(store).__mro__}
    if libraries & {"redis", "valkey"}:
        from ..backends.redis import RedisBackend

        return RedisBackend(store, timeout=timeout)
    if "django" in libraries:
        from ..backends.django import DjangoBackend

        return DjangoBackend(store)
    raise TypeError(
        f"SharedCache: store must be a URL, a backend, a client of Redis, a Storage or a path, not "
        f"{type(store).__name__}; make a backend of another store by a subclass of areole.backends.BaseBackend"
    )


def backends_for(backend: Any, executor: Any) -> tuple[Any, Any]:
    """Return the backend for threads, or None, and the one for tasks."""
    import inspect

    if not (executor is None or hasattr(executor, "submit")):
        kind = type(executor).__name__
        raise TypeError(f"executor must be an Executor, or None for the default one of the event loop, not {kind}")

    if inspect.iscoroutinefunction(backend.get):
        return None, backend
    asynchronous = getattr(backend, "aio", None)
    return backend, InExecutor(backend, executor) if asynchronous is None else asynchronous
