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
from importlib import import_module as _import_module

from ._platform import requirements  # noqa: F401  (first: it says clearly where areole cannot be used)

if _typing.TYPE_CHECKING:
    from ._cache.atomic_cache import AsyncAtomicCache, AtomicCache
    from ._cache.serialized_cache import Cache
    from ._cache.storage import Storage
    from ._cached.cached import cached
    from ._core.accelerator import accelerated
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
    from .shared.cache import SharedCache
    from .typing import CacheInfo, RemovalCause

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
    "accelerated",
    "cached",
    "sources",
]
__version__ = "0.1.0"

_MODULES: _typing.Final = {
    "._cache.atomic_cache": "AsyncAtomicCache AtomicCache",
    "._cache.serialized_cache": "Cache",
    "._cache.storage": "Storage",
    "._cached.cached": "cached",
    "._core.accelerator": "accelerated",
    "._core.sentinels": "CACHE_MISS DEFAULT_TTL CacheMissSentinel DefaultTTLSentinel",
    "._core.sources": "sources",
    "._fill.filled": "NOT_MODIFIED Filled",
    "._fill.resilience": "Resilience",
    ".errors": (
        "AreoleError BackendError CacheClosedError FillDeadlockError "
        "FillTimeout RecursiveFillError SerializationError SettingsError"
    ),
    ".serializers": "Deserializer Serializer",
    ".typing": "CacheInfo RemovalCause",
    ".shared.cache": "SharedCache",
}
"""Where each public name is defined. A module is imported when one of its names is first asked for."""

_WHERE: _typing.Final = {name: module for module, names in _MODULES.items() for name in names.split()}
_SUBMODULES: _typing.Final = ("errors", "serializers", "typing")


def __getattr__(name: str) -> _typing.Any:
    """Import what defines this name; `import areole` alone imports nothing that is not used."""
    if name in _SUBMODULES:
        return _import_module(f".{name}", __name__)
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(_import_module(_WHERE[name], __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})
