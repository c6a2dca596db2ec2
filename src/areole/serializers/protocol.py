"""What serializers are: an object that makes bytes of values, or two callables; and what a compression is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, runtime_checkable

__all__ = ["AnySerializer", "Compression", "Deserializer", "Serializer", "ValueSerializer"]


class Serializer(Protocol):
    """Turns a value into bytes."""

    def __call__(self, value: Any, /) -> bytes: ...


class Deserializer(Protocol):
    """Turns bytes into the value that the serializer got."""

    def __call__(self, data: bytes, /) -> Any: ...


@runtime_checkable
class ValueSerializer(Protocol):
    """Turns values into bytes and back: what comes back is equal and of the same type, or it is refused.

    Attributes:
        name: what the bytes are: serializers of the same name read each other's.
        runs_code: `loads` of bytes that a stranger wrote can run the stranger's code.
        is_signed: `loads` refuses what was not written by a holder of a secret key.

    Under concurrency:
        Threads share a serializer.
    """

    name: str
    runs_code: bool
    is_signed: bool

    def dumps(self, value: Any, context: bytes = b"") -> bytes:
        """Return the bytes of `value`. A signature is bound to `context`; others ignore it.

        Raises:
            SerializationError: for a value that would not come back equal; the message names a type.
        """

    def loads(self, data: bytes, context: bytes = b"") -> Any:
        """Return the value of `data`.

        Raises:
            SerializationError: for what `dumps` has not written, under the same context if it is signed.
        """


@runtime_checkable
class Compression(Protocol):
    """Makes bytes smaller, for a `Chain`.

    Attributes:
        name: what the compressed bytes are.
        min_size: bytes; what is not larger is not compressed.
        max_size: bytes; nothing larger comes back.
    """

    name: str
    min_size: int
    max_size: int

    def compress(self, data: bytes) -> bytes: ...

    def decompress(self, data: bytes) -> bytes:
        """Return what was compressed; raise SerializationError if that is cut, changed or larger than `max_size`."""


class _DumpsAndLoads(Protocol):
    @property
    def dumps(self) -> Callable[..., Any]: ...
    @property
    def loads(self) -> Callable[..., Any]: ...


class _SerializesAndDeserializes(Protocol):
    @property
    def serialize(self) -> Callable[..., Any]: ...
    @property
    def deserialize(self) -> Callable[..., Any]: ...


AnySerializer: TypeAlias = (
    str | ValueSerializer | _DumpsAndLoads | _SerializesAndDeserializes | tuple[Serializer, Deserializer]
)
"""What `as_serializer` takes: a URL, an object, or a pair of callables."""
