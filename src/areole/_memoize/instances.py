"""The results of a memoized method: each instance has its own, found by identity, that do not keep it alive.

Where they are:

    in the instance's `__dict__`   under a private name, so that results which refer back to the instance are a cycle
                                   that the collector sees
    in a table of the method       for an instance without a `__dict__`, for a class, for one of several instances that
                                   share a `__dict__`, and with `results="table"`. An instance leaves the table when it
                                   is freed; results that refer to their instance keep it alive there.

What stands there is a `Holding`, with an `InstanceMethod`. That is what a bound method of Python's own, a
`types.MethodType`, calls, and what has `obj.method.invalidate` and the like. It does not lead back to the Holding, nor
to the instance but by a weak reference, so that all of it is freed with the instance at once.

Who finds one checks whose it is, because user code moves `__dict__`s about: a copy made with `__dict__.update` has its
original's, and an id in the table may be a dead instance's. Two checks are enough:

    at `obj.method`    the reference in what was found leads to `obj`: the helpers of its method are about `obj`
    at the call        the entries that it was made for are still those in the `__dict__` of the first argument:
                       `copy.deepcopy(obj.method)` is the method of a copy, with the original's InstanceMethod
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import sys
import weakref
from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any, NoReturn

from .._index.bounded import BoundedIndex
from .._platform.locks import run_locked
from .._platform.weak import DroppingRef, WeakTable
from ..typing import CacheInfo
from .wrapper import HELPERS, AnyCache, Memo

__all__ = ["CacheOfInstances", "InstanceMemo", "InstanceMethod", "asks_nobody", "attribute_of_function"]

_serial = itertools.count(1)

_OF_CODE = ("__builtins__", "__closure__", "__code__", "__defaults__", "__globals__", "__kwdefaults__")


def attribute_of_function(function: Any, wrapper: Any, name: str) -> Any:
    """Return what `function`, memoized by `wrapper`, has under `name`; of its code, what the user has written."""
    return getattr(inspect.unwrap(function) if name in _OF_CODE else wrapper, name)


class Holding:
    """What stands in an instance's `__dict__`, or in the table: its results, and the method over them.

    Called, it gives the instance, or None: a hit saves an attribute by that. All of one method are equal, so that two
    instances are equal by their `__dict__`s once both have been called.
    """

    __slots__ = ()
    cache: AnyCache
    entries: Any
    memo: InstanceMemo
    method: InstanceMethod

    if TYPE_CHECKING:

        def __call__(self) -> Any: ...

    @property
    def is_in_dict(self) -> bool:
        return self.method.func is not self.memo._bound_in_table

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Holding) and self.memo is other.memo

    def __hash__(self) -> int:
        return hash(self.memo)

    def __repr__(self) -> str:
        return f"<results of {self.memo.cache.name}>"

    def __reduce__(self) -> Any:
        return type(None), ()  # what a `__reduce_ex__` of the user's hands out leaves None, which says nothing of us


class _WeakHolding(Holding, DroppingRef):
    __slots__ = ("cache", "entries", "memo", "method")


class _StrongHolding(Holding):
    """For an instance with a `__dict__` that takes no weak references: a cycle that the collector sees."""

    __slots__ = ("cache", "entries", "instance", "memo", "method")

    def __init__(self, instance: object) -> None:
        self.instance = instance

    def __call__(self) -> Any:
        return self.instance


class InstanceMethod(functools.partial[Any]):
    """A memoized method as one instance has it: called with the instance, and the arguments."""

    __slots__ = ("_cache", "_memo", "_owner")

    def belong_to(self, memo: InstanceMemo, cache: AnyCache, owner: Callable[[], Any]) -> None:
        # Declared here: a class's annotations would be taken for the method's.
        self._memo, self._cache, self._owner = memo, cache, owner

    __class__ = property(lambda self: FunctionType)

    @property
    def cache(self) -> AnyCache:
        """The cache of this instance alone."""
        return self._cache

    def cache_info(self) -> CacheInfo:
        """Return the counters of the method, over all instances, and how many results this one has."""
        return self._cache.cache_info()

    def cache_clear(self) -> None:
        """Forget the results of this instance. The counters, which are the method's over all instances, go on."""
        self._cache.clear()

    def __getattr__(self, name: str) -> Any:
        if name in _OF_INSTANCE:
            instance = self._owner()
            if instance is None:
                raise ReferenceError(f"{self._memo.cache.name}: the instance that this method is of has been freed")
            return functools.partial(getattr(self._memo, name), instance)
        return attribute_of_function(self._memo.function, self._memo.unbound, name)

    def __repr__(self) -> str:
        return f"<memoized {self.__qualname__}>"


