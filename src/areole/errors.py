"""What areole raises. Messages name the cache and the type of the key, never the key itself, and say what to do."""

__all__ = [
    "AreoleError",
    "CacheClosedError",
    "FillDeadlockError",
    "FillFailedError",
    "FillTimeout",
    "RecursiveFillError",
]


class AreoleError(Exception):
    """The base class of all errors that are areole's own; for an argument that will not do, it raises built-in ones."""


class RecursiveFillError(AreoleError, RuntimeError):
    """Raised where the fill of a key asks, in the same thread or task, for that key: it would wait for itself."""


class FillDeadlockError(AreoleError, RuntimeError):
    """Raised where a wait would be for ever.

    It would close a cycle of fills, each of which waits for the next one; or block the event loop that the fill runs
    on; or hold up the cache, as it comes from a key's own `__eq__` or `__hash__`, a finalizer or a signal handler; or
    it comes from the top level of a module that the fill imports.
    """


class FillTimeout(AreoleError, TimeoutError):
    """Raised in a waiter whose `wait_timeout` has passed, and in any lookup whose `hard_timeout` (see Resilience) has.

    The fill itself goes on.
    """


class FillFailedError(AreoleError):
    """Stands for what a fill raised where areole can make no copy of that, and two threads must not share it.

    The caller whose fill raised gets the exception itself. Waiters, and later lookups of a stored one, get a copy
    of it; if there is none, that object itself on a build with a GIL, and this error, which names its type and its
    text, on one without. There is no copy of an exception that has a `__del__` or is written in C or Rust.
    """


class CacheClosedError(AreoleError, RuntimeError):
    """Raised by what is not allowed on a closed cache."""
