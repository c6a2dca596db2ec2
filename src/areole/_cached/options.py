"""What `cached` is given besides the cache, checked."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any

from .._core.sentinels import DefaultTTLSentinel
from .._core.ttl import seconds_of
from .._fill.filled import special_types
from .._fill.under_lock import check_lock, check_lock_for
from .._memoize.key_template import KeyTemplate
from .._memoize.kinds import check_suitable, full_name_of
from .._memoize.signature import KeyOptions, parameter_names
from .._platform.arguments import check_bool, check_plain, check_tags
from ..shared.wire_names import check_names
from ..typing import Tags

__all__ = ["CachedOptions"]


@dataclass(frozen=True, slots=True)
class CachedOptions:
    """The arguments of `cached`, as its docstring explains them."""

    key: Callable[..., Any] | str | None
    skip: Callable[[Any], bool] | None
    exclude: Callable[[Any, Any], bool] | None
    typed: bool
    ttl: Any
    ignore: Collection[str]
    allow_single_use: bool
    lock: Any
    name: str | None
    version: str | int | None
    serializer: Any
    wait: float | timedelta | None
    tags: Tags

    def __post_init__(self) -> None:
        for name in ("skip", "exclude"):
            if getattr(self, name) is not None:
                check_plain(name, getattr(self, name))
        if callable(self.ttl):
            check_plain("ttl", self.ttl)
        elif self.ttl is not None and not isinstance(self.ttl, DefaultTTLSentinel):
            seconds_of(self.ttl)
        KeyOptions(self.typed, _any_text if isinstance(self.key, str) else self.key, self.ignore)
        check_bool("allow_single_use", self.allow_single_use)
        if self.lock is not None:
            check_lock(self.lock)
        if self.wait is not None:
            seconds_of(self.wait, "wait", may_be_zero=True)
        if self.tags is not None and not callable(self.tags):
            check_tags("cached", self.tags)
        check_names(self)

    def check_unshared(self) -> None:
        """Raise TypeError for what means nothing in a cache of this process."""
        for name in ("name", "version", "serializer", "wait"):
            if getattr(self, name) is not None:
                raise TypeError(f"{name}= is for a SharedCache: leave it out where the cache is one of this process")

    def check_function(self, function: Any) -> None:
        """Raise TypeError for what cannot be cached, or not with these options."""
        check_suitable(function, "cached", self.allow_single_use)
        if self.lock is not None:
            check_lock_for(function, full_name_of(function), self.lock)

    def key_options(self, function: Callable[..., Any]) -> KeyOptions:
        """Return how a call of `function` becomes a key. Raise ValueError for a template that does not suit it."""
        key: Any = self.key
        if isinstance(key, str):
            key = KeyTemplate(key, parameter_names(function), full_name_of(function))
        return KeyOptions(self.typed, key, self.ignore)

    @property
    def refused_types(self) -> frozenset[type[Any]]:
        return special_types(self.allow_single_use)

    def excludes(self, key: Any, result: Any) -> bool:
        """Say whether `result` is not to be stored."""
        if self.skip is not None and self.skip(result):
            return True
        return self.exclude is not None and bool(self.exclude(key, result))

    def as_parameters(self) -> dict[str, Any]:
        """Return what `cache_parameters` gives."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


def _any_text(*args: Any, **kwargs: Any) -> str:
    """Stands for a template that has yet to be read."""
    return ""
