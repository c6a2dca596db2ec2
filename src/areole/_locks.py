"""How a lock is taken, and the atomic steps on which the library relies.

Every lock of the library but a flight's latch (see `_entry.Flight`) is taken in one way:

    taken: list[bool] = []
    try:
        taken += map(call, (lock.acquire,))
        ...
    finally:
        if taken:
            lock.release()

`run_locked` does that; the hottest operations write it out. `with lock:` is not safe: on CPython 3.14 and later

    1. `__enter__` is called, and takes the lock      3. the handler raises KeyboardInterrupt
    2. a pending signal is looked at, after that call   -- before the block is protected: the lock is held for ever.

Here the lock is taken, and noted in a list that exists already, by one call of C code inside the `try`. So wherever a
signal handler runs, either both has happened or neither.

The atomic steps relied on, each one call of C code or one store, in which no other code runs:

    step                                  builds       why it holds
    load or store of one slot or          all          one pointer, read or written at once
      attribute
    `list += map(call, (acquire,))`       all          the list takes the result of the call without running bytecode
    `dict.pop`, `d[k] = v`, `setdefault`  free-        the dict's own lock is held, and a comparison in Python that lets
      with keys of any type               threaded     it go makes the lookup begin again (not so with a GIL: a
                                                       comparison in Python lets another thread, or code that it calls
                                                       itself, insert the same key into a slot that was passed. There
                                                       every insertion takes the index's lock, see `_index`)
    `dict.pop`, `d[k] = v`, `setdefault`  all          keys that are compared by C code: ints, strings, objects that
      with keys compared in C                          compare by identity (ids, threads, entries)
    `dict.popitem`, `list(d)`,            all          they compare no keys
      `list(d.values())`, `d.copy()`
    `d[k]` (a lookup)                     all          what it returns was in the dict under that key at some moment
    one step of an `itertools.count` or   with a GIL   one call of C code; without a GIL each thread steps its own
      `itertools.repeat`
    `SimpleQueue.put`, `deque.append`,    all          C code that holds its own lock; `put` may be called in a
      `list.append`                                    finalizer and in a signal handler
    `next(map(call, map(call,             all          two calls of C code inside one; a finalizer may run between them,
      (list.pop,)), (x,)))`                            an exception of a signal handler cannot come out there
    the operations of cereggii's atomics  all          compare-and-swap of the processor
    from `finally:` to the call of        all          no signal is looked at between entering the block and the end of
      `release()` in it                                that call. The one place where the library relies on where an
                                                       interpreter looks at signals.

A finalizer, a weak reference's callback, a signal handler and a key's `__eq__` or `__hash__` can run between any two of
these steps, on the same thread, and call the cache. So the locks are re-entrant, and an operation that looks and then
acts checks afterwards that nothing has come between: see `_index` and `_bounded`.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import call
from typing import Any, ParamSpec, TypeVar

__all__ = ["run_locked"]

P = ParamSpec("P")
R = TypeVar("R")


def run_locked(lock: Any, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Call `function` while holding `lock`, which is released again whatever happens, an interrupt too."""
    taken: list[bool] = []
    try:
        taken += map(call, (lock.acquire,))
        return function(*args, **kwargs)
    finally:
        if taken:
            lock.release()