_OF_INSTANCE = ("cache_key", "invalidate", "peek", "refresh")

# Every class has a module and a doc string in its own namespace: here they are the function's.
InstanceMethod.__module__ = property(lambda self: self._memo.function.__module__)  # type: ignore[assignment]
InstanceMethod.__doc__ = property(lambda self: self._memo.function.__doc__)  # type: ignore[assignment]


# ---- the generated functions: what differs from a plain function's is where the entries are


_OF_FIRST = """try:
        found{s} = {first}.__dict__[slot{s}]
        if found{s}() is not {first}:
            found{s} = results_of{s}({first})
    except (AttributeError{s}, KeyError{s}, TypeError{s}):
        found{s} = results_of{s}({first})"""

# `.slot` is the fastest way to look in the `__dict__`. But it asks the user's `__getattribute__`, and `__getattr__`
# where nothing is there, for a name that is ours. So it is for instances of classes without them: see `asks_nobody`.

_IN_DICT = """try:
        if {first}.slot{s}.entries is not entries{s}:
            entries{s} = results_of{s}({first}).entries
    except AttributeError{s}:
        entries{s} = results_of{s}({first}).entries"""

_IN_DICT_NOTING_HITS = """try:
        found{s} = {first}.slot{s}
        if found{s}.entries is not entries{s}:
            found{s} = results_of{s}({first})
            entries{s} = found{s}.entries
    except AttributeError{s}:
        found{s} = results_of{s}({first})
        entries{s} = found{s}.entries"""

_IN_DICT_OF_WHO_ASKS = """try:
        found{s} = {first}.__dict__[slot{s}]
        if found{s}.entries is not entries{s}:
            found{s} = results_of{s}({first})
            entries{s} = found{s}.entries
    except (AttributeError{s}, KeyError{s}, TypeError{s}):
        found{s} = results_of{s}({first})
        entries{s} = found{s}.entries"""

_IN_TABLE = """try:
        found{s} = table{s}[id{s}({first})]
        if found{s}() is not {first}:
            found{s} = results_of{s}({first})
    except KeyError{s}:
        found{s} = results_of{s}({first})
    entries{s} = found{s}.entries"""


