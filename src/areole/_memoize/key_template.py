"""KeyTemplate: a text such as "user:{user_id}", which the arguments of a call make a key.

No two calls have one key unless the texts of the arguments that the template names are equal:

  - What is put in is percent-escaped: all but ASCII letters, digits, and `-`, `.`, `_`, `~`.
  - Between two fields there is a character that is none of those, or that this template escapes for it too. So from
    left to right a key can be taken apart in one way only.
  - A text of more than a field's share of the room is put in as `%z` and a digest. No escaped text has a `%z`.

The text of a value is `str` of it where that is the same in every process; where a field has a conversion or a format,
its author has chosen the text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, time
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import partial
from hashlib import blake2b
from pathlib import PurePath
from string import Formatter
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

__all__ = ["KeyTemplate"]

ROOM: Final = 200
"""Bytes that a key has."""

SHORTEST: Final = 34
"""Bytes of a digest, and what marks it: each field has room for that."""

_STABLE: Final = (str, int, float, Decimal, Fraction, type(None), UUID, date, time, Enum, PurePath)
"""Types of which `str` gives the same text in every process."""

_CONVERSIONS: Final[dict[str, Callable[[Any], str]]] = {"s": str, "r": repr, "a": ascii}


class KeyTemplate:
    """A template for the calls of a function with these parameters.

    Attributes:
        parameters: the name of the argument that each field takes, in their order.
        prefix: what all keys begin with.
    """

    what = "key"
    """What it makes, for messages."""

    def __init__(self, template: str, parameters: Sequence[str], called: str) -> None:
        parsed = _parse(template, self.what)
        parts = [(literal, _Field(*rest) if rest[0] is not None else None) for literal, *rest in parsed]
        fields = [field for _, field in parts if field is not None]
        unknown = sorted({field.parameter for field in fields} - set(parameters))
        if unknown:
            known = ", ".join(parameters) or "none"
            raise ValueError(
                f"{self.what} {template!r} names {', '.join(unknown)}, but the parameters of {called} are {known}"
            )
        self.template = template
        self.called = called
        self._made = f"{self.what} of {called}"
        self.parameters = tuple(field.parameter for field in fields)
        self.prefix = parts[0][0] if parts else ""
        self._literals = [literal for literal, _ in parts]
        self._fields = fields
        self._escapes = self._check_separators()
        self._room = self._check_room()

    def _check_separators(self) -> dict[int, str]:
        """Return what is to be escaped besides what `quote` escapes; raise if two fields may run together."""
        between = self._literals[1 : len(self._fields)]
        for before, literal, after in zip(self._fields, between, self._fields[1:], strict=False):
            if not [c for c in literal if not c.isalnum() and c != "%"]:
                raise ValueError(
                    f"{self.what} {self.template!r} does not separate {before} from {after}, so that other arguments "
                    f"may give the same {self.what}: put a ':' between them"
                )
        return {ord(c): f"%{ord(c):02X}" for c in "-._~" if any(c in literal for literal in between)}

    def _check_room(self) -> int:
        """Return how many bytes a field may have."""
        room = ROOM - sum(len(literal.encode()) for literal in self._literals)
        if room < SHORTEST * len(self._fields) or room < 0:
            raise ValueError(
                f"{self.what} {self.template[:120]!r} is too long: a {self.what} has room for {ROOM} bytes"
            )
        return room // max(1, len(self._fields))

    def __call__(self, *values: Any) -> str:
        """Return the key of a call; `values` are the arguments that `parameters` names."""
        texts = [self._put_in(field, value) for field, value in zip(self._fields, values, strict=True)]
        return "".join([part for pair in zip(self._literals, [*texts, ""], strict=False) for part in pair])

    def _put_in(self, field: _Field, value: Any) -> str:
        plain = field.text_of(value, self._made)
        if plain.isascii() and plain.isalnum():  # most are, and `quote` takes as long as all the rest
            text = plain
        else:
            text = quote(plain, safe="", errors="surrogatepass").translate(self._escapes)
        return text if len(text) <= self._room else f"%z{blake2b(text.encode(), digest_size=16).hexdigest()}"


class _Field:
    """One field of a template: `{user.id!r:>8}`."""

    def __init__(self, path: str, form: str, conversion: str | None) -> None:
        self.path = path
        self.parameter = path.partition(".")[0].partition("[")[0]
        self._form = form
        self._convert = None if conversion is None else _CONVERSIONS[conversion]
        self._get = None if path == self.parameter else partial(Formatter().get_field, path, ())

    def __str__(self) -> str:
        return f"{{{self.path}}}"

    def text_of(self, argument: Any, of: str) -> str:
        value = argument if self._get is None else self._get({self.parameter: argument})[0]
        if self._convert is not None:
            return format(self._convert(value), self._form)
        if self._form:
            return format(value, self._form)
        if not isinstance(value, _STABLE):
            raise TypeError(
                f"the {of} has no text for {self}, of type {type(value).__name__}: name an attribute of it, "
                f"such as {{{self.path}.id}}, or a conversion, such as {{{self.path}!r}}, or pass a callable instead"
            )
        return str(value)


def _parse(template: str, what: str) -> list[tuple[Any, ...]]:
    """Return (literal, path, format, conversion) for each field; the last may have a literal alone."""
    if not template or template[0] == "#" or not template.isprintable():
        raise ValueError(
            f"{what} must be a template such as 'user:{{user_id}}', which does not begin with '#' and has no control "
            f"characters, not {template!r}"
        )
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"{what} {template!r} is no template such as 'user:{{user_id}}': {error}") from None
    for literal, path, form, conversion in parts:
        if "{" in literal or "}" in literal:
            raise ValueError(f"{what} {template!r} must have no braces but those of its fields")
        if path is None:
            continue
        if not path or not path.partition(".")[0].partition("[")[0].isidentifier():
            raise ValueError(f"{what} {template!r} must name a parameter in each field, as 'user:{{user_id}}' does")
        if form and "{" in form:
            raise ValueError(f"{what} {template!r} must have no field inside a format")
        if conversion is not None and conversion not in _CONVERSIONS:
            raise ValueError(f"{what} {template!r} has an unknown conversion, !{conversion}: there are !s, !r and !a")
    return parts
