"""Values of a declared type, as pydantic writes them."""

from __future__ import annotations

from typing import Any

from ..errors import SerializationError
from .same import is_same

__all__ = ["PydanticSerializer"]


class PydanticSerializer:
    """Writes values of a declared type as JSON, by pydantic: models, dataclasses, TypedDicts, dates, sets, tuples.

    Each value is read again before it is stored, and refused if it is not equal then, or has other types: a field that
    is not written, an int where a float is declared.

    Args:
        type: whatever a pydantic `TypeAdapter` takes.

    Raises:
        ImportError: if pydantic 2.11 or later is not installed.
        TypeError: if pydantic can make nothing of the type.
        SerializationError: from `dumps` for a value that would not come back equal; from `loads` for bytes that are no
            value of the type.
    """

    __slots__ = ("_adapter", "type")
    name = "json"  # what it writes: one that does not know the type reads dicts, lists and texts
    runs_code = False
    is_signed = False

    def __init__(self, type: Any) -> None:
        self.type = type
        self._adapter = _adapter_of(type)

    def dumps(self, value: Any, context: bytes = b"") -> bytes:
        """Return the JSON of `value`, with the names of the fields, not their aliases."""
        kind = type(value).__name__
        try:
            data: bytes = self._adapter.dump_json(value, by_alias=False, round_trip=True, warnings="error")
            comes_back = is_same(value, self._load(data))
        except Exception as error:
            text = f"{self!r} would not give back a value of type {kind}: it raised {type(error).__name__}"
            raise SerializationError(text) from error
        if not comes_back:
            raise SerializationError(
                f"{self!r} would not give back a value of type {kind} equal and with the same types in it: "
                "declare the types that it has, or name another serializer"
            )
        return data

    def loads(self, data: bytes, context: bytes = b"") -> Any:
        """Return the value of `data`, which is checked against the type."""
        try:
            return self._load(data)
        except Exception as error:
            text = f"{len(data)} bytes are no value for {self!r}: pydantic raised {type(error).__name__}"
            raise SerializationError(text) from error

    def _load(self, data: bytes) -> Any:
        return self._adapter.validate_json(data, by_alias=False, by_name=True)

    def __repr__(self) -> str:
        return f"PydanticSerializer({self.type.__qualname__ if isinstance(self.type, type) else self.type})"


def _adapter_of(type_: Any) -> Any:
    try:
        import pydantic
    except ImportError as error:
        raise ImportError("PydanticSerializer needs pydantic 2.11 or later: pip install 'areole[pydantic]'") from error
    if tuple(map(int, pydantic.VERSION.split(".")[:2])) < (2, 11):
        raise ImportError(
            f"PydanticSerializer needs pydantic 2.11 or later, not {pydantic.VERSION}: pip install 'areole[pydantic]'"
        )
    try:
        return pydantic.TypeAdapter(type_)
    except (pydantic.PydanticUserError, NameError) as error:
        raise TypeError(
            f"PydanticSerializer: pydantic can write no values of {type_!r}: declare another type, or name another "
            f"serializer. It says: {str(error).partition(chr(10))[0]}"
        ) from error
