"""The serializer that a function's return annotation picks."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import partial
from types import NoneType, UnionType
from typing import Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

from ..typing import FilledType
from .json import JsonSerializer
from .protocol import ValueSerializer
from .pydantic import PydanticSerializer
from .raw import RawSerializer

__all__ = ["serializer_for", "serializer_for_function"]

_ANYTHING: Final = (Any, object, inspect.Signature.empty)
_PLAIN: Final = (None, NoneType, bool, dict, float, int, list, str)


def serializer_for(annotation: Any) -> ValueSerializer | None:
    """Return what suits values of this type, or None where it says nothing: there is none, it is Any or a TypeVar.

    JSON for None, bool, int, float, str, and lists and dicts with text keys of these; raw bytes for bytes; all others
    are left to pydantic.

    Raises:
        TypeError: if pydantic is not installed, or can make nothing of the type. The message says what to do.
    """
    if _is_in(_ANYTHING, annotation) or isinstance(annotation, TypeVar):
        return None
    if annotation is bytes:
        return RawSerializer()
    if _is_plain(annotation):
        return JsonSerializer()
    try:
        return PydanticSerializer(annotation)
    except ImportError as error:
        text = f"no serializer for values of type {annotation!r}: pip install 'areole[pydantic]', or name a serializer"
        raise TypeError(text) from error


def serializer_for_function(function: Callable[..., Any]) -> ValueSerializer | None:
    """Return what `serializer_for` does for the return annotation of `function`; of an `async def`, for what it awaits.

    A Filled stands for its value.

    Raises:
        TypeError: also if the annotation is a text that cannot be resolved.
    """
    while isinstance(function, partial):
        function = function.func
    function = inspect.unwrap(function)
    if not inspect.isroutine(function):
        function = type(function).__call__
    return serializer_for(_value_type(_return_annotation(function)))


def _value_type(annotation: Any) -> Any:
    """Return the type of the values that are in what is returned, where that may be a Filled."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if isinstance(origin or annotation, type) and issubclass(origin or annotation, FilledType):
        return inner[0] if inner else Any
    return Union[tuple(map(_value_type, inner))] if _is_in((Union, UnionType), origin) else annotation  # noqa: UP007


def _is_plain(annotation: Any) -> bool:
    if _is_in(_PLAIN, annotation):
        return True
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is dict and inner and inner[0] is not str:
        return False
    return _is_in((dict, list, Union, UnionType), origin) and all(
        each is Any or each is object or _is_plain(each) for each in inner
    )


def _is_in(those: tuple[Any, ...], annotation: Any) -> bool:
    return any(annotation is each for each in those)


def _return_annotation(function: Any) -> Any:
    """Return what the annotation says. Those of the arguments are not looked at: they may name what is not there."""
    annotation = _annotations_of(function).get("return", inspect.Signature.empty)
    if annotation is inspect.Signature.empty:
        return annotation

    def holder() -> None: ...

    holder.__annotations__ = {"return": annotation}
    if hasattr(function, "__type_params__"):
        holder.__type_params__ = function.__type_params__  # type: ignore[attr-defined, unused-ignore]
    try:
        hints = get_type_hints(holder, getattr(function, "__globals__", {}), include_extras=True)
    except Exception as error:
        raise TypeError(
            f"the return annotation {annotation!r} of {function.__qualname__} cannot be resolved "
            f"({type(error).__name__}: {error}): define its types at the top level of the module, or name a serializer"
        ) from error
    return hints["return"]


def _annotations_of(function: Any) -> Any:
    if sys.version_info >= (3, 14):
        from annotationlib import Format, get_annotations

        return get_annotations(function, format=Format.FORWARDREF)
    return getattr(function, "__annotations__", {})
