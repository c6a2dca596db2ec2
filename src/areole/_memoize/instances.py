"""The results of a memoized method: each instance has its own, found by identity, that do not keep it alive.

Where they are:

    in the instance's `__dict__`   under a private name, so that results which refer back to the instance are a cycle
                                   that the collector sees
    in a table of the method       for an instance without a `__dict__`, for a class, for one of several instances that
                                   share a `__dict__`, and with `results="table"`. An instance leaves the table when it
                                   is freed; results that refer to their instance keep it alive there.

What stands there is an `InstanceCache`, with an `InstanceMethod`: what a bound method of Python's own, a
`types.MethodType`, calls, and what has `obj.method.invalidate` and the like. That does not lead back to the
InstanceCache, nor to the instance but by a weak reference, so that all of it is freed with the instance at once.

A lookup checks whose InstanceCache it has found, because user code copies and shares `__dict__`s: a copy made with
`__dict__.update` has its original's, and an id in the table may be a dead instance's. Two checks are enough:

    at `obj.method`    the reference in what was found leads to `obj`: the helpers of its method are about `obj`
    at the call        the entries that it was made for are still those in the `__dict__` of the first argument:
                       `copy.deepcopy(obj.method)` is the method of a copy, with the original's InstanceMethod
"""

from __future__ import annotations

import functools
import inspect
import itertools
import sys
import weakref
from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any

from .._index.bounded import BoundedIndex
from .._platform.locks import run_locked
from .._platform.weak import DroppingRef, WeakTable
from .._state.live_caches import live_caches
from ..typing import CacheInfo
from .class_cache import CacheOfInstances
from .copies import LeftOut, leave_results_out_of_copies
from .wrapper import MemoizedFunction

__all__ = [
    "OF_INSTANCE",
    "InstanceCache",
    "InstanceMethod",
    "MethodCaches",
    "attribute_of_function",
    "has_plain_attributes",
]

_serial = itertools.count(1)

_OF_CODE = ("__builtins__", "__closure__", "__code__", "__defaults__", "__globals__", "__kwdefaults__")
OF_INSTANCE = ("cache_key", "invalidate", "peek", "purge", "refresh")  # helpers that take the instance first


def attribute_of_function(function: Any, wrapper: Any, name: str) -> Any:
    """Return what `function`, memoized by `wrapper`, has under `name`; of its code, what the user has written."""
    return getattr(inspect.unwrap(function) if name in _OF_CODE else wrapper, name)


# ---- what an instance has


class InstanceCache(LeftOut):
    """What stands in an instance's `__dict__`, or in the table: its cache, and the method over it.

    Called, it gives the instance, or None: a hit saves an attribute by that. All of one method are equal, so that two
    instances are equal by their `__dict__`s once both have been called.
    """

    __slots__ = ()
    cache: Any
    entries: Any
    caches: MethodCaches
    method: InstanceMethod

    if TYPE_CHECKING:

        def __call__(self) -> Any: ...

    @property
    def is_in_dict(self) -> bool:
        return not isinstance(self, _InTable)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, InstanceCache) and self.caches is other.caches

    def __hash__(self) -> int:
        return hash(self.caches)

    def __repr__(self) -> str:
        return f"<results of {self.caches.cache.name}>"


class _InTable(InstanceCache, DroppingRef):
    __slots__ = ("cache", "caches", "entries", "method")


class _InDict(InstanceCache, weakref.ref[Any]):
    __slots__ = ("cache", "caches", "entries", "method")


class _InDictOfUnreferable(InstanceCache):
    """For an instance that takes no weak references: a cycle that the collector sees."""

    __slots__ = ("cache", "caches", "entries", "instance", "method")

    def __init__(self, instance: object) -> None:
        self.instance = instance

    def __call__(self) -> Any:
        return self.instance


class InstanceMethod(functools.partial[Any]):
    """A memoized method as one instance has it: called with the instance, and the arguments."""

    __slots__ = ("_cache", "_caches", "_instance")

    def belong_to(self, caches: MethodCaches, cache: Any, instance: Callable[[], Any]) -> None:
        # Declared here: a class's annotations would be taken for the method's.
        self._caches, self._cache, self._instance = caches, cache, instance

    __class__ = property(lambda self: FunctionType)

    @property
    def cache(self) -> Any:
        """The cache of this instance alone."""
        return self._cache

    def cache_info(self) -> CacheInfo:
        """Return the counters of the method, over all instances, and how many results this one has."""
        info: CacheInfo = self._cache.cache_info()
        return info

    def cache_clear(self) -> None:
        """Remove the results of this instance. The counters, which are the method's over all instances, go on."""
        self._cache.clear()

    def invalidate_tags(self, *tags: str) -> int:
        """Remove the results of this instance that have one of `tags`; return how many there were."""
        invalidated: int = self._cache.invalidate_tags(*tags)
        return invalidated

    def __getattr__(self, name: str) -> Any:
        if name not in OF_INSTANCE:
            return attribute_of_function(self._caches.function, self._caches.unbound, name)
        instance = self._instance()
        if instance is None:
            raise ReferenceError(f"{self._cache.name}: the instance that this method is of has been freed")
        return functools.partial(getattr(self._caches, name), instance)

    def __repr__(self) -> str:
        return f"<memoized {self.__qualname__}>"


