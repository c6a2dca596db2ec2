"""areole: a concurrent cache for Python, made for builds without a GIL, and as good with one.

    import areole

    @areole.AtomicCache.memoize(ttl=60)
    def price(item): ...          # of all callers at once, exactly one runs it; the others wait for its result

`AtomicCache` and `AsyncAtomicCache` compute what is missing, for threads and for tasks; `memoize` makes them of a
function or a method. `Storage` and `Cache` keep what you set, within limits; `cached` memoizes functions in one that is
there already. `SharedCache` keeps values where other processes see them. `Resilience` keeps values coming where their
source is slow or down. What contributors need is in docs/architecture.md.
"""

import typing as _typing

from ._platform import requirements  # noqa: F401  (first: it says clearly where areole cannot be used)

# isort: split

from ._cache.atomic_cache import AsyncAtomicCache, AtomicCache
from ._cache.serialized_cache import Cache
from ._cache.storage import Storage
from ._cached.cached import cached
from ._core.sentinels import CACHE_MISS, DEFAULT_TTL, CacheMissSentinel, DefaultTTLSentinel
from ._core.sources import sources
from ._fill.filled import NOT_MODIFIED, Filled
from ._fill.resilience import Resilience
from .errors import (
    AreoleError,
    BackendError,
    CacheClosedError,
    FillDeadlockError,
    FillTimeout,
    RecursiveFillError,
    SerializationError,
    SettingsError,
)
from .serializers import Deserializer, Serializer
from .typing import CacheInfo, RemovalCause

if _typing.TYPE_CHECKING:
    from .shared.cache import SharedCache

__all__ = [
    "CACHE_MISS",
    "DEFAULT_TTL",
    "NOT_MODIFIED",
    "AreoleError",
    "AsyncAtomicCache",
    "AtomicCache",
    "BackendError",
    "Cache",
    "CacheClosedError",
    "CacheInfo",
    "CacheMissSentinel",
    "DefaultTTLSentinel",
    "Deserializer",
    "FillDeadlockError",
    "FillTimeout",
    "Filled",
    "RecursiveFillError",
    "RemovalCause",
    "Resilience",
    "SerializationError",
    "Serializer",
    "SettingsError",
    "SharedCache",
    "Storage",
    "cached",
    "sources",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> _typing.Any:
    """Import what is needed for shared caches when it is first asked for."""
    if name == "SharedCache":
        from .shared.cache import SharedCache

        globals()["SharedCache"] = SharedCache
        return SharedCache
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
