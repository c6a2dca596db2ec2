"""Names of keys that all processes agree on: the same for equal keys, and for no others.

A short text key stands in the store as it is, after its prefix, so that it can be read, and deleted by other services.
All others are `#` and a digest of their canonical form. No name has braces: the token of K is at `{K}!` in Redis.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from hashlib import blake2b
from numbers import Number
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any, Final
from uuid import UUID

__all__ = ["FORMAT", "WireKeys", "canonical", "check_namespace"]

FORMAT: Final = "v1"
"""The version of the wire format, a part of each key: another one is never read."""

LONGEST_TEXT: Final = 200
"""Bytes of UTF-8 that a text key may have to stand as it is."""

MOST_KNOWN: Final = 1000
"""So many names are remembered, since most lookups are of few keys; beyond that all are forgotten."""

_REFUSED: Final = r"{}\x00-\x1f\x7f-\x9f\ud800-\udfff"
_PLAIN: Final = re.compile(f"[^#{_REFUSED}][^{_REFUSED}]{{0,199}}").fullmatch
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]").search
_NAMESPACE: Final = re.compile(r"[A-Za-z0-9_.\-]{1,100}").fullmatch


def check_namespace(namespace: Any) -> str:
    if not isinstance(namespace, str):
        raise TypeError(f"namespace must be a str, not {type(namespace).__name__}")
    if not _NAMESPACE(namespace):
        raise ValueError(
            "namespace must be 1 to 100 letters of ASCII, digits, dots, hyphens or underscores, not "
            f"{namespace[:120]!r}"
        )
    return namespace


class WireKeys:
    """Names the keys of one namespace."""

    __slots__ = ("_known", "prefix", "tag_prefix", "version_key")

    def __init__(self, namespace: str, has_envelope: bool = True) -> None:
        self.prefix = f"{namespace}:{FORMAT}:" if has_envelope else f"{namespace}:"
        self._known: dict[str, str] = {}
        self.version_key = f"{namespace}:#{FORMAT}"  # `clear` removes what has the prefix
        self.tag_prefix = f"{self.prefix}#tag:"

    def name(self, key: Any) -> str:
        """Return the name of `key`. Raise TypeError if it has none, ValueError for a text with control characters."""
        if type(key) is str:
            if (known := self._known.get(key)) is not None:
                return known
            if _PLAIN(key) and (key.isascii() or len(key.encode()) <= LONGEST_TEXT):
                return self._know(key, self.prefix + key)
        if isinstance(key, str):
            _check_text(key)
            if type(key) is not str:
                return self.name(str.__str__(key))
        return f"{self.prefix}#{blake2b(canonical(key), digest_size=20).hexdigest()}"

    def _know(self, key: str, name: str) -> str:
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[key] = name
        return name

    def names(self, keys: list[Any]) -> list[str]:
        """Return the name of each of `keys`. Short texts are checked together, which takes a third of the time."""
        if set(map(type, keys)) == {str} and _are_plain(keys):
            prefix = self.prefix
            return [prefix + key for key in keys]
        return [self.name(key) for key in keys]

    def tag(self, tag: str) -> str:
        """Return what comes after `tag_prefix` in the name of a tag's key, and is in envelopes: for any text."""
        if _PLAIN(tag) and (tag.isascii() or len(tag.encode()) <= LONGEST_TEXT):
            return tag
        return f"#{blake2b(canonical(tag), digest_size=20).hexdigest()}"


def _are_plain(keys: list[str]) -> bool:
    """Say whether all surely stand as they are; see `_PLAIN`."""
    text = "".join(keys)
    is_refused = "#" in text or "{" in text or "}" in text or not text.isascii() or not text.isprintable()
    return not is_refused and all(keys) and max(map(len, keys)) <= LONGEST_TEXT


def _check_text(key: str) -> None:
    if _CONTROL(key):
        raise ValueError(f"a text key must not have control characters, as {str.__repr__(key)[:80]} has: escape them")
    try:
        str.encode(key)
    except UnicodeEncodeError:
        raise ValueError("a text key must be valid Unicode: this one has a surrogate that stands alone") from None


