"""Where a SharedCache keeps its bytes; each engine's library is imported when it is used."""

from .base import BaseBackend
from .django import DjangoBackend
from .in_executor import InExecutor, InPlace
from .memory import MemoryBackend
from .null import NullBackend
from .protocol import AsyncBackend, Backend

__all__ = [
    "AsyncBackend",
    "Backend",
    "BaseBackend",
    "DjangoBackend",
    "InExecutor",
    "InPlace",
    "MemoryBackend",
    "NullBackend",
]
