"""What a fill of many keys gives: the value of each, or what stands for one that has failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import KeyLeftOutError
from .exceptions import raise_unchanged

__all__ = ["Failed", "outcomes_of", "result_of"]


class Failed:
    """Stands among the values of a batch for a key whose fill has failed."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


def outcomes_of(keys: Sequence[Any], given: Any) -> list[Any]:
    """Return the value of each key, or Failed, of what `fill_many` has returned for them."""
    if isinstance(given, Mapping):
        return [given[key] if key in given else Failed(KeyLeftOutError(key)) for key in keys]
    if not isinstance(given, Sequence) or isinstance(given, str | bytes | bytearray):
        raise TypeError(
            f"fill_many must return a mapping, or a sequence of values in the order of the keys, not "
            f"{type(given).__name__}"
        )
    if len(given) != len(keys):
        raise ValueError(
            f"fill_many returned {len(given)} values for {len(keys)} keys: return one for each, in the order of the "
            "keys, or a mapping, which may leave keys out"
        )
    return list(given)


def result_of(outcome: Any) -> Any:
    """Return a value; raise what stands for one."""
    try:
        if type(outcome) is Failed:
            raise_unchanged(outcome.error)
        return outcome
    finally:
        del outcome  # a traceback keeps this frame, which must not lead back to the exception
