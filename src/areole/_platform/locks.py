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

The atomic steps relied on. Each is one call of C code, or one store, in which no other code runs, on builds with and
without a GIL unless something else is said. "Compared in C" are keys and items that need no `__eq__` in Python: ints,
strings, and objects that compare by identity (threads, entries, waits).

Slots
    loading or storing one slot or          one pointer, which is read or written at once
      attribute
    operations of cereggii's atomics        compare-and-swap of the processor

Dicts
    `d[k]`, a lookup                        what it returns was in the dict under that key at some moment
    `d[k] = v`, `setdefault`, `pop`         no other code runs: neither a lock nor the thread can be given up
      of keys compared in C
    the same, of keys of any type           only without a GIL: the dict's own lock is held, and where a comparison in
                                            Python gives it up, the lookup begins again. With a GIL that comparison
                                            lets another thread, or code that it calls itself, insert the same key
                                            into a slot that was passed. So every insertion takes the index's lock
                                            there: see `_index`
    `popitem`, `copy`, `list(d)`,           they compare no keys (`update`: from a dict, into an empty one)
      `list(d.values())`, `update`

Lists, deques, sets, queues
    `list.append`, `pop`, `copy`            one call on one list; `sum` and the like work on a copy
    `list.remove`, `set.add`, `discard`     of items compared in C
    `in` a set, `list(set)`, `set &= set`   the same; the last gives a set a table as large as what is in it
    `deque.append`, `pop`, `popleft`,       one call on one deque (`extend`: by a list that no other thread has)
      `extend`, `clear`
    `SimpleQueue.put`                       it may also be called in a finalizer and in a signal handler

Iterators
    `next` of an `itertools.count`          one call of C code
    a step of an `itertools.repeat`         only with a GIL; without one, each thread steps its own: see `_stats`
    `length_hint` of one                    reads one number

Calls inside C code
    `list += map(call, (acquire,))`         the list takes the result of the call without running bytecode
    `next(map(call, map(call,               two calls inside one: a finalizer may run between them, an exception of a
      (list.pop,)), (x,)))`                 signal handler cannot come out there
    a weak reference's callback that is     one call, into which no signal handler can come: `dict.setdefault`,
      C code from end to end                `deque.append`, `SimpleQueue.put`, or the `dict.pop` of `_weak`

Signals
    from `finally:` to the call of          no signal is looked at between entering the block and the end of that call.
      `release()` in it                     The one place where the library relies on where an interpreter looks at
                                            signals.

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
