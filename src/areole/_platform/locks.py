"""How a lock is taken, and the atomic steps on which the library relies.

Every lock of the library but a flight's latch (see `_core.flight.Flight`) is taken in one way:

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
                                            there: see `_index.dict`
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
acts checks afterwards that nothing has come between: see `_index.dict` and `_index.bounded`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from operator import call
from typing import Any, ParamSpec, TypeVar

from .fork import after_fork_in_child
from .weak import WeakTable

__all__ = ["Guarded", "holds_a_lock", "run_entered", "run_locked"]

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


def run_entered(manager: Any, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Call `function` inside a context manager of the user's, which is left again; what is raised goes on."""
    entered: list[object] = []
    raised: tuple[Any, Any, Any] = (None, None, None)
    try:
        entered += map(call, (manager.__enter__,))
        return function(*args, **kwargs)
    except BaseException as error:
        raised = type(error), error, error.__traceback__
        raise
    finally:
        if entered:
            manager.__exit__(*raised)
        del raised  # the traceback keeps this frame


class Guarded:
    """Has a re-entrant lock, which is freed in the child of a fork, and which `holds_a_lock` knows of.

    For every lock that the fill of another thread may need. With the `lock` of another one it is not known by itself,
    unless it calls `register`.
    """

    __slots__ = ("__weakref__", "lock")
    lock: Any

    def __init__(self, lock: Any = None) -> None:
        self.lock = lock or threading.RLock()
        if lock is None:
            self.register()

    def register(self) -> None:
        _guarded.add_if_absent(self, None)

    def is_held(self) -> bool:
        """Say whether this thread has the lock: a method of a key, a finalizer or a signal handler asks."""
        return bool(self.lock._is_owned())

    def repair_in_child(self) -> None:
        """Repair, in the child of a fork, what a thread that does not exist there was in the middle of."""


_guarded: WeakTable[None] = WeakTable()


def holds_a_lock() -> bool:
    """Say whether this thread holds a lock that a fill may need, so that it must not wait for one.

    1. A's step on X calls a method of a key, which asks Y for what B is filling
    2. B's fill asks X, and waits for the lock that A holds    -- and A waits for B.
    """
    return any(each.is_held() for each in _guarded.objects())


def _free_locks_in_child() -> None:
    """Free the locks of other threads. One that the thread which forked holds is released by it: it goes on here."""
    for each in _guarded.objects():
        if not each.is_held():
            each.lock._at_fork_reinit()
            each.repair_in_child()


after_fork_in_child("locks", _free_locks_in_child)
