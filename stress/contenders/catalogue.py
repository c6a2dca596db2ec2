"""All contenders, in the order of the table's columns."""

from __future__ import annotations

from .contender import Contender
from .loops import AreoleAsync, AsyncLru, CacheboxAsync, MokaAsync, TheineAsync
from .others import (
    AtomicLru,
    Cachebox,
    Cachetools,
    CachetoolsCondition,
    Cereggii,
    LruCache,
    Moka,
    TheineCache,
    TheineMemoize,
)
from .ours import AreoleMapping, AreoleMemoize, AreoleStorage
from .rows import LOOP_ROWS, THREAD_ROWS
from .stranger import Stranger

__all__ = ["all_contenders", "contender_called", "rows_for"]


def all_contenders() -> list[Contender]:
    return [
        AreoleMapping(),
        AreoleMemoize(),
        AreoleStorage(),
        LruCache(),
        Cereggii(),
        Cachetools(),
        CachetoolsCondition(),
        TheineMemoize(),
        TheineCache(),
        Cachebox(),
        Moka(),
        AtomicLru(),
        AreoleAsync(),
        AsyncLru(),
        MokaAsync(),
        TheineAsync(),
        CacheboxAsync(),
    ]


def contender_called(name: str) -> Contender:
    if ":" in name:
        return Stranger(name)
    return {contender.name: contender for contender in all_contenders()}[name]


def rows_for(contender: Contender) -> tuple[str, ...]:
    return LOOP_ROWS if contender.is_async else THREAD_ROWS
