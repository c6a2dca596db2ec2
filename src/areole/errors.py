"""What areole raises. Messages name the cache and the type of the key, never the key itself, and say what to do."""

__all__ = ["CacheClosedError", "FillDeadlockError", "FillTimeout", "RecursiveFillError"]


class RecursiveFillError(RuntimeError):
    """Raised where the fill of a key asks, in the same thread or task, for that key: it would wait for itself."""


class FillDeadlockError(RuntimeError):
    """Raised where a wait would be for ever.

    It would close a cycle of fills, each of which waits for the next one; or block the event loop that the fill runs
    on; or hold up the cache, as it comes from a key's own `__eq__` or `__hash__`, or a finalizer.
    """


class FillTimeout(TimeoutError):
    """Raised in a waiter whose `wait_timeout` has passed, and in any lookup whose `hard_timeout` (see Resilience) has.

    The fill itself goes on.
    """


class CacheClosedError(RuntimeError):
    """Raised by what is not allowed on a closed cache."""
