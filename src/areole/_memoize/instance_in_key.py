"""What stands in a class for a function whose cache is not the instance's: that, or the class, is a part of the key."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

from .instances import OF_INSTANCE, attribute_of_function

__all__ = ["CachedClassMethod", "CachedMethod", "FunctionInClass"]


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


class _BoundCall(functools.partial[Any]):
    """A cached method together with its instance, or class; made again at each access, as bound methods are."""

    __class__ = property(lambda self: MethodType)

    @property
    def __self__(self) -> Any:
        return self.args[0]

    @property
    def __func__(self) -> Any:
        return self.func

    def __getattr__(self, name: str) -> Any:
        found = attribute_of_function(self.func.__wrapped__, self.func, name)  # type: ignore[attr-defined]
        return functools.partial(found, *self.args) if name in OF_INSTANCE else found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BoundCall) and self.func is other.func and self.args[0] is other.args[0]

    def __hash__(self) -> int:
        return hash((self.func, id(self.args[0])))

    def __repr__(self) -> str:
        owner = self.args[0]  # its class is named, and no more: an instance is part of the key
        return f"<memoized {self.func.__qualname__} of {(owner if isinstance(owner, type) else type(owner)).__name__}>"

    def __reduce__(self) -> Any:
        return getattr, (self.args[0], self.func.__name__)


# Every class has a module and a doc string in its own namespace: here they are the function's.
_BoundCall.__module__ = property(lambda self: self.func.__module__)  # type: ignore[assignment]
_BoundCall.__doc__ = property(lambda self: self.func.__doc__)  # type: ignore[assignment]


class CachedMethod(FunctionInClass):
    """A cached function in a class body."""

    def __init__(self, wrapper: Any) -> None:
        functools.update_wrapper(self, wrapper)
        self.__wrapped__ = self._function = wrapper.__wrapped__
        self._unbound = wrapper

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self._unbound if instance is None else _BoundCall(self._unbound, instance)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self._unbound(*args, **kwargs)


class CachedClassMethod(CachedMethod):
    """The same for a classmethod."""

    __class__ = property(lambda self: classmethod)

    @property
    def __func__(self) -> Any:
        return self._function

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return _BoundCall(self._unbound, type(instance) if owner is None else owner)