# ---- the canonical form


def canonical(key: Any) -> bytes:
    """Return bytes that are the same in every process, for equal keys, and for no other key.

    Of text, bytes, numbers, None, dates and times, enums, UUIDs, paths, classes, frozen dataclasses; and of tuples,
    lists, dicts and sets of these. Like in a dict, numbers that are equal are one key, whatever their type.
    """
    return b"".join(_parts(key))


def _parts(key: Any) -> Iterable[bytes]:
    if isinstance(key, str):
        return _leaf(b"s", str.encode(key, errors="surrogatepass"))
    if isinstance(key, bytes | bytearray):
        return _leaf(b"b", bytes(key))
    if key is None:
        return (b"N",)
    if isinstance(key, Number):
        return _leaf(b"n", _number(key))
    if isinstance(key, tuple):
        return _group(b"t", map(canonical, key))
    if isinstance(key, list):
        return _group(b"l", map(canonical, key))
    if isinstance(key, set | frozenset):
        return _group(b"f", sorted(map(canonical, key)))
    if isinstance(key, dict):
        return _group(b"d", sorted(canonical(name) + canonical(value) for name, value in key.items()))
    if isinstance(key, type):
        return _leaf(b"c", _name_of(key).encode())
    kind, state = _identity_of(key)
    return _group(b"o", (canonical(_name_of(kind)), canonical(state)))


def _leaf(tag: bytes, data: bytes) -> tuple[bytes, ...]:
    return tag, str(len(data)).encode(), b":", data


def _group(tag: bytes, parts: Iterable[bytes]) -> tuple[bytes, ...]:
    parts = list(parts)
    return tag, str(len(parts)).encode(), b":", *parts


def _number(key: Any) -> bytes:
    if isinstance(key, complex):
        return _number(key.real) if key.imag == 0 else b"%b,%b" % (_number(key.real), _number(key.imag))
    if isinstance(key, int):
        return hex(key).encode()
    if not isinstance(key, float | Decimal | Fraction):
        raise _no_name(key)
    if key != key:
        return b"nan"
    try:
        top, bottom = key.as_integer_ratio()
    except OverflowError:
        return b"inf" if key > 0 else b"-inf"
    return hex(top).encode() if bottom == 1 else f"{top:x}/{bottom:x}".encode()


def _identity_of(key: Any) -> tuple[type, Any]:
    """Return what makes an object of this type equal to another one: the type that stands for all, and its state."""
    if isinstance(key, Enum):
        return type(key), key.name
    if isinstance(key, datetime):
        moment = key.astimezone(UTC).replace(tzinfo=None) if key.tzinfo else key
        return datetime, (moment.isoformat(), key.tzinfo is None)
    if isinstance(key, date):
        return date, key.isoformat()
    if isinstance(key, time):
        off = key.utcoffset()
        wall = timedelta(hours=key.hour, minutes=key.minute, seconds=key.second, microseconds=key.microsecond)
        return time, (wall if off is None else wall - off, off is None)
    if isinstance(key, timedelta):
        return timedelta, (key.days, key.seconds, key.microseconds)
    if isinstance(key, UUID):
        return UUID, key.hex
    if isinstance(key, PurePath):
        is_posix = isinstance(key, PurePosixPath)
        return (PurePosixPath, key.as_posix()) if is_posix else (PureWindowsPath, key.as_posix().lower())
    if is_dataclass(key) and key.__dataclass_params__.frozen:  # type: ignore[union-attr]
        return type(key), tuple(getattr(key, field.name) for field in fields(key) if field.compare)
    raise _no_name(key)


def _name_of(kind: type) -> str:
    name = f"{kind.__module__}.{kind.__qualname__}"
    if "<locals>" in name or kind.__module__ == "__main__":
        raise TypeError(f"a key of the class {name} has no name that other processes know: define it in a module")
    return name


def _no_name(key: object) -> TypeError:
    return TypeError(
        f"a key of type {type(key).__name__} has no name that other processes know: use text, bytes, numbers, None, "
        "dates, enums, UUIDs, frozen dataclasses, or tuples of these; or give `key=` to cached"
    )
