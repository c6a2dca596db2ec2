"""JSON, strict: by orjson where it is installed, else by the standard library; either reads what the other writes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from .plain import PlainSerializer, PlainTypes, check_keys_and_depth

__all__ = ["JsonSerializer"]

_Engine: TypeAlias = tuple[Callable[[Any], bytes], Callable[[bytes], Any]]


class JsonSerializer(PlainSerializer):
    """Writes JSON: None, bool, int, finite float, str, list, and dict with text keys; strict, by orjson if installed.

    What JSON would not give back equal and of the same type is refused: a tuple, a set, int keys, bytes, NaN, an enum,
    a subclass, a datetime, an int beyond 64 bits.

    Raises:
        SerializationError: from `dumps`, naming the type and where it is; from `loads` for what is not JSON.
    """

    __slots__ = ()
    name = "json"
    plain = PlainTypes("JSON", has_nan=False)

    def __init__(self) -> None:
        super().__init__(*_engine())


def _engine() -> _Engine:
    try:
        import orjson
    except ImportError:
        return _standard_engine()
    refused = orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
    return partial(orjson.dumps, option=refused), orjson.loads


def _standard_engine() -> _Engine:
    """Make the standard library read what orjson reads, and refuse what that refuses."""
    from json import JSONDecoder, JSONEncoder

    encoder = JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    decoder = JSONDecoder(parse_constant=_refuse, parse_int=_int, parse_float=_float)

    def encode(value: Any) -> bytes:
        data = encoder.encode(value).encode()
        check_keys_and_depth(value)
        return data

    def decode(data: bytes) -> Any:
        text = str(data, "utf-8")
        value = decoder.decode(text)
        if "\\u" in text:
            encoder.encode(value).encode()  # raises if an escape has made a lone surrogate
        return value

    return encode, decode


def _int(digits: str) -> int | float:
    """Read an int; beyond 64 bits a float, as orjson does."""
    number = int(digits)
    return number if -(2**63) <= number < 2**64 else _float(digits)


def _float(digits: str) -> float:
    number = float(digits)
    return number if number - number == 0.0 else _refuse(digits)


def _refuse(text: str) -> Any:
    raise ValueError("a number is not finite")