# Every class has a module and a doc string in its own namespace: here they are the function's.
InstanceMethod.__module__ = property(lambda self: self._caches.function.__module__)  # type: ignore[assignment]
InstanceMethod.__doc__ = property(lambda self: self._caches.function.__doc__)  # type: ignore[assignment]


# ---- the generated functions: what differs from a plain function's is where the entries are

_FIND = """try:
        found{s} = %s
        if found{s}%s:
            raise KeyError{s}
    except (AttributeError{s}, KeyError{s}, TypeError{s}):
        found{s} = instance_cache_of{s}({first})"""

_OF_FIRST = _FIND % ("{first}.__dict__[slot{s}]", "() is not {first}")

_BOUND = {
    # The fastest way to look in a `__dict__`. But it asks the user's `__getattribute__`, and `__getattr__` where
    # nothing is there, for a name that is ours. So it is for instances of classes without them.
    "attribute": _FIND % ("{first}.slot{s}", ".entries is not entries{s}") + "\n        entries{s} = found{s}.entries",
    "dict": _FIND % ("{first}.__dict__[slot{s}]", ".entries is not entries{s}")
    + "\n        entries{s} = found{s}.entries",
    "table": _FIND % ("table{s}[id{s}({first})]", "() is not {first}") + "\n    entries{s} = found{s}.entries",
}
"""How a function that is called with an instance's entries, and the instance, gets at its InstanceCache."""


