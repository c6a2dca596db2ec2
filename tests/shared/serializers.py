"""Each serializer over each engine that can be had here, and values that few formats give back as they were."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import decimal
import enum
import importlib
import sys
import types
import uuid
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from areole.serializers import (
    JsonSerializer,
    MsgpackSerializer,
    PickleSerializer,
    RawSerializer,
    SignedPickle,
    ZlibCompression,
    ZstdCompression,
)

KEY, OTHER_KEY = b"k" * 16, b"another key of 32 bytes, so it is"


def needed(package: str, why: str = "it has no wheel for some builds") -> Any:
    return pytest.importorskip(package, reason=f"{package} is not installed: {why}")


@contextlib.contextmanager
def instead_of(package: str, module: Any = None) -> Iterator[None]:
    """Let `import package` give `module`; None: it is not installed.

    `mock.patch.dict` would also drop what was imported meanwhile, and orjson crashes when it is imported twice.
    """
    before = sys.modules.get(package)
    sys.modules[package] = module
    try:
        yield
    finally:
        del sys.modules[package]
        if before is not None:
            sys.modules[package] = before


def without(package: str, make: Callable[..., Any], **options: Any) -> Any:
    """Make something as where `package` is not installed."""
    with instead_of(package):
        return make(**options)


def standard_zstd(**options: Any) -> ZstdCompression:
    """Make one as on Python 3.14; before, over backports.zstd, which is the same code."""
    try:
        zstd = importlib.import_module("compression.zstd")
    except ImportError:
        zstd = needed("backports.zstd", "before Python 3.14 it stands for compression.zstd")
    with instead_of("compression", types.SimpleNamespace(zstd=zstd)):
        return ZstdCompression(**options)


def package_zstd(**options: Any) -> ZstdCompression:
    needed("zstandard")
    return without("compression", ZstdCompression, **options)  # type: ignore[no-any-return]


def orjson_engine() -> JsonSerializer:
    needed("orjson")
    return JsonSerializer()


def ormsgpack_engine() -> MsgpackSerializer:
    needed("ormsgpack")
    return MsgpackSerializer()


def msgpack_engine() -> MsgpackSerializer:
    needed("msgpack")
    return without("ormsgpack", MsgpackSerializer)  # type: ignore[no-any-return]


JSON: dict[str, Callable[[], Any]] = {"orjson": orjson_engine, "json": lambda: without("orjson", JsonSerializer)}
MSGPACK: dict[str, Callable[[], Any]] = {"ormsgpack": ormsgpack_engine, "msgpack": msgpack_engine}
PLAIN = JSON | MSGPACK
ALL = PLAIN | {
    "noop": RawSerializer,
    "pickle": PickleSerializer,
    "signed pickle": lambda: SignedPickle(keys=[KEY]),
}
COMPRESSIONS: dict[str, Callable[..., Any]] = {
    "zlib": ZlibCompression,
    "zstandard": package_zstd,
    "compression.zstd": standard_zstd,
}


def each(makers: dict[str, Callable[..., Any]]) -> Any:
    return pytest.mark.parametrize("make", makers.values(), ids=makers)


def typed(value: Any) -> Any:
    """Return what is equal for two values only if they, and all in them, are equal and of the same types."""
    kind = type(value)
    if isinstance(value, dict):
        return kind, [(typed(key), typed(each)) for key, each in value.items()]
    if isinstance(value, list | tuple):
        return kind, [typed(each) for each in value]
    if isinstance(value, set | frozenset):
        return kind, sorted((typed(each) for each in value), key=repr)
    return kind, repr(value) if isinstance(value, float) else value


class Text(str):
    pass


class Number(int):
    pass


class Colour(enum.Enum):
    RED = "red"


class Name(enum.StrEnum):
    A = "a"


class Level(enum.IntEnum):
    ONE = 1


@dataclasses.dataclass
class Point:
    x: int = 1


Pair = namedtuple("Pair", "a b")

NOT_PLAIN: dict[str, tuple[Any, str]] = {  # a value, and what a message says of it
    "tuple": ((1, 2), "a value of type tuple"),
    "set": ({1}, "a value of type set"),
    "frozenset": (frozenset(), "a value of type frozenset"),
    "bytearray": (bytearray(b"a"), "a value of type bytearray"),
    "memoryview": (memoryview(b"a"), "a value of type memoryview"),
    "int key": ({1: "a"}, "a key of type int"),
    "bool key": ({True: "a"}, "a key of type bool"),
    "None key": ({None: "a"}, "a key of type NoneType"),
    "bytes key": ({b"a": 1}, "a key of type bytes"),
    "str subclass key": ({Text("a"): 1}, "a key of type Text"),
    "StrEnum key": ({Name.A: 1}, "a key of type Name"),
    "large": (2**64, "an int beyond 64 bits"),
    "small": (-(2**63) - 1, "an int beyond 64 bits"),
    "str subclass": (Text("a"), "a value of type Text"),
    "int subclass": (Number(1), "a value of type Number"),
    "dict subclass": (OrderedDict(a=1), "a value of type OrderedDict"),
    "named tuple": (Pair(1, 2), "a value of type Pair"),
    "Enum": (Colour.RED, "a value of type Colour"),
    "StrEnum": (Name.A, "a value of type Name"),
    "IntEnum": (Level.ONE, "a value of type Level"),
    "dataclass": (Point(), "a value of type Point"),
    "datetime": (datetime.datetime(2026, 1, 2), "a value of type datetime"),
    "date": (datetime.date(2026, 1, 2), "a value of type date"),
    "UUID": (uuid.UUID(int=1), "a value of type UUID"),
    "Decimal": (decimal.Decimal(1), "a value of type Decimal"),
    "complex": (1j, "a value of type complex"),
    "surrogate": ("a\ud800", "a str with a lone surrogate"),
    "surrogate key": ({"\udfff": 1}, "a key with a lone surrogate"),
    "...": (..., "a value of type ellipsis"),
    "function": (len, "a value of type builtin_function_or_method"),
}

EXACT: list[Any] = [
    *(None, True, False, 0, 1, -1, 2**63, 2**64 - 1, -(2**63), 2**53 + 1),
    *(0.0, -0.0, 1.0, 0.1, 1e16, 1e22, 1e308, 5e-324, -2.2250738585072014e-308, 123456789.123456789),
    *("", "text", "é", "\U0001f600", "\x00", "\x7f", '"\\/', "\u2028", "null", "NaN", "1" * 30),
    *([], {}, [[]], {"": {}}, {"a": [None, True, 1, 1.0, "1"]}, [1, 1.0, True], {"b": 1, "a": 2}),
]
