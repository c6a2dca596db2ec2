"""Serializers by name: "json", "msgpack+zstd", "json+zstd://?compression-level=3"."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from .._platform.arguments import hint_for
from ..errors import SettingsError
from .chain import Chain
from .compression import ZlibCompression
from .foreign import from_object
from .json import JsonSerializer
from .msgpack import MsgpackSerializer
from .pickle import PickleSerializer
from .protocol import AnySerializer, ValueSerializer
from .raw import RawSerializer
from .zstd import ZstdCompression

__all__ = ["as_serializer", "serializer_from_url"]

_SERIALIZERS: Final[Mapping[str, Callable[..., ValueSerializer]]] = {
    "json": JsonSerializer,
    "msgpack": MsgpackSerializer,
    "noop": RawSerializer,
    "pickle": PickleSerializer,
    "raw": RawSerializer,
}
_COMPRESSIONS: Final[Mapping[str, Callable[..., Any]]] = {"zlib": ZlibCompression, "zstd": ZstdCompression}

_SIZES: Final = {"min-size": "min_size", "max-size": "max_size"}
_PARAMETERS: Final[Mapping[str, Mapping[str, str]]] = {
    "pickle": {"pickle-protocol": "protocol"},
    "zlib": {"compression-level": "level", **_SIZES},
    "zstd": {"compression-level": "level", "compression-threads": "threads", **_SIZES},
}
"""The parameters of each part, and the arguments that they are; those that are not here have none."""

_NEED_MORE: Final = {
    "signed-pickle": "needs keys, which are not to be in a URL: use SignedPickle(keys=[...])",
    "pydantic": "needs a type: use PydanticSerializer(type)",
}


def as_serializer(thing: AnySerializer, argument: str = "serializer") -> ValueSerializer:
    """Make a serializer of whatever can be one.

    Args:
        thing: a text that `serializer_from_url` takes; an object with `dumps` and `loads`, or `serialize` and
            `deserialize`; or a pair of callables. Those of others are named by their class, and taken to be safe for
            bytes that strangers wrote, unless they are of pickle, dill, cloudpickle or marshal, have "pickle" in the
            name of their class, or say otherwise by an attribute `runs_code`.
        argument: what to call it in an error.

    Raises:
        TypeError: if it is none of these.
        SettingsError: for a text that names no serializer.
    """
    return serializer_from_url(thing) if isinstance(thing, str) else from_object(thing, argument)


def serializer_from_url(url: str) -> ValueSerializer:
    """Make the serializer that a text such as "json+zstd://?compression-level=3" names; "://" may be left out.

    The parts are json, msgpack, pickle or noop (raw), and after it, if wanted, +zlib or +zstd. The parameters are
    pickle-protocol; compression-level, min-size and max-size (bytes); and compression-threads for zstd.

    Raises:
        SettingsError: for an unknown part, parameter or value: the message names it.
        ImportError: if a package is missing; the message says which.
    """
    if not isinstance(url, str):
        raise TypeError(f'serializer_from_url: url must be a str such as "json+zstd", not {type(url).__name__}')
    scheme, _, query = url.partition("?")
    parts = scheme.removesuffix("://").lower().split("+")
    _check_parts(parts)
    options = _options_of(parts, query)
    try:
        serializer = _SERIALIZERS[parts[0]](**options.get(parts[0], {}))
        if len(parts) == 1:
            return serializer
        return Chain(serializer, _COMPRESSIONS[parts[1]](**options.get(parts[1], {})))
    except ValueError as error:
        raise _settings_error(str(error)) from error


def _check_parts(parts: list[str]) -> None:
    """Raise SettingsError unless there is a serializer, and after it at most one compression."""
    for position, part in enumerate(parts[:2]):
        known = _COMPRESSIONS if position else _SERIALIZERS
        kind = "compression" if position else "serializer"
        if part in _NEED_MORE and not position:
            raise _settings_error(f"{part!r} {_NEED_MORE[part]}")
        if part not in known:
            raise _settings_error(f"{part!r} is no {kind}: {hint_for(part, known, 'there are')}")
    if len(parts) > 2:
        raise _settings_error(f"{'+'.join(parts)!r} has more than one compression: leave {parts[2]!r} out")


def _options_of(parts: list[str], query: str) -> dict[str, dict[str, int]]:
    """Return the arguments of each part by its name."""
    options: dict[str, dict[str, int]] = {}
    known = {name: part for part in parts for name in _PARAMETERS.get(part, ())}
    for each in query.split("&") if query else ():
        name, _, value = each.partition("=")
        if name not in known:
            hint = hint_for(name, known, "it takes") if known else "it takes none"
            raise _settings_error(f"{'+'.join(parts)!r} has no parameter {name!r}: {hint}")
        if not re.fullmatch("-?[0-9]{1,18}", value):
            raise _settings_error(f"{name} must be a whole number, not {value!r}")
        of_part = options.setdefault(known[name], {})
        argument = _PARAMETERS[known[name]][name]
        if argument in of_part:
            raise _settings_error(f"{name} is there twice")
        of_part[argument] = int(value)
    return options


def _settings_error(text: str) -> SettingsError:
    return SettingsError(f"serializer_from_url: {text}")
