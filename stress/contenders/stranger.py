"""A stranger's cache, for which there is no adapter here: `--subject package.module:factory`.

`factory(function, **options)` returns a new cache of `function`, which takes one key. docs/stress.md has the protocol.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any, Final

from .contender import Cached, Contender
from .outcome import NotOffered

__all__ = ["Stranger", "load"]

OPTIONS: Final = frozenset({"ttl", "clock", "max_items", "max_bytes", "item_ttl", "cache_exceptions"})
"""What a factory may take by name. A row that asks for one that it does not take is "not offered"."""

OPERATIONS: Final = ("invalidate", "clear", "count", "size", "contains", "store", "tidy")
"""What the cache may have besides `call`."""


class Stranger(Contender):
    """The cache of a factory, which may say as attributes: `is_async`, `fills`, `least_ttl`, `module`, `decorate`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._factory = load(name)
        self.features = frozenset(inspect.signature(self._factory).parameters) & OPTIONS  # type: ignore[misc]
        for attribute in ("is_async", "fills", "least_ttl", "module"):
            if hasattr(self._factory, attribute):
                setattr(self, attribute, getattr(self._factory, attribute))

    def missing(self) -> None:
        return None

    def make_cached(self, function: Callable[..., Any], **options: Any) -> Cached:
        made = self._factory(function, **options)
        offered = {name: getattr(made, name) for name in OPERATIONS if hasattr(made, name)}
        return Cached(made.call, **offered)

    def decorate(self, function: Callable[..., Any]) -> Any:
        if not hasattr(self._factory, "decorate"):
            raise NotOffered("a decorator")
        return self._factory.decorate(function)  # type: ignore[attr-defined]


def load(name: str) -> Callable[..., Any]:
    """Return what "package.module:factory" names.

    Raises:
        ValueError: if there is no such module, or nothing callable of that name in it.
    """
    module, _, attribute = name.partition(":")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"--subject {name}: {error}. Give package.module:factory, as from this folder") from error
    if not callable(factory):
        raise ValueError(f"--subject {name}: {attribute} is a {type(factory).__name__}, not a factory")
    return factory  # type: ignore[no-any-return]
