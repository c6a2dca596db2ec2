"""areole: a concurrent in-memory cache for Python builds with and without a GIL.

Where to read, from the bottom up:

    _requirements            whether this interpreter can run areole at all
    errors, typing           what is raised; types in signatures, RemovalCause
    _arguments               checks of arguments, and what their messages say
    _refcount, _weak         deferred reference counts; records that go with an object
    _caller, _entry          who leads and who waits; one key's value, and the fill that is on its way
    _imports                 which thread waits for a module that another one imports
    _index                   key -> entry: a dict, or an AtomicDict
    _waiter                  how a task waits for a flight, on whatever loop
    _expiry, _stats          ttl -> deadline; counters, CacheInfo
    _base                    lookups, removal, the listener
    _tidier                  expired values leave a cache without limits
    _exceptions              copies of what a fill raised, for those who waited
    _single_flight           the protocol by which a miss is filled once
    _resilience, _background the policy by which a cache stays up, and its entries; the threads of background fills
    _serving, _staying_up    what a resilient cache serves when a hit fails: stale values, refreshing ahead, timeouts
    _keys, _memoize          call arguments -> key; the wrappers that the decorator generates
    _methods                 methods, and which wrapper a decorated thing gets
    _decorator, _cache       `memoize`; AtomicCache
    aio                      AsyncAtomicCache, and how event loops take part in single flight
    _filing                  what comes first, by a number that says when
    _policy, _deadlines      who goes next: lru, s3fifo; who expires next
    _bounded                 the index with limits: weighing, evicting
    _sweeper                 the one background thread, if asked for
    _storage                 Storage, whose values its users set
    serializers, _serialised Cache: a Storage for any value, kept as bytes
    _dropped                 results of functions that were cached, and have been freed
    _cached                  `cached`: functions memoized in a cache that is there already
    testing                  for tests of what uses areole
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
