"""MessagePack, strict: by ormsgpack where it is installed, else by msgpack; they write the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeAlias

from .plain import PlainSerializer, PlainTypes, check_keys_and_depth

__all__ = ["MsgpackSerializer"]

_END: Final = b"areole"
"""Stands behind what ormsgpack reads, since it reads one value and ignores what follows."""

_Engine: TypeAlias = tuple[Callable[[Any], bytes], Callable[[bytes], Any]]


class MsgpackSerializer(PlainSerializer):
    """Writes MessagePack: what JsonSerializer takes, and bytes, infinities and NaN; strict.

    It uses ormsgpack where that is installed, else msgpack.

    Raises:
        ImportError: if neither is installed.
        SerializationError: from `dumps`, naming the type and where it is; from `loads` for what is no such value.
    """

    __slots__ = ()
    name = "msgpack"
    plain = PlainTypes("MessagePack", bytes, has_nan=True)

    def __init__(self) -> None:
        super().__init__(*_engine())


def _engine() -> _Engine:
    try:
        return _ormsgpack_engine()
    except ImportError:
        pass
    try:
        return _msgpack_engine()
    except ImportError as error:
        text = "MsgpackSerializer needs the package ormsgpack, or msgpack: pip install 'areole[msgpack]'"
        raise ImportError(text) from error


def _ormsgpack_engine() -> _Engine:
    import ormsgpack

    refused = ormsgpack.OPT_PASSTHROUGH_SUBCLASS | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    refused |= ormsgpack.OPT_PASSTHROUGH_DATETIME | ormsgpack.OPT_PASSTHROUGH_TUPLE

    def decode(data: bytes) -> Any:
        value, end = ormsgpack.unpackb(b"\x92" + data + b"\xc4\x06" + _END)  # an array of two: the value, and bytes
        if end != _END:
            raise ValueError("there is more than one value, or less")
        return value

    return partial(ormsgpack.packb, option=refused), decode


def _msgpack_engine() -> _Engine:
    """Let msgpack read what ormsgpack reads: no bytes as keys, no time stamps and no extensions."""
    import msgpack

    def encode(value: Any) -> bytes:
        data: bytes = msgpack.packb(value, strict_types=True)
        check_keys_and_depth(value)
        return data

    def decode(data: bytes) -> Any:
        value = msgpack.unpackb(data)
        check_keys_and_depth(value)
        if not MsgpackSerializer.plain.hold(value):
            raise ValueError("a value is of a type that is not plain")
        return value

    return encode, decode
