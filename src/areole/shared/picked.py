"""The serializer that a function's return annotation picks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..serializers import Chain, JsonSerializer, ValueSerializer, serializer_for_function

__all__ = ["picked_serializer"]


def picked_serializer(function: Callable[..., Any], of_cache: ValueSerializer) -> ValueSerializer | None:
    """Return what suits the results of `function` where the cache has JSON, compressed or not; None: the cache's own.

    JSON is the default. What it would refuse, a model or a date, is written by pydantic; bytes are stored as they are.
    """
    inner = of_cache.serializer if isinstance(of_cache, Chain) else of_cache
    if not isinstance(inner, JsonSerializer):
        return None
    picked = serializer_for_function(function)
    if picked is None or isinstance(picked, JsonSerializer):
        return None
    return Chain(picked, of_cache.compression) if isinstance(of_cache, Chain) else picked
