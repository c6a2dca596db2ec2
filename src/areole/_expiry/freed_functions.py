"""FreedFunctions: the results of a function that was `cached` leave the cache once the function has been freed.

Nobody can read them any more, as each key begins with the function's `KeyNamespace`, which equals nothing else. Without
this a notebook cell that is run again and again, or a closure made per request, would fill its cache with them.

A function is noted as freed by a weak reference whose callback is `dict.setdefault`: one call of C code, since it may
run anywhere, in a finalizer or under any lock. What it leaves is removed by later operations that store something in
the cache, and by `sweep`. That work is bounded: an operation removes at most REMOVED_AT_ONCE entries, and looks through
at most LOOKED_AT_ONCE; a look at all of them begins only after one operation per LOOKED_AT_EACH entries, so that a fill
costs the same on average, however many there are. Only the copy of the references to all entries, with which a look
begins, takes longer the more there are.

No lock is needed: the atomic steps relied on are those of dicts and deques whose keys are compared by C code (see
`_platform.locks`). The dict is empty where there is nothing to do, so that this is one look:

    1. an operation finds the last entry removed, and takes MORE out       3. it looks for entries once more
    2. another one makes known what it has found, and then puts MORE in    -- so one of the two puts it in.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from .._platform.locks import run_locked
from .._platform.weak import WeakTable

if TYPE_CHECKING:
    from .._core.entry import Entry

__all__ = ["FreedFunctions", "KeyNamespace"]

REMOVED_AT_ONCE: Final = 32
LOOKED_AT_EACH: Final = 64
LOOKED_AT_ONCE: Final = 1024
PUT_OFF: Final = 64_000
"""How many entries there are taken to be while one thread copies them: the others are not to do so too."""

MORE: Final = "more"


class _Ref(weakref.ref[Any]):
    """A weak reference that is a key of its own, whatever it refers to, and when that is gone too."""

    __slots__ = ()
    __eq__ = object.__eq__
    __hash__ = object.__hash__


class KeyNamespace:
    """The first part of every key of one decorated function, equal to nothing but itself."""

    __slots__ = ("function", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.function: _Ref | None = None
        """A reference to it; it lives as long as there is a key with this."""

    def __repr__(self) -> str:
        return f"<{self.name}>"


class FreedFunctions(dict[Any, None]):
    """Those of one cache, whichever of its views they are cached in; true while there is something to do."""

    __slots__ = ("_found", "_number_of_entries", "_operations", "_unseen", "by_choice", "were_cached")

    def __init__(self) -> None:
        super().__init__()
        self.by_choice: WeakTable[Any] = WeakTable()
        """What functions that choose their cache at each call are in this one."""
        self.were_cached = False  # whether there has been any function
        self._found: deque[Entry] = deque()
        self._unseen: deque[list[Entry]] = deque()  # the parts that are still to be looked through
        self._operations = 0  # since the last look; a count that is lost, as two threads write it, delays the next
        self._number_of_entries = 0  # at the last look

    def watch(self, function: object, namespace: KeyNamespace) -> None:
        """Have the entries of `namespace` removed when `function` has been freed."""
        self.were_cached = True  # before anybody has a key of it
        namespace.function = _Ref(function, self.setdefault)

    def own_fill(self, state: Any, fill: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return what fills the own keys of a read-through cache, and remove some of what was left.

        It refuses the keys of functions, which iterating over the cache gives too: what it made of such a key would be
        taken for the function's result (invariant 1). The fill itself does not remove: it may run in an executor, where
        no listener is to be called.
        """
        if self:
            self.remove_some(state)
        return partial(_fill_own_key, state.name, fill)

    def remove_some(self, state: Any) -> None:
        """Remove a part of what has been left. What a key or the clock raises is not for the caller."""
        if state.index.lock._is_owned():
            return  # called by a finalizer, or a method of a key, in the middle of another operation
        self._operations += 1
        with suppress(Exception):
            if not self._found:
                if not self._unseen and not self._begin_if_due(state):
                    return
                self._look_on()
            self._remove(state, REMOVED_AT_ONCE)

    def remove_all(self, state: Any) -> None:
        while self._unseen:
            self._look_on()
        self._begin(state)
        while self._unseen:
            self._look_on()
        self._remove(state, len(self._found))

    def forget(self) -> None:
        """Drop what has been found: all entries are being removed."""
        self._unseen.clear()
        self._found.clear()
        self._number_of_entries = 0

    def _begin_if_due(self, state: Any) -> bool:
        if not (self._is_due() and run_locked(state.index.lock, self._may_begin)):
            return False
        self._begin(state)
        return True

    def _is_due(self) -> bool:
        return self._operations * LOOKED_AT_EACH >= self._number_of_entries

    def _may_begin(self) -> bool:
        """Allow it to one thread. If that is interrupted, what was noted still is, and the next look is delayed."""
        if not self._is_due():
            return False
        self._operations, self._number_of_entries = 0, max(self._number_of_entries, PUT_OFF)
        return True

    def _begin(self, state: Any) -> None:
        noted = [each for each in list(self) if each is not MORE]  # first: what is freed later asks for another look
        entries = state.index.snapshot()
        self._operations, self._number_of_entries = 0, len(entries)
        self._unseen.extend([entries[n : n + LOOKED_AT_ONCE] for n in range(0, len(entries), LOOKED_AT_ONCE)])
        self[MORE] = None
        for each in noted:
            self.pop(each, None)

    def _look_on(self) -> None:
        """Look through one part, which no other thread has."""
        with suppress(IndexError):
            part = self._unseen.popleft()
            try:
                self._found.extend([entry for entry in part if _is_left(entry.key)])
            except BaseException:  # an interrupt
                self._unseen.append(part)
                raise
            finally:
                self[MORE] = None

    def _remove(self, state: Any, most: int) -> None:
        now = state.clock()
        for _ in range(most):
            try:
                entry = self._found.popleft()
            except IndexError:
                break
            if state.remove_entry(entry):
                state.notify_removed(entry, now)
        if not self._found and not self._unseen:
            self.pop(MORE, None)
            if self._found or self._unseen:  # see the module
                self[MORE] = None


def _namespace_of(key: Any) -> KeyNamespace | None:
    return key[0] if type(key) is tuple and key and type(key[0]) is KeyNamespace else None


def _fill_own_key(name: str, fill: Callable[..., Any], key: Any, **previous: Any) -> Any:
    namespace = _namespace_of(key)
    if namespace is not None:
        raise TypeError(f"{name}: the key is one of {namespace.name}, which is cached here: call that instead")
    return fill(key, **previous)


def _is_left(key: Any) -> bool:
    namespace = _namespace_of(key)
    return namespace is not None and namespace.function is not None and namespace.function() is None