class MethodCaches(MemoizedFunction):
    """A memoized method: its first argument says whose results are meant."""

    def __init__(self, cache: Any, function: Callable[..., Any], parameters: dict[str, Any]) -> None:
        super().__init__(cache, function, parameters, is_method=True)
        self.slot = sys.intern(f"_{getattr(function, '__name__', 'call')} results {next(_serial)}")
        self.uses_table = parameters.get("results") == "table"
        self.table: dict[int, InstanceCache] = {}
        self.living: WeakTable[None] = WeakTable()  # the caches of all living instances
        self._bound: dict[str, FunctionType] = {}
        self.unbound = self.make_wrapper()
        self.unbound.cache = self.cache_of_all = CacheOfInstances(cache.name, self.unbound.__name__, self.caches)
        live = live_caches.find(cache._state)
        if live is not None:
            live.of_instances = weakref.ref(self.cache_of_all)

    # ---- finding and making

    def instance_cache_of(self, instance: object) -> InstanceCache:
        """Return what `instance` has, made now if it has none."""
        while True:
            found = self._find(instance)
            if found is None:
                home, place = self._home_of(instance)
                made = self._make(instance, home)
                found = run_locked(self.cache._state.index.lock, self._place, instance, home, place, made)
            if found is not None:
                return found

    def _find(self, instance: object) -> InstanceCache | None:
        """An instance that is in the table stays there, whatever becomes of those that it shares a `__dict__` with."""
        attributes: Any = getattr(instance, "__dict__", None)
        in_dict = attributes.get(self.slot) if type(attributes) is dict else None
        in_table = self.table.get(id(instance))
        if in_table is None or in_table() is not instance:
            return in_dict if isinstance(in_dict, InstanceCache) and in_dict() is instance else None
        if isinstance(in_dict, InstanceCache) and in_dict() is None:  # of one that shared it, and has been freed
            run_locked(self.cache._state.index.lock, self._drop_dead, attributes)
        return in_table

    def _drop_dead(self, attributes: dict[str, Any]) -> None:
        found = attributes.get(self.slot)
        if isinstance(found, InstanceCache) and found() is None:
            del attributes[self.slot]

    def _home_of(self, instance: object) -> tuple[dict[Any, Any], Any]:
        """Return the dict into which the results of `instance`, which has none, belong, and the key."""
        attributes = None if self.uses_table else getattr(instance, "__dict__", None)
        if type(attributes) is dict and attributes is instance.__dict__:  # no property that makes one each time
            found = attributes.get(self.slot)
            other = found() if isinstance(found, InstanceCache) else None
            if other is None or getattr(other, "__dict__", None) is not attributes:
                return attributes, self.slot  # free, or left there by a copy
        return self.table, id(instance)

    def _place(self, instance: object, home: dict[Any, Any], place: Any, made: InstanceCache) -> InstanceCache | None:
        """Look again and store `made`, in one step; return what is in, or None if it belongs elsewhere by now.

        The lock makes two threads agree, and two instances that share a `__dict__`:

            1. A looks for the results of `a`: there are none     3. A stores those of `a` in the `__dict__`
            2. B looks for those of `b`, which shares it: none    4. B stores those of `b` -- over A's, which are lost
        """
        found = self._find(instance)
        if found is not None:
            return found
        if self._home_of(instance)[0] is not home:
            return None
        home[place] = made
        return made

    def _make(self, instance: object, home: dict[Any, Any]) -> InstanceCache:
        made: Any = self._refer_to(instance, is_in_table=home is self.table)
        cache = self.cache._with_own_entries()
        method = InstanceMethod(self._bound_for(made), cache._state.entries)
        method.belong_to(self, cache, made if isinstance(made, _InDictOfUnreferable) else weakref.ref(instance))
        made.caches, made.cache, made.entries, made.method = self, cache, cache._state.entries, method
        self.living.add_if_absent(cache, None)
        if home is not self.table:
            leave_results_out_of_copies(type(instance))
        return made  # type: ignore[no-any-return]

    def _refer_to(self, instance: object, is_in_table: bool) -> InstanceCache:
        try:
            return _InTable.to(instance, self.table) if is_in_table else _InDict(instance)
        except TypeError:
            if not is_in_table:
                return _InDictOfUnreferable(instance)
        raise TypeError(f"{self.cache.name}: {_explain_homeless(type(instance))}")

    # ---- the helpers

    def locate(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        key = self.cache_key(*args, **kwargs)  # first: it refuses arguments that do not fit
        return self.instance_cache_of(args[0] if args else kwargs[self.signature.first]).cache, key

    def caches(self) -> list[Any]:
        """Return the caches of all living instances, and the one of calls without an instance."""
        return [self.cache, *self.living.objects()]

    def cache_info(self) -> CacheInfo:
        """Return the counters so far, and how many results all living instances have, and what these weigh.

        `maxsize` and `max_bytes` are each instance's.
        """
        return self.cache_of_all.cache_info()

    def invalidate_tags(self, /, *tags: str) -> int:
        """Remove the results of all instances that have one of `tags`; return how many there were."""
        return self.cache_of_all.invalidate_tags(*tags)

    def cache_clear(self) -> None:
        """Remove all results of all instances, and start all counters at 0 again."""
        self.cache_of_all.clear()
        self.cache._state.reset_counters()

    # ---- the functions

    def make_wrapper(self) -> Any:
        """Generate the function that is called with an instance and the arguments."""
        return self.decorate(self._generate(_OF_FIRST, "found{s}.entries[{key}]"))

    def _generate(self, find: str, entry: str, **more: Any) -> FunctionType:
        self.names |= {"slot": self.slot, "instance_cache_of": self.instance_cache_of, "table": self.table}
        is_bounded = isinstance(self.fills.state.index, BoundedIndex)  # each instance has a policy of its own
        return self.generate(
            *self.liveness,
            entry=entry,
            first=find.replace("{first}", self.signature.first),
            before_miss="fills{s} = found{s}.cache._fills",
            note_hit="found{s}.cache._on_hit(entry{s})" if is_bounded else "",
            **more,
        )

    def _bound_for(self, made: InstanceCache) -> FunctionType:
        """Return what the InstanceMethod of `made` calls with its entries."""
        where = "table"
        if made.is_in_dict:
            where = "attribute" if has_plain_attributes(type(made())) else "dict"
        return self._bound.get(where) or self._bound.setdefault(where, self._generate_bound(where))

    def _generate_bound(self, where: str) -> FunctionType:
        parameters, s = self.signature.parameters, self.signature.suffix
        separator = ", " if "/" in parameters.split(", ") else ", /, "
        return self._generate(
            _BOUND[where],
            "entries{s}[{key}]",
            parameters=f"entries{s}{separator}{parameters}",
            attributes={f"slot{s}": self.slot} if where == "attribute" else {},
        )


_PLAIN_TYPES = (object, BaseException, int, float, complex, str, bytes, bytearray, tuple, list, dict, set, frozenset)
_PLAIN_GETS = frozenset(vars(each)["__getattribute__"] for each in _PLAIN_TYPES if "__getattribute__" in vars(each))


def has_plain_attributes(cls: type) -> bool:
    """Say whether an instance of `cls` gives an attribute, or AttributeError if it has none, without user code."""
    spaces = [vars(each) for each in cls.__mro__]
    get = next(each["__getattribute__"] for each in spaces if "__getattribute__" in each)
    return any(get is each for each in _PLAIN_GETS) and not any("__getattr__" in each for each in spaces)


def _explain_homeless(cls: type) -> str:
    """Say why instances of `cls` can have no results, and what works."""
    remedy = (
        f"Give {cls.__name__} one (weakref_slot=True of a dataclass with slots, '__weakref__' in its __slots__), or use"
    )
    if issubclass(cls, tuple | int | bytes):  # those take no such slot, whatever their subclass says
        remedy = "Use"
    return (
        f"the results of a memoized method belong to their instance, and one of {cls.__name__} has no place for them: "
        f"no __dict__ and no slot for weak references. {remedy} areole.cached(Storage(max_items=...)), which makes the "
        "instance a part of the key: equal instances then share results, and are kept alive with them"
    )
