"""Two caches that areole has no adapter for, asked what they survive; docs/stress.md says how to write your own.

    python -m stress run --subject examples.stress_subjects:DiskCache
    python -m stress.contenders --subject examples.stress_subjects:CashewsMemory

It needs: pip install diskcache cashews
"""

import tempfile
from collections.abc import Callable
from typing import Any


class DiskCache:
    """diskcache.Cache.memoize over a folder of its own."""

    def __init__(self, function: Callable[[Any], Any], ttl: float | None = None) -> None:
        from diskcache import Cache

        self.cache = Cache(tempfile.mkdtemp())
        self.call = self.cache.memoize(expire=ttl)(function)
        self.clear, self.tidy, self.count = self.cache.clear, self.cache.expire, self.cache.__len__

    def invalidate(self, key: Any) -> None:
        self.cache.delete(self.call.__cache_key__(key))


class CashewsMemory:
    """The memory cache of cashews, with the lock that it offers against a stampede: it promises one fill of a key."""

    is_async = True
    not_promised = ()

    def __init__(self, function: Callable[[Any], Any], ttl: float = 60) -> None:
        from cashews import Cache

        self.cache = Cache()
        self.cache.setup("mem://")

        async def of_name(name: str, key: Any) -> Any:
            return await function(key)

        self.of_name = self.cache.cache(ttl=ttl, key="{name}", lock=True)(of_name)
        self.clear = self.cache.clear

    async def call(self, key: Any) -> Any:
        return await self.of_name(repr(key), key)

    async def invalidate(self, key: Any) -> None:
        await self.cache.delete(repr(key))
