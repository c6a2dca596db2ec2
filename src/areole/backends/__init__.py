"""Where a SharedCache keeps its bytes; each engine's library is imported when it is used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from .base import BaseBackend
from .in_executor import InExecutor, InPlace
from .memory import MemoryBackend
from .null import NullBackend
from .protocol import AsyncBackend, Backend

if TYPE_CHECKING:
    from .django import DjangoBackend
    from .redis import RedisBackend
    from .redis_async import AsyncRedisBackend
    from .sqlite import SQLiteBackend
    from .urls import backend_from_url, default_backend, set_default_backend

__all__ = [
    "AsyncBackend",
    "AsyncRedisBackend",
    "Backend",
    "BaseBackend",
    "DjangoBackend",
    "InExecutor",
    "InPlace",
    "MemoryBackend",
    "NullBackend",
    "RedisBackend",
    "SQLiteBackend",
    "backend_from_url",
    "default_backend",
    "set_default_backend",
]

_MODULES: Final = {
    "AsyncRedisBackend": "redis_async",
    "DjangoBackend": "django",
    "RedisBackend": "redis",
    "SQLiteBackend": "sqlite",
    "backend_from_url": "urls",
    "default_backend": "urls",
    "set_default_backend": "urls",
}
"""Where the names are that are imported when they are first used."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
