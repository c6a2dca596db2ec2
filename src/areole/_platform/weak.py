"""Records that belong to an object by its identity, and go when it goes."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from operator import methodcaller
from typing import Any, Generic, Self, TypeVar

__all__ = ["DroppingRef", "WeakTable"]

T = TypeVar("T")


class DroppingRef(weakref.ref[Any]):
    """A weak reference that takes what stands under its object's id out of a dict when the object dies.

    What does that is C code from end to end (methodcaller, partial, dict.pop), because an id is given to the next
    object at once:

        1. an object dies; its callback, a Python function, is entered
        2. a KeyboardInterrupt arrives there, is printed, and the record stays
        3. a new object gets the same id, and with it the dead object's record.

    Where the collector clears a reference that a finalizer made to its dying object, there is no callback (CPython
    gh-91636): a record that must not be mistaken for another object's is to be checked by calling its reference.
    """

    __slots__ = ("forget",)
    forget: Callable[[], object]

    @classmethod
    def to(cls, obj: object, records: dict[int, Any]) -> Self:
        """Make one. TypeError: `obj` takes no weak references."""
        ref = cls(obj, _forget)
        ref.forget = partial(records.pop, id(obj), None)
        return ref


_forget = methodcaller("forget")


class WeakTable(Generic[T]):
    """A table from objects, by identity, hashable or not, to one record each, for objects without finalizers of users.

    The atomic steps relied on: `dict.setdefault`, `dict.pop`, `list(dict.values())` (see `locks`). A live caller holds
    `obj`, so its id is its own.
    """

    __slots__ = ("records",)

    def __init__(self) -> None:
        self.records: dict[int, tuple[DroppingRef, T]] = {}

    def add_if_absent(self, obj: object, record: T) -> T:
        """Give `obj` this record unless it has one; return the one it has. TypeError: takes no weak references."""
        return self.records.setdefault(id(obj), (DroppingRef.to(obj, self.records), record))[1]

    def find(self, obj: object) -> T | None:
        """Return the record of `obj`, or None; one that a dead object has left under its id is dropped."""
        found = self.records.get(id(obj))
        if found is not None and found[0]() is not obj:
            self.discard(obj)
            return None
        return None if found is None else found[1]

    def discard(self, obj: object) -> None:
        """Forget `obj`, if it has a record."""
        self.records.pop(id(obj), None)

    def objects(self) -> list[Any]:
        """Return the living objects that have a record, at some moment."""
        return [obj for ref, _ in list(self.records.values()) if (obj := ref()) is not None]
