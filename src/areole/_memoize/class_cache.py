"""CacheOfInstances: what `Class.method.cache` is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from ..typing import CacheInfo

__all__ = ["CacheOfInstances"]


class CacheOfInstances:
    """What can be done with the results of all instances together."""

    def __init__(self, name: str, method_name: str, caches: Callable[[], list[Any]]) -> None:
        self.name = name
        self.caches = caches
        self._method_name = method_name

    def clear(self) -> None:
        """Remove all results of all instances; the counters go on."""
        for cache in self.caches():
            cache.clear()

    def invalidate_tags(self, *tags: str) -> int:
        """Remove the results of all instances that have one of `tags`; return how many there were."""
        return sum([cache.invalidate_tags(*tags) for cache in self.caches()])

    def sweep(self) -> int:
        """Remove the results of all instances that have expired; return how many."""
        return sum([cache.sweep() for cache in self.caches()])

    def cache_info(self) -> CacheInfo:
        """Return the counters so far, and how many results all living instances have, and what these weigh."""
        infos = [each.cache_info() for each in self.caches()]
        size = None if infos[0].size_in_bytes is None else sum([each.size_in_bytes or 0 for each in infos])
        info: CacheInfo = infos[0]
        return info._replace(currsize=sum([each.currsize for each in infos]), size_in_bytes=size)

    @property
    def size_in_bytes(self) -> int:
        """What the results of all instances weigh; see `AtomicCache.size_in_bytes`."""
        return sum([cache.size_in_bytes for cache in self.caches()])

    def __len__(self) -> int:
        return sum(map(len, self.caches()))

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}: {len(self)} values>"

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(self._explain(name))

    def __getitem__(self, key: object) -> NoReturn:
        raise TypeError(self._explain("[key]"))

    def __contains__(self, key: object) -> NoReturn:
        raise TypeError(self._explain("in"))

    def __iter__(self) -> NoReturn:
        raise TypeError(self._explain("iteration"))

    def _explain(self, what: str) -> str:
        name = self._method_name
        return (
            f"{self.name}: each instance has a cache of its own, and the class's, of them all, cannot do {what}: use "
            f"obj.{name}.cache, or Class.{name}.invalidate, .peek or .refresh, which take the instance first"
        )
