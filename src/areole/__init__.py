"""areole: a concurrent in-memory cache for Python builds with and without a GIL.

Where to read, from the bottom up. Each module imports only from those above it in this list, but for `_decorator`,
which makes the caches of `_cache` and `aio`, and `_cache`, whose property `aio` does.

    _requirements            whether this interpreter can run areole at all
    errors, typing           what is raised; types in signatures, RemovalCause
    _locks                   how a lock is taken, and the atomic steps on which all of this relies
    _arguments               checks of arguments, and what their messages say
    _refcount, _weak         deferred reference counts; records that go with an object
    _caller, _entry          the graph of who waits for whom; one key's value, and the fill that is running for it
    _imports                 which thread waits for a module that another one imports
    _index                   key -> entry: a dict, or an AtomicDict
    _filing                  entries by a number that says when, the least first
    _policy, _deadlines      what is evicted next: lru, s3fifo; what expires next
    _bounded                 the index with limits: weighing, evicting
    _waiter                  how a task waits for a flight, on whatever loop
    _expiry, _stats          ttl -> deadline; counters, CacheInfo
    _tidier, _dropped        what leaves as others are filled: expired values of a cache without limits, and results of
                             `cached` functions that have been freed
    _base                    lookups, removal, the listener
    _exceptions, _results    copies of what a fill raised, for those who waited; results that can be used once
    _single_flight           the protocol by which a miss is filled once
    _resilience, _background the policy by which a cache stays up, and its entries; the threads of background fills
    _serving, _staying_up    what a resilient cache serves when a hit fails: stale values, refreshing ahead, timeouts
    _keys, _memoize          call arguments -> key; the wrappers that the decorator generates
    _instances, _methods     a method's results, by instance; methods, and which wrapper a decorated thing gets
    _decorator, _cache       `memoize`; AtomicCache
    aio                      AsyncAtomicCache, and how event loops take part in single flight
    _sweeper                 the one background thread, if asked for
    _storage                 Storage, whose values its users set
    serializers, _serialised Cache: a Storage for any value, kept as bytes
    _cached                  `cached`: functions memoized in a cache that is there already
    testing                  for tests of what uses areole
    _demo, __main__          the demonstration, `python -m areole`
"""

from . import _requirements  # noqa: F401  (first: it says clearly where areole cannot be used)
from ._cache import AtomicCache
from ._cached import cached
from ._resilience import Resilience
from ._serialised import Cache
from ._stats import CacheInfo
from ._storage import CACHE_MISS, DEFAULT_TTL, CacheMissSentinel, DefaultTTLSentinel, Storage
from .aio import AsyncAtomicCache
from .errors import (
    AreoleError,
    CacheClosedError,
    FillDeadlockError,
    FillTimeout,
    RecursiveFillError,
)
from .typing import RemovalCause

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
