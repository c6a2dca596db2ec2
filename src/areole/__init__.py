"""areole: a concurrent cache for Python, made for builds without a GIL, and as good with one.

    import areole

    @areole.AtomicCache.memoize(ttl=60)
    def price(item): ...          # of all callers at once, exactly one runs it; the others wait for its result

`AtomicCache` and `AsyncAtomicCache` compute what is missing, for threads and for tasks; `memoize` makes them of a
function or a method. `Storage` and `Cache` keep what you set, within limits; `cached` memoizes functions in one that is
there already. `Resilience` keeps values coming where their source is slow or down. What contributors need is in
docs/architecture.md.
"""

from ._platform import requirements  # noqa: F401  (first: it says clearly where areole cannot be used)

# isort: split

from ._cache.atomic_cache import AsyncAtomicCache, AtomicCache
from ._cache.sentinels import CACHE_MISS, DEFAULT_TTL, CacheMissSentinel, DefaultTTLSentinel
from ._cache.serialized_cache import Cache
from ._cache.storage import Storage
from ._cached.cached import cached
from ._fill.resilience import Resilience
from .errors import AreoleError, CacheClosedError, FillDeadlockError, FillTimeout, RecursiveFillError
from .typing import CacheInfo, RemovalCause

__all__ = [
    "CACHE_MISS",
    "DEFAULT_TTL",
    "AreoleError",
    "AsyncAtomicCache",
    "AtomicCache",
    "Cache",
    "CacheClosedError",
    "CacheInfo",
    "CacheMissSentinel",
    "DefaultTTLSentinel",
    "FillDeadlockError",
    "FillTimeout",
    "RecursiveFillError",
    "RemovalCause",
    "Resilience",
    "Storage",
    "cached",
]
__version__ = "0.1.0"
