"""CACHE_MISS, DEFAULT_TTL and NOT_MODIFIED: objects that stand for themselves, of which there is one each."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Final, Literal

__all__ = ["CACHE_MISS", "DEFAULT_TTL", "CacheMissSentinel", "DefaultTTLSentinel", "NotModifiedSentinel"]

if TYPE_CHECKING:
    # Type checkers narrow `is` and `is not` for the member of an enum, and for no other object.

    class CacheMissSentinel(enum.Enum):
        CACHE_MISS = "CACHE_MISS"

        def __bool__(self) -> Literal[False]: ...

    class DefaultTTLSentinel(enum.Enum):
        DEFAULT_TTL = "DEFAULT_TTL"

    class NotModifiedSentinel(enum.Enum):
        NOT_MODIFIED = "NOT_MODIFIED"

else:

    class _Sentinel:
        """The type of one object, which its name stands for: a copy, or what is unpickled, is that object."""

        __slots__ = ()

        def __new__(cls) -> Any:
            only = getattr(cls, cls._name, None)
            return object.__new__(cls) if only is None else only

        def __reduce__(self) -> Any:
            return type(self), ()

    class CacheMissSentinel(_Sentinel):
        """The type of `CACHE_MISS`, which is false, and is compared with `is`."""

        __slots__ = ()
        _name = "CACHE_MISS"

        def __repr__(self) -> str:
            return "<CacheMiss>"

        def __bool__(self) -> bool:
            return False

    class DefaultTTLSentinel(_Sentinel):
        """The type of `DEFAULT_TTL`."""

        __slots__ = ()
        _name = "DEFAULT_TTL"

        def __repr__(self) -> str:
            return "<DefaultTTL>"

    class NotModifiedSentinel(_Sentinel):
        """The type of `NOT_MODIFIED`."""

        __slots__ = ()
        _name = "NOT_MODIFIED"

        def __repr__(self) -> str:
            return "<NotModified>"

    CacheMissSentinel.CACHE_MISS = CacheMissSentinel()
    DefaultTTLSentinel.DEFAULT_TTL = DefaultTTLSentinel()
    NotModifiedSentinel.NOT_MODIFIED = NotModifiedSentinel()


CACHE_MISS: Final = CacheMissSentinel.CACHE_MISS
"""What `get`, `peek`, `pop` and `ttl_of` of a store return for a key that is not there. Compare with `is`.

The rule for all caches: a miss gives the `default`. That is None in read-through caches and for memoized functions,
where every key can be filled; and CACHE_MISS in stores, where None may be a value that was set.
"""

DEFAULT_TTL: Final = DefaultTTLSentinel.DEFAULT_TTL
"""For `ttl=`: the store's `default_ttl`."""

NOT_MODIFIED: Final = NotModifiedSentinel.NOT_MODIFIED
"""What pickles look up here; `_fill.filled` has the public one, of another type to checkers."""
