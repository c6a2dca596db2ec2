"""Serializers of others: an object with two methods, or a pair of callables."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, Final

from .._platform.arguments import check_plain
from ..errors import SerializationError
from .protocol import ValueSerializer

__all__ = ["ForeignSerializer", "from_object", "text_of"]

_METHODS: Final = (("dumps", "loads"), ("serialize", "deserialize"))

_RUN_CODE: Final = frozenset(["cloudpickle", "dill", "marshal", "pickle"])
"""Modules whose `loads` runs what the bytes say, or may crash on bytes that were made for that."""


class ForeignSerializer:
    """Two callables with a name."""

    __slots__ = ("_dumps", "_loads", "name", "runs_code")
    is_signed = False

    def __init__(self, dumps: Callable[[Any], Any], loads: Callable[[Any], Any], name: str, runs_code: bool) -> None:
        self._dumps, self._loads, self.name, self.runs_code = dumps, loads, name, runs_code

    def dumps(self, value: Any, context: bytes = b"") -> bytes:
        """Return what the first one makes of `value`; a str, such as `json.dumps` returns, in UTF-8."""
        try:
            data = self._dumps(value)
            data = data.encode() if isinstance(data, str) else data
        except Exception as error:
            text = f"{self.name} cannot serialize a value of type {type(value).__name__}: it raised {text_of(error)}"
            raise SerializationError(text) from error
        if not isinstance(data, bytes):
            raise SerializationError(f"{self.name} must return bytes, not {type(data).__name__}")
        return data

    def loads(self, data: bytes, context: bytes = b"") -> Any:
        """Return what the second one makes of `data`."""
        try:
            return self._loads(data)
        except Exception as error:
            text = f"{self.name} cannot turn {len(data)} bytes back into a value: it raised {text_of(error)}"
            raise SerializationError(text) from error

    def __repr__(self) -> str:
        return f"<serializer {self.name}>"


def from_object(thing: Any, argument: str = "serializer") -> ValueSerializer:
    """Make a serializer of an object with `dumps` and `loads`, or `serialize` and `deserialize`, or of a pair."""
    if isinstance(thing, type):
        raise TypeError(f"{argument} must be an object, not the class {thing.__name__}: write {thing.__name__}()")
    if isinstance(thing, ValueSerializer):
        return thing
    for dumps, loads in _METHODS:
        if hasattr(thing, dumps) and hasattr(thing, loads):
            return _wrap(thing, getattr(thing, dumps), getattr(thing, loads), argument)
    if isinstance(thing, tuple | list) and len(thing) == 2:
        return _wrap(thing[0], thing[0], thing[1], argument)
    raise TypeError(
        f'{argument} must be a name such as "json", an object with dumps and loads, or a pair of callables, '
        f"not {type(thing).__name__}"
    )


def _wrap(named: Any, dumps: Any, loads: Any, argument: str) -> ForeignSerializer:
    check_plain(f"{argument}: what serializes", dumps)
    check_plain(f"{argument}: what deserializes", loads)
    name = _name_of(named)
    is_known_to = getattr(named, "runs_code", None)
    runs_code = bool(_parts_of(named, dumps, loads) & _RUN_CODE) or "pickle" in name.rpartition(".")[2].lower()
    return ForeignSerializer(dumps, loads, name, is_known_to if isinstance(is_known_to, bool) else runs_code)


def _name_of(thing: Any) -> str:
    """Return the full name of a module, of a function, or of an object's class."""
    if isinstance(thing, ModuleType):
        return thing.__name__
    thing = thing.func if isinstance(thing, partial) else thing
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{getattr(named, '__module__', None) or 'builtins'}.{named.__qualname__}"


def _parts_of(*things: Any) -> set[str]:
    """Return the names of the modules that these come from, each part of a dotted name by itself."""
    full = ".".join(_name_of(thing).rpartition(".")[0] for thing in things)
    return {part.lstrip("_") for part in full.split(".")}


def text_of(error: Exception) -> str:
    """Return the text of an error of ours, and of others the type alone: their text may show the value."""
    return f"{type(error).__name__}: {error}" if isinstance(error, SerializationError) else type(error).__name__
