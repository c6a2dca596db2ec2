"""Which tiers the lookups of a thread or task pass by."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

__all__ = ["TIERS", "bypass", "passed_by", "switch"]

TIERS: Final = frozenset(("local", "shared"))
_NONE: Final[frozenset[str]] = frozenset()

_passed: Final[ContextVar[Mapping[Any, frozenset[str]] | None]] = ContextVar("areole.bypass", default=None)
"""For the keys of a shared cache, which all views of it have: which of its tiers are passed by."""


class _Switch:
    """See `areole.testing.disabled`."""

    is_off = False


switch: Final = _Switch()


@contextmanager
def bypass(keys: Any, tiers: Collection[str]) -> Iterator[None]:
    """Have lookups within, of the cache that has these keys, pass by these tiers; none are all."""
    unknown = [tier for tier in tiers if tier not in tuple(TIERS)]  # which a list may be, too
    if unknown:
        raise ValueError(f'bypass takes "local", "shared" or both, not {unknown[0]!r}')
    passed = _passed.get() or {}
    token = _passed.set({**passed, keys: passed.get(keys, _NONE) | (frozenset(tiers) or TIERS)})
    try:
        yield
    finally:
        _passed.reset(token)


def passed_by(keys: Any) -> frozenset[str]:
    """Return which tiers of the cache that has these keys a lookup passes by now."""
    if switch.is_off:
        return TIERS
    passed = _passed.get()
    return _NONE if passed is None else passed.get(keys, _NONE)
