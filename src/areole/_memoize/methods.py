"""Memoized methods: what stands in a class, and which wrapper a decorated thing gets.

A function that is decorated in a class body becomes a `MemoizedMethod`: a descriptor whose `obj.method` is a bound
method of Python's own, over the results of `obj` (see `_instances`). That it is in a class body is seen by the
qualified name of the function, or of one that it wraps, and else by the frames that the decorator is called from.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from types import FrameType, FunctionType, MethodType
from typing import Any, Final, TypeAlias

from .._core.entry import Empty
from .._platform.arguments import is_async_function
from .instances import InstanceMemo, asks_nobody, attribute_of_function
from .signature import first_parameter
from .wrapper import HELPERS, AnyCache, Memo, define_get

__all__ = [
    "BoundFunction",
    "FunctionInClass",
    "MemoizedClassMethod",
    "MemoizedMethod",
    "check_suitable",
    "full_name_of",
    "memoize",
    "stands_in_class_body",
]

ClassName: TypeAlias = tuple[Any, str]
"""Of a class: its module's name, and its qualified name."""


# ---- what looks like a function


class FunctionInClass:
    """An object in a class's namespace that passes for the function that it stands for: `_function`."""

    _function: Callable[..., Any]
    _unbound: Any

    __class__ = property(lambda self: FunctionType)

    def __getattr__(self, name: str) -> Any:
        if name in ("_function", "_unbound"):  # a copy that is being made
            raise AttributeError(name)
        return attribute_of_function(self._function, self._unbound, name)

    def __repr__(self) -> str:
        return f"<memoized {self.__qualname__}>"

    def __reduce__(self) -> str:
        return str(self.__qualname__)  # by its name: below a `@staticmethod` it is what that name gives


class BoundFunction(functools.partial[Any]):
    """A decorated method together with its instance, or class; made again at each access, as bound methods are."""

    __class__ = property(lambda self: MethodType)

    of_arguments = ("cache_key", "invalidate", "peek", "refresh")  # helpers that take the instance too, first

    def __init_subclass__(cls) -> None:
        """Show the function's own: every class has a module, and a doc string, if only None, in its own namespace."""
        cls.__module__ = property(lambda self: self.func.__module__)  # type: ignore[assignment]
        cls.__doc__ = property(lambda self: self.func.__doc__)  # type: ignore[assignment]

    @property
    def __self__(self) -> Any:
        return self.args[0]

    @property
    def __func__(self) -> Any:
        return self.func

    def __getattr__(self, name: str) -> Any:
        found = attribute_of_function(self.func.__wrapped__, self.func, name)  # type: ignore[attr-defined]
        return functools.partial(found, *self.args) if name in self.of_arguments else found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BoundFunction) and self.func is other.func and self.args[0] is other.args[0]

    def __hash__(self) -> int:
        return hash((self.func, id(self.args[0])))

    def __repr__(self) -> str:
        owner = self.args[0]  # its class is named, and no more: an instance is part of the key
        return f"<memoized {self.func.__qualname__} of {(owner if isinstance(owner, type) else type(owner)).__name__}>"

    def __reduce__(self) -> Any:
        return getattr, (self.args[0], self.func.__name__)


# ---- methods


