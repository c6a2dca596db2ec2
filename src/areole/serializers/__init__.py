"""How `Cache` turns values into bytes and back."""

from __future__ import annotations

import pickle
from typing import Any, Protocol

__all__ = ["Deserializer", "Serializer", "pickle_deserializer", "pickle_serializer"]


class Serializer(Protocol):
    """Turns a value into bytes."""

    def __call__(self, value: Any, /) -> bytes: ...


class Deserializer(Protocol):
    """Turns bytes into the value that the serializer got."""

    def __call__(self, data: bytes, /) -> Any: ...


def pickle_serializer(value: Any, /) -> bytes:
    """Pickle. Its output is for this process: anybody who can write pickles that you load can run code as you."""
    return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)


def pickle_deserializer(data: bytes, /) -> Any:
    return pickle.loads(data)
