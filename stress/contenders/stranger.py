"""A stranger's cache, for which there is no adapter here, as a contender: `--subject package.module:factory`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..stranger import load
from .contender import Cached, Contender
from .outcome import NotOffered

__all__ = ["Stranger"]


class Stranger(Contender):
    """The cache of a factory, which may say as attributes: `is_async`, `fills`, `least_ttl`, `module`, `decorate`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._stranger = load(name)
        self.features = self._stranger.options  # type: ignore[misc]
        for attribute in ("is_async", "fills", "least_ttl", "module"):
            if hasattr(self._stranger.factory, attribute):
                setattr(self, attribute, getattr(self._stranger.factory, attribute))

    def missing(self) -> None:
        return None

    def make_cached(self, function: Callable[..., Any], **options: Any) -> Cached:
        call, offered = self._stranger.make(function, **options)
        offered.pop("get", None)  # no row asks for it
        return Cached(call, **offered)

    def decorate(self, function: Callable[..., Any]) -> Any:
        if not hasattr(self._stranger.factory, "decorate"):
            raise NotOffered("a decorator")
        return self._stranger.factory.decorate(function)
