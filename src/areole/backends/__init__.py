"""Where a SharedCache keeps its bytes; each engine's library is imported when it is used."""

from .base import BaseBackend
from .django import DjangoBackend
from .in_executor import InExecutor, InPlace
from .memory import MemoryBackend
from .null import NullBackend
from .protocol import AsyncBackend, Backend
from .redis import RedisBackend
from .redis_async import AsyncRedisBackend

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
]
