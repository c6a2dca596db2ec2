"""The errors of a lookup that cannot wait for a fill, or does not wait any longer."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from ..errors import FillDeadlockError, FillTimeout, RecursiveFillError

__all__ = ["WaitError", "wait_error"]

WaitError: TypeAlias = Literal["own key", "cycle", "inside a key", "import", "lock", "timeout", "ended"]

_ERRORS: Final[dict[WaitError, tuple[type[Exception], str]]] = {  # what happened, then what to change
    "own key": (
        RecursiveFillError,
        "its fill, in the same thread or task, asked for the same key. A fill must not look up its own key.",
    ),
    "cycle": (
        FillDeadlockError,
        "its fill is waiting, directly or through other fills, for this thread, task or event loop. "
        "Look keys up in the same order in every fill, and use `await` on an event loop.",
    ),
    "inside a key": (
        FillDeadlockError,
        "a method of a key, a finalizer or a signal handler asked for it while its thread had locked a cache. "
        "Move the lookup out of that method.",
    ),
    "import": (
        FillDeadlockError,
        "its fill is waiting for the import of a module that this thread is executing. "
        "Move the lookup into a function, and call it when the module has been imported.",
    ),
    "lock": (
        FillDeadlockError,
        "its fill would wait for the lock that the running fill has. "
        "Pass a re-entrant lock, such as threading.RLock(), or look the key up outside of that fill.",
    ),
    "timeout": (
        FillTimeout,
        "its fill did not finish within {seconds} s. It is still running: try again, or raise the timeout.",
    ),
    "ended": (
        RuntimeError,
        "its fill was ended by {kind}, which no caller asked for. Try again.",
    ),
}


def wait_error(error: WaitError, cache_name: str, key: object, **details: object) -> Exception:
    """Make the error for a lookup of `key`."""
    error_type, text = _ERRORS[error]
    text = text.format(**details)
    return error_type(f"{cache_name}: cannot wait for a key of type {type(key).__name__}: {text}")
