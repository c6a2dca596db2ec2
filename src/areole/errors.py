"""What areole raises. Messages name the cache and the type of the key, never the key itself, and say what to do."""

__all__ = [
    "AreoleError",
    "BackendError",
    "BackendTimeout",
    "CacheClosedError",
    "FillDeadlockError",
    "FillFailedError",
    "FillTimeout",
    "KeyLeftOutError",
    "RecursiveFillError",
    "SerializationError",
    "SettingsError",
]


class AreoleError(Exception):
    """The base class of areole's own errors. A wrong argument raises a built-in one."""


class RecursiveFillError(AreoleError, RuntimeError):
    """The fill of a key asked for that same key, in the same thread or task: it would wait for itself."""


class FillDeadlockError(AreoleError, RuntimeError):
    """A caller would have to wait for ever.

    Its wait would close a cycle of fills, each of which waits for the next one; or block the event loop that the fill
    needs; or it comes from a key's `__eq__` or `__hash__`, a finalizer or a signal handler, inside a step of the cache;
    or from the top level of a module that the fill imports.
    """


class FillTimeout(AreoleError, TimeoutError):
    """A caller has waited longer than `wait_timeout`, or than the `hard_timeout` of a Resilience.

    The fill goes on.
    """


class FillFailedError(AreoleError):
    """Stands for the exception of a fill that cannot be copied, and that two threads must not share.

    The caller whose fill raised gets the exception itself; waiters, and later lookups of a stored exception, get a
    copy. If there is none, since the exception has a `__del__` or is written in C or Rust, they get that object on a
    build with a GIL, and this error, which names its type and text, on one without.
    """


class KeyLeftOutError(AreoleError, KeyError):
    """A `fill_many` has left the key out of the mapping that it returned. It has the key, as every KeyError has."""


class CacheClosedError(AreoleError, RuntimeError):
    """The cache is closed: only `get`, `number_of_items` and `size_in_bytes` still work."""


class BackendError(AreoleError):
    """The store behind a SharedCache cannot be reached, has failed, or was not asked since it failed before.

    What its client library raised is chained. Whether a change was made is not known.
    """


class BackendTimeout(BackendError, TimeoutError):
    """The store behind a SharedCache did not answer in time."""


class SerializationError(AreoleError, ValueError):
    """A serializer refuses a value, which it would not give back equal, or bytes, of which it can make no value."""


class SettingsError(AreoleError, ValueError):
    """A URL, or what the environment says, names no backend or serializer: the message says which part is wrong."""