class MemoizedMethod(FunctionInClass):
    """A memoized function defined in a class body.

    `obj.method(...)` and `Class.method(obj, ...)` use the results of `obj`. Called directly, as below a `@staticmethod`
    or a `@property`, it finds out whether its first argument is an instance: see `_memo_for`.
    """

    def __init__(
        self,
        cache: AnyCache,
        function: Callable[..., Any],
        parameters: dict[str, Any],
        classes: frozenset[ClassName] = frozenset(),
    ) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._memo = InstanceMemo(cache, function, parameters, in_table=parameters.get("results") == "table")
        self._unbound = self._memo.unbound
        self._classes = classes
        self._first = first_parameter(function)
        self._decided: Memo | None = None
        self._is_from_elsewhere = bool(classes - _classes_by_name(function))

    def __set_name__(self, owner: type, name: str) -> None:
        self._classes |= {(owner.__module__, owner.__qualname__)}

    _namespace: dict[str, Any] | None = None  # of the `__get__` that was generated

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self._bind(instance)

    def _bind(self, instance: object) -> Any:
        if instance is None:
            # Of a function from elsewhere, as in `parse = memoize(json.loads)`, only each call can tell: a helper
            # that the class keeps, or a method.
            return self if self._is_from_elsewhere else self._unbound
        found = self._memo.results_of(instance)
        names = self._namespace
        if names is not None and names["known"] is Empty and found.is_in_dict and self._may_know(type(instance)):
            names["known"] = type(instance)
        return MethodType(found.method, instance)

    def _may_know(self, cls: type) -> bool:
        """Say whether `cls` has this itself, and asks nobody: no subclass is to be kept alive by its base's method."""
        return vars(cls).get(self.__name__) is self and asks_nobody(cls)

    # ---- called directly

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        memo = self._decided or self._memo_for(args, kwargs)
        return (self._unbound if memo is self._memo else self._plain[1])(*args, **kwargs)

    @functools.cached_property
    def _plain(self) -> tuple[Memo, Any]:
        """What takes the first argument for an argument like all others."""
        memo = Memo(self._memo.cache, self._function, self._memo.parameters)
        return memo, memo.make_wrapper()

    def _memo_for(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Memo:
        """Find out whether the first argument is an instance, whose results are told apart by identity.

        It is, if it is one of the class that this was defined in, unless that has it as a staticmethod. Of other
        objects the parameter's name says it.
        """
        first = args[0] if args else kwargs.get(self._first)
        cls = next(
            (each for each in _classes_of_object(first) if (each.__module__, each.__qualname__) in self._classes), None
        )
        if self._is_from_elsewhere:
            return self._memo_for_this_call(cls, args)
        if cls is None and any(self._is_static_in(each) for each in map(_find_class, self._classes) if each):
            self._decided = self._plain[0]
            return self._decided
        if cls is not None:
            self._decided = self._plain[0] if self._is_static_in(cls) else self._memo
            return self._decided
        return self._memo if self._first in ("self", "cls") else self._plain_unless_unknown(args)

    def _memo_for_this_call(self, cls: type | None, args: tuple[Any, ...]) -> Memo:
        """Decide for a function from elsewhere, which may get an instance now and another argument next time."""
        if cls is not None:
            return self._plain[0] if self._is_static_in(cls) else self._memo
        if self._first:
            return self._memo if self._first in ("self", "cls") else self._plain[0]
        known = [_find_class(each) for each in self._classes]
        is_related = any(each is None or _shares_attribute(each, type(args[0])) for each in known) if args else False
        return self._plain_unless_unknown(args) if is_related else self._plain[0]

    def _plain_unless_unknown(self, args: tuple[Any, ...]) -> Memo:
        first = args[0] if args else None
        if not self._first and args and _has_equality(first):
            raise TypeError(
                f"{self._memo.cache.name}: cannot tell whether the first argument, of type {type(first).__name__}, is "
                "the instance or an argument like others: put memoize above the other decorators, or have them keep "
                "the function's signature by functools.wraps"
            )
        return self._plain[0]

    def _is_static_in(self, cls: type) -> bool:
        statics = [each for each in vars(cls).values() if isinstance(each, staticmethod)]
        return any(form is self for each in statics for form in _unwrapped(each))

    def _helper(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        memo = self._decided or self._memo_for(args, kwargs)
        return getattr(memo, name)(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name == "cache":
            return self._memo.cache if self._is_plain else self._memo.cache_of_all
        if name in HELPERS:
            is_of_all = name.startswith("cache_") and name != "cache_key"
            return getattr(self._memo, name) if is_of_all else functools.partial(self._helper, name)
        return super().__getattr__(name)

    @property
    def _is_plain(self) -> bool:
        if self._is_from_elsewhere and self._memo.twins.objects():
            return False
        return self._decided is not self._memo and (self._decided is not None or self._first not in ("self", "cls"))


class MemoizedClassMethod(MemoizedMethod):
    """A memoized classmethod: the class is the instance."""

    __class__ = property(lambda self: classmethod)

    @property
    def __func__(self) -> Any:
        return self._function

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self._bind(type(instance) if owner is None else owner)

    def _memo_for(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Memo:
        return self._memo


# ---- a method's `__get__`, generated: it is half of a hit


_GET: Final = """
def __get__(self, instance, owner=None):
    try:
        if owner is known and (found := instance.slot)() is instance:
            return MethodType(found.method, instance)
        found = instance.__dict__[slot_name]
        if found() is instance:
            return MethodType(found.method, instance)
    except (AttributeError, KeyError, TypeError):
        pass
    return bind(instance)
"""
"""`instance.slot` is the fastest way to look there. But where nothing is there it asks the `__getattr__` of the class,
which may do anything: call the method again, for one. So it is for one class alone, `known`, that has none."""


_GET_IN_TABLE: Final = """
def __get__(self, instance, owner=None):
    found = table.get(id(instance))
    if found is not None and found() is instance:
        return MethodType(found.method, instance)
    return bind(instance)
"""


def _make_method(cache: AnyCache, function: Any, parameters: dict[str, Any], classes: frozenset[ClassName]) -> Any:
    kind = type("MemoizedMethod", (MemoizedMethod,), {"__doc__": MemoizedMethod.__doc__})
    method = kind(cache, function, parameters, classes)
    memo = method._memo
    method._namespace = {"bind": method._bind, "known": Empty, "slot": memo.slot, "table": memo.table}
    source = _GET_IN_TABLE if memo.in_table else _GET
    kind.__get__ = define_get(source, method._namespace)  # type: ignore[attr-defined]
    return method


# ---- which kind a decorated thing gets


def memoize(make_cache: Callable[..., AnyCache], function: Any, parameters: dict[str, Any]) -> Any:
    """Wrap `function`, which may be a classmethod or staticmethod, by the kind of thing it is.

    `make_cache(fill, name=..., is_async=...)` makes the cache; `parameters` has `typed`, `key` and `ignore`, and what
    else `cache_parameters` is to tell.
    """
    inner = function.__func__ if isinstance(function, classmethod | staticmethod) else function
    check_suitable(inner, allows_single_use=parameters.get("allow_single_use", False))
    fill = functools.partial(_refuse_direct_fill, full_name_of(inner))
    make_cache = functools.partial(make_cache, fill, name=full_name_of(inner), is_async=is_async_function(inner))
    if isinstance(function, classmethod):
        return MemoizedClassMethod(make_cache(index="dict"), inner, parameters)
    if inner is function and (classes := classes_of(function)):
        return _make_method(make_cache(index="dict"), inner, parameters, classes)
    wrapper = Memo(make_cache(), inner, parameters).make_wrapper()
    return wrapper if inner is function else staticmethod(wrapper)


def classes_of(function: Any) -> frozenset[ClassName]:
    """Return the names of the classes in whose bodies `function`, or what it wraps, stands; none: it is no method."""
    if isinstance(function, MethodType):  # it has its instance
        return frozenset()
    return _class_body_around() | _classes_by_name(function)


def _classes_by_name(function: Any) -> frozenset[ClassName]:
    functions = [each for each in _unwrapped(function) if inspect.isfunction(each)]
    outer = [(each.__module__, each.__qualname__.rpartition(".")[0]) for each in functions]
    return frozenset(each for each in outer if each[1] and not each[1].endswith("<locals>"))


MAX_FRAMES: Final = 10
"""So many decorators may have been called between a class body and the one that is called last."""


def _class_body_around() -> frozenset[ClassName]:
    """Return the class in whose body the running calls of decorators stand: not every function tells its own."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == __name__.partition(".")[0]:
        frame = frame.f_back
    for _ in range(MAX_FRAMES):
        if frame is None:
            break
        if not frame.f_code.co_flags & inspect.CO_OPTIMIZED:  # the body of a class or module
            names = frame.f_locals
            is_class = names is not frame.f_globals and "__qualname__" in names
            return frozenset([(names.get("__module__"), names["__qualname__"])] if is_class else ())
        frame = frame.f_back
    return frozenset()


def stands_in_class_body(function: Any) -> bool:
    """Say whether `function`, decorated now, is to become a method, as far as can be told."""
    return bool(classes_of(function))


def _unwrapped(function: Any) -> Iterator[Any]:
    """Give `function`, what it wraps, and so on."""
    for _ in range(100):  # more is a circle
        yield function
        inner = getattr(function, "__wrapped__", None)
        function = function.func if inner is None and isinstance(function, functools.partial) else inner
        if function is None:
            return


def _classes_of_object(first: object) -> tuple[type, ...]:
    return (*type(first).__mro__, *(first.__mro__ if isinstance(first, type) else ()))


def _find_class(name: ClassName) -> type | None:
    """Return the class of this name, if it can be reached by it."""
    found: Any = sys.modules.get(name[0])
    for part in name[1].split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) else None


def _shares_attribute(cls: type, other: type) -> bool:
    """Say whether `other` may be made from `cls`, by its attributes: instances of both may call the same method."""
    own = [each for each in vars(cls).values() if hasattr(each, "__get__") or callable(each)]
    return any(any(value is each for each in own) for base in other.__mro__ for value in vars(base).values())


def _has_equality(instance: object) -> bool:
    """Say whether another object may be equal: one of a class of the user's with an `__eq__`."""
    return type(instance).__eq__ is not object.__eq__ and type(instance).__module__ != "builtins"


def full_name_of(function: Any) -> str:
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return f"{getattr(function, '__module__', None)}.{name}"


def _refuse_direct_fill(name: str, key: object) -> Any:
    raise TypeError(f"{name}: this cache belongs to a memoized function, which alone can fill it: call the function")


def check_suitable(function: Any, decorator: str = "memoize", allows_single_use: bool = False) -> None:
    if isinstance(function, property | functools.cached_property):
        kind = type(function).__name__
        raise TypeError(f"{decorator} takes no {kind}: put @{kind} above {decorator}, which takes the function itself")
    if not callable(function):
        raise TypeError(f"{decorator} takes a function, a method or a callable, not {type(function).__name__}")
    if allows_single_use:
        return
    if any(inspect.isgeneratorfunction(form) or inspect.isasyncgenfunction(form) for form in _forms_of(function)):
        raise TypeError(
            f"{full_name_of(function)} is a generator function: memoized, its first caller would use up what all "
            "others get. Return a list or a tuple instead"
        )


def _forms_of(function: Any) -> list[Any]:
    """Return what may say which kind of function this is: itself, and its `__call__` if it is an object."""
    return [function] if isinstance(function, type) else [function, type(function).__call__]
