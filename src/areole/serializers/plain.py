"""Which values a format gives back equal and of the same types, and the serializers that refuse all others.

Those are of exactly the types that the format has itself. An engine writes more, and gives something else back: a list
for a tuple. So each value is walked through: to decode it again and compare takes longer, and does not find all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ..errors import SerializationError

__all__ = ["MAX_DEPTH", "PlainSerializer", "PlainTypes", "check_keys_and_depth"]

MAX_DEPTH: Final = 250
"""How many lists and dicts may be in each other. Engines have limits of 254 levels and more."""

_LOWEST: Final = -(2**63)
_HIGHEST: Final = 2**64 - 1
_STR: Final = frozenset([str])


class PlainTypes:
    """The types of a format: None, bool, int, float, str, list, dict with text keys, and its `more`."""

    __slots__ = ("_format", "_has_nan", "_others")

    def __init__(self, format_name: str, *more: type, has_nan: bool) -> None:
        self._format = format_name
        self._others = frozenset([bool, type(None), *more])
        self._has_nan = has_nan

    def hold(self, value: Any) -> bool:
        """Say whether a value that was encoded comes back as it is. Keys, depth and text the encoder has checked."""
        to_visit = [value]
        for each in to_visit:  # it grows meanwhile
            kind = type(each)
            if kind is str:
                continue
            if kind is dict:
                to_visit += each.values()
            elif kind is list:
                to_visit += each
            elif kind is int:
                if not _LOWEST <= each <= _HIGHEST:
                    return False
            elif kind is float:
                if each - each != 0.0 and not self._has_nan:
                    return False
            elif kind not in self._others:
                return False
        return True

    def refusal(self, value: Any, error: Exception | None = None) -> SerializationError:
        """Make the error for a value that does not `hold`, or at which the encoder raised `error`."""
        try:
            what, where = self._find(value, "", 0) or (f"a value of type {type(value).__name__}{_raised(error)}", "")
        except RecursionError:  # the caller is deep in calls already
            what, where = _TOO_DEEP
        at = f", at [{where[:80]}]," if where else ""
        return SerializationError(
            f"{self._format} would not give back {what}{at} as it was: store something else, "
            "or name another serializer, such as PydanticSerializer or SignedPickle"
        )

    def _find(self, value: Any, where: str, depth: int) -> tuple[str, str] | None:
        """Return what in `value` would not come back, and where that is."""
        if depth > MAX_DEPTH:
            return _TOO_DEEP
        if type(value) is dict:
            parts = [(repr(key), each) for key, each in value.items()]
            wrong = next(filter(None, map(_wrong_key, value)), None)
        else:
            parts = [(str(i), each) for i, each in enumerate(value)] if type(value) is list else []
            wrong = self._wrong_value(value)
        if wrong is not None:
            return wrong, where
        for part, each in parts:
            found = self._find(each, f"{where}][{part}" if where else part, depth + 1)
            if found is not None:
                return found
        return None

    def _wrong_value(self, value: Any) -> str | None:
        kind = type(value)
        if kind is list:
            return None
        if kind is str:
            return None if _is_text(value) else "a str with a lone surrogate"
        if kind is int:
            return None if _LOWEST <= value <= _HIGHEST else "an int beyond 64 bits"
        if kind is float:
            return None if self._has_nan or value - value == 0.0 else f"the float {value}"
        return None if kind in self._others else f"a value of type {kind.__name__}"


class PlainSerializer:
    """What the strict serializers have in common: an engine, and the types that its format has."""

    __slots__ = ("_encode", "decode")
    name = ""
    runs_code = False
    is_signed = False
    plain: PlainTypes

    def __init__(self, encode: Callable[[Any], bytes], decode: Callable[[bytes], Any]) -> None:
        self._encode, self.decode = encode, decode

    def dumps(self, value: Any, context: bytes = b"") -> bytes:
        """Return the bytes of `value`. Raise SerializationError, naming a type, if it would not come back equal."""
        try:
            data = self._encode(value)
        except Exception as error:
            raise self.plain.refusal(value, error) from error
        if not self.plain.hold(value):
            raise self.plain.refusal(value)
        return data

    def loads(self, data: bytes, context: bytes = b"") -> Any:
        """Return the value of `data`. Raise SerializationError if that is cut, or not of this format."""
        try:
            return self.decode(data)
        except Exception as error:
            text = f"{len(data)} bytes are not {self.name}: the decoder raised {type(error).__name__}"
            raise SerializationError(text) from error

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def check_keys_and_depth(value: Any) -> None:
    """Raise ValueError for what orjson and ormsgpack refuse, and other engines do not: keys that are not text."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for each in level:
            if type(each) is dict:
                if not _STR.issuperset(map(type, each)):
                    raise ValueError("a key is not a str")
                below += each.values()
            elif type(each) is list:
                below += each
        if not below:
            return
        level = below
    raise ValueError(_TOO_DEEP[0])


_TOO_DEEP: Final = (f"more than {MAX_DEPTH} levels of lists and dicts", "")


def _wrong_key(key: Any) -> str | None:
    if type(key) is not str:
        return f"a key of type {type(key).__name__}"
    return None if _is_text(key) else "a key with a lone surrogate"


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _raised(error: Exception | None) -> str:
    return "" if error is None else f" (the encoder raised {type(error).__name__})"