class InstanceMemo(Memo):
    """What a memoized method offers: its first argument says whose results are meant."""

    of_instance = True

    def __init__(
        self, cache: AnyCache, function: Callable[..., Any], parameters: dict[str, Any], in_table: bool = False
    ) -> None:
        super().__init__(cache, function, parameters)
        self.slot = sys.intern(f"_{getattr(function, '__name__', 'call')} results {next(_serial)}")
        self.in_table = in_table
        self.table: dict[int, Holding] = {}
        self.twins: WeakTable[None] = WeakTable()
        self.unbound = self.make_wrapper()
        self.cache_of_all = CacheOfInstances(self)
        self.unbound.cache = self.cache_of_all
        self._explain = self.shape.explain_key

    # ---- finding and making

    def results_of(self, instance: object) -> Holding:
        """Return the results of `instance`, made now if it has none."""
        try:
            found: Holding | None = instance.__dict__[self.slot]
        except (AttributeError, KeyError):
            found = self.table.get(id(instance))
        if isinstance(found, Holding) and found() is instance:
            return found
        while True:
            found = self._find(instance)
            if found is not None:
                return found
            home, place = self._home_of(instance)
            made = self._make(instance, home)
            placed = run_locked(self.cache._index.lock, self._place, instance, home, place, made)
            if placed is not None:
                return placed

    def _find(self, instance: object) -> Holding | None:
        """An instance that is in the table stays there, whatever becomes of those that it shares a `__dict__` with."""
        attributes: Any = getattr(instance, "__dict__", None)
        in_dict = attributes.get(self.slot) if type(attributes) is dict else None
        in_table = self.table.get(id(instance))
        if in_table is None or in_table() is not instance:
            return in_dict if isinstance(in_dict, Holding) and in_dict() is instance else None
        if isinstance(in_dict, Holding) and in_dict() is None:  # left by one that shared it, and has been freed
            run_locked(self.cache._index.lock, self._drop_dead, attributes)
        return in_table

    def _drop_dead(self, attributes: dict[str, Any]) -> None:
        found = attributes.get(self.slot)
        if isinstance(found, Holding) and found() is None:
            del attributes[self.slot]

    def _home_of(self, instance: object) -> tuple[dict[Any, Any], Any]:
        """Return the dict that the results of `instance`, which has none, belong into, and the key."""
        attributes = None if self.in_table else getattr(instance, "__dict__", None)
        if type(attributes) is dict and attributes is instance.__dict__:  # no property that makes one each time
            found = attributes.get(self.slot)
            other = found() if isinstance(found, Holding) else None
            if other is None or getattr(other, "__dict__", None) is not attributes:
                return attributes, self.slot  # free, or left there by a copy
        return self.table, id(instance)

    def _place(self, instance: object, home: dict[Any, Any], place: Any, made: Holding) -> Holding | None:
        """Look once more and store `made`, in one step; return what is in, or None if it belongs elsewhere by now.

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

    def _make(self, instance: object, home: dict[Any, Any]) -> Holding:
        is_in_table = home is self.table
        made: Any = self._refer_to(instance, is_in_table)
        twin = self.cache._twin()
        twin._explain_key = self._explain
        method = InstanceMethod(self._bound_for(instance, is_in_table), twin._entries)
        method.belong_to(self, twin, weakref.ref(instance) if isinstance(made, _WeakHolding) else made)
        made.memo, made.cache, made.entries, made.method = self, twin, twin._entries, method
        self.twins.add_if_absent(twin, None)
        if not is_in_table:
            leave_results_out_of_copies(type(instance))
        return made  # type: ignore[no-any-return]

    def _refer_to(self, instance: object, is_in_table: bool) -> Holding:
        try:
            if is_in_table:
                return _WeakHolding.to(instance, self.table)
            return _WeakHolding(instance)
        except TypeError:
            if not is_in_table:
                return _StrongHolding(instance)
        raise TypeError(f"{self.cache.name}: {_explain_homeless(type(instance))}")

    # ---- what it offers

    def find_cache(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AnyCache:
        return self.results_of(args[0] if args else kwargs[self.shape.first]).cache

    def caches(self) -> list[AnyCache]:
        """Return the caches of all living instances, and the one of calls without an instance."""
        return [self.cache, *self.twins.objects()]

    def cache_info(self) -> CacheInfo:
        """Return the counters so far, and how many results all living instances have, and what these weigh.

        `maxsize` and `max_bytes` are each instance's.
        """
        infos = [each.cache_info() for each in self.caches()]
        size = None if infos[0].size_in_bytes is None else sum([each.size_in_bytes or 0 for each in infos])
        return infos[0]._replace(currsize=sum([each.currsize for each in infos]), size_in_bytes=size)

    def cache_clear(self) -> None:
        """Forget all results of all instances, and start all counters at 0 again."""
        self.cache_of_all.clear()
        self.cache._reset_counters()

    # ---- the functions

    def _reach(self, key: str) -> tuple[dict[str, str], dict[str, Any]]:
        return self._reach_by(_OF_FIRST, key)

    def _reach_by(self, find_results: str, key: str) -> tuple[dict[str, str], dict[str, Any]]:
        s, first = self.shape.suffix, self.shape.first
        entries = f"found{s}.entries" if find_results is _OF_FIRST else f"entries{s}"
        found = f"found{s}" if "found{s}" in find_results else f"results_of{s}({first})"
        parts = {"find_results": find_results.format(s=s, first=first), "entry": f"{entries}[{key}]"}
        parts["find_cache"] = f"cache{s} = {found}.cache"
        if isinstance(self.cache._index, BoundedIndex):  # each twin has a policy of its own
            parts["count_hit"] = f"{found}.cache._on_hit(entry{s})"
        return parts, {"slot": self.slot, "results_of": self.results_of, "table": self.table, "id": id}

    def _bound_for(self, instance: object, is_in_table: bool) -> Any:
        """Return what an InstanceMethod calls with its results."""
        if is_in_table:
            return self._bound_in_table
        return self._bound_in_dict if asks_nobody(type(instance)) else self._bound_in_dict_of_who_asks

    @functools.cached_property
    def _bound_in_dict(self) -> Any:
        is_bounded = isinstance(self.cache._index, BoundedIndex)
        return self._make_bound(_IN_DICT_NOTING_HITS if is_bounded else _IN_DICT, attributes=True)

    @functools.cached_property
    def _bound_in_dict_of_who_asks(self) -> Any:
        return self._make_bound(_IN_DICT_OF_WHO_ASKS)

    @functools.cached_property
    def _bound_in_table(self) -> Any:
        return self._make_bound(_IN_TABLE)

    def _make_bound(self, find_results: str, attributes: bool = False) -> FunctionType:
        parameters = self.shape.parameters
        separator = ", " if "/" in parameters.split(", ") else ", /, "
        return self.generate(
            functools.partial(self._reach_by, find_results),
            parameters=f"entries{self.shape.suffix}{separator}{parameters}",
            attributes={f"slot{self.shape.suffix}": self.slot} if attributes else {},
        )


_PLAIN_TYPES = (object, BaseException, int, float, complex, str, bytes, bytearray, tuple, list, dict, set, frozenset)
_PLAIN_GETS = frozenset(vars(each)["__getattribute__"] for each in _PLAIN_TYPES if "__getattribute__" in vars(each))


def asks_nobody(cls: type) -> bool:
    """Say whether an instance of `cls` gives an attribute, or AttributeError if it has none, without user code."""
    spaces = [vars(each) for each in cls.__mro__]
    get = next(each["__getattribute__"] for each in spaces if "__getattribute__" in each)
    return any(get is each for each in _PLAIN_GETS) and not any("__getattr__" in each for each in spaces)


class CacheOfInstances:
    """What `Class.method.cache` is: what can be done with the results of all instances together."""

    def __init__(self, memo: InstanceMemo) -> None:
        self._memo = memo
        self.name = memo.cache.name
        self.caches = memo.caches

    def clear(self) -> None:
        """Forget all results of all instances; the counters go on."""
        for cache in self.caches():
            cache.clear()

    def sweep(self) -> int:
        """Take out the results of all instances that have expired; return how many."""
        return sum([cache.sweep() for cache in self.caches()])

    def cache_info(self) -> CacheInfo:
        """Return the counters so far, and how many results all living instances have."""
        return self._memo.cache_info()

    @property
    def size_in_bytes(self) -> int:
        """What the results of all instances weigh; see `AtomicCache.size_in_bytes`."""
        return sum([cache.size_in_bytes for cache in self.caches()])

    def __len__(self) -> int:
        return sum(map(len, self.caches()))

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}: {len(self)} values>"

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(self._explain(name))

    def __getitem__(self, key: object) -> NoReturn:
        raise TypeError(self._explain("[key]"))

    def __contains__(self, key: object) -> NoReturn:
        raise TypeError(self._explain("in"))

    def __iter__(self) -> NoReturn:
        raise TypeError(self._explain("iteration"))

    def _explain(self, what: str) -> str:
        name = self._memo.unbound.__name__
        return (
            f"{self.name}: each instance has a cache of its own, and the class's, of them all, cannot do {what}: use "
            f"obj.{name}.cache, or Class.{name}.invalidate, .peek or .refresh, which take the instance first"
        )


def _explain_homeless(cls: type) -> str:
    """Say why instances of `cls` can have no results, and what works."""
    can_be_given_one = not issubclass(cls, tuple | int | bytes)  # those take no such slot, whatever their subclass says
    remedy = (
        f"Give {cls.__name__} one (weakref_slot=True of a dataclass with slots, '__weakref__' in its __slots__), or use"
        if can_be_given_one
        else "Use"
    )
    return (
        f"the results of a memoized method belong to their instance, and one of {cls.__name__} has no place for them: "
        f"no __dict__ and no slot for weak references. {remedy} areole.cached(Storage(max_items=...)), which makes the "
        "instance a part of the key: equal instances then share results, and are kept alive with them"
    )


# ---- copies and pickles of instances


def leave_results_out_of_copies(cls: type) -> None:
    """Have pickles and copies of the instances of `cls` leave out their results, by a `__reduce_ex__` of its own.

    What a `__getstate__` or `__reduce__` of the user's hands out, state and arguments, is looked through too, one level
    deep. A `__copy__` of the user's that copies the `__dict__` copies results too: nobody's, whom the copy never asks.
    """
    if getattr(cls.__reduce_ex__, "leaves_results_out", False):
        return
    with contextlib.suppress(Exception):
        # A class that lets nothing be set, by whatever its metaclass raises, pickles results as None, under their name.
        cls.__reduce_ex__ = _ReduceWithoutResults(cls)  # type: ignore[method-assign, assignment]


class _ReduceWithoutResults:
    """A `__reduce_ex__` for a class: what the class did before, without results of memoized methods.

    Through an instance it is a routine of C, as `object.__reduce_ex__` is: it is not among the methods in Python.
    """

    leaves_results_out = True

    def __init__(self, cls: type) -> None:
        own = cls.__dict__.get("__reduce_ex__")
        self.own: Any = own.own if isinstance(own, _ReduceWithoutResults) else own  # another thread's, set meanwhile
        self.__doc__ = object.__reduce_ex__.__doc__
        self.__name__ = "__reduce_ex__"

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        if instance is None:
            return self
        return functools.partial(self, instance).__call__

    def __call__(self, instance: Any, protocol: Any, /) -> Any:
        cls = type(instance)
        if self.own is not None:
            return _without_results(self.own.__get__(instance, cls)(protocol), cls, protocol)
        # It may stand in other classes too, made from this one's `__dict__`. Of a class and a base the base counts.
        holders = [each for each in cls.__mro__ if each.__dict__.get("__reduce_ex__") is self]
        above: Any = super(holders[-1], instance) if holders else None
        reduced = above.__reduce_ex__(protocol) if holders else object.__reduce_ex__(instance, protocol)
        return _without_results(reduced, cls, protocol)


def _without_results(reduced: Any, cls: type, protocol: int) -> Any:
    """Take the results out of the arguments and the state in what a `__reduce_ex__` gave."""
    if type(reduced) is not tuple or len(reduced) < 2:
        return reduced
    arguments = _stripped(reduced[1])
    if arguments is not reduced[1]:
        reduced = (reduced[0], arguments, *reduced[2:])
    if len(reduced) < 3:
        return reduced
    state = reduced[2]
    if type(state) is tuple and len(state) == 2:  # (__dict__, slots)
        attributes = _stripped(state[0])
        state = (attributes or None, state[1]) if attributes is not state[0] else state
    else:
        state = _stripped(state)
    if not state and state is not reduced[2] and _is_reduced_by_python(cls):  # as Python has it without attributes
        if protocol < 2:
            return reduced[:2]
        state = None if getattr(cls, "__getstate__", None) is _GETSTATE else state
    return (*reduced[:2], state, *reduced[3:])


_GETSTATE = getattr(object, "__getstate__", None)


def _is_reduced_by_python(cls: type) -> bool:
    found = [vars(each)["__reduce_ex__"] for each in cls.__mro__[:-1] if "__reduce_ex__" in vars(each)]
    is_ours = all(isinstance(each, _ReduceWithoutResults) and each.own is None for each in found)
    return is_ours and cls.__reduce__ is object.__reduce__  # type: ignore[comparison-overlap]


def _stripped(state: Any, depth: int = 1) -> Any:
    if depth and (type(state) is tuple or type(state) is list):
        parts = [_stripped(each, depth - 1) for each in state]
        is_same = all(part is each for part, each in zip(parts, state, strict=True))
        return state if is_same else type(state)(parts)
    if type(state) is not dict:
        return state
    kept = {name: value for name, value in list(state.items()) if not isinstance(value, Holding)}
    if depth:
        kept = {name: _stripped(value, depth - 1) for name, value in kept.items()}
    is_same = len(kept) == len(state) and all(kept[name] is value for name, value in list(state.items()))
    return state if is_same else kept


assert set(_OF_INSTANCE) < set(HELPERS)
