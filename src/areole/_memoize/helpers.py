"""What a decorated function offers besides being called: `invalidate`, `refresh`, `peek`, `cache_key` and more."""

from __future__ import annotations

import functools
from collections.abc import Callable
from keyword import iskeyword
from types import FunctionType, MappingProxyType
from typing import Any

from .._platform.generated import define
from .signature import KeyOptions, Signature

__all__ = ["HELPERS", "Helpers"]

HELPERS = ("cache", "cache_clear", "cache_info", "cache_key", "cache_parameters", "invalidate", "peek", "refresh")

_KEY = "def cache_key({parameters}): return {key}"


class Helpers:
    """The helpers of one decorated function; each takes the arguments that the function takes."""

    cache: Any
    is_freed = False
    """Whether generated functions have to be freed, also where that costs something."""

    def __init__(self, function: Callable[..., Any], options: KeyOptions, *, is_method: bool = False) -> None:
        self.function = function
        self.signature = Signature.of(function, options, is_method=is_method)
        expression, names = self.key_expression()
        self.cache_key: Callable[..., Any] = self.define(_KEY, names, key=expression)
        if self.signature.takes_default:
            self.peek = self._peek_without_default  # type: ignore[method-assign]

    # ---- the helpers

    def invalidate(self, /, *args: Any, **kwargs: Any) -> bool:
        """Remove the result of this call; say whether there was one, stored or running."""
        cache, key = self.locate(args, kwargs)
        invalidated: bool = cache.invalidate(key)
        return invalidated

    def refresh(self, /, *args: Any, **kwargs: Any) -> Any:
        """Make this call again, store and return its result; others get the old one meanwhile."""
        cache, key = self.locate(args, kwargs)
        return cache._fills.refresh(key, functools.partial(self.function, *args, **kwargs))

    def peek(self, /, *args: Any, default: Any = None, **kwargs: Any) -> Any:
        """Return the stored result of this call, or `default`; never calls, never waits, counts as no use."""
        cache, key = self.locate(args, kwargs)
        return cache.peek(key, default)

    def _peek_without_default(self, /, *args: Any, **kwargs: Any) -> Any:
        """Return the stored result of this call, or None; never calls, never waits, counts as no use.

        `default` is an argument of the function. For another answer than None: `cache.peek(cache_key(...), answer)`.
        """
        cache, key = self.locate(args, kwargs)
        return cache.peek(key, None)

    def locate(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        """Return the cache that a call with these arguments uses, and its key."""
        return self.cache, self.cache_key(*args, **kwargs)

    # ---- the generated functions

    def key_expression(self) -> tuple[str, dict[str, Any]]:
        """Write the key of a call, and the names that this needs besides the signature's."""
        return self.signature.key, {}

    def decorate(self, wrapper: Any) -> Any:
        """Make `wrapper` look like the function, and give it the helpers."""
        functools.update_wrapper(wrapper, self.function)
        for each in HELPERS:
            setattr(wrapper, each, getattr(self, each))
        return wrapper

    def define(
        self,
        template: str,
        names: dict[str, Any] | None = None,
        attributes: dict[str, str] | MappingProxyType[str, str] = MappingProxyType({}),
        **parts: str,
    ) -> FunctionType:
        """Define what `template` comes to with these parts and the signature's; lines that stay empty are dropped."""
        signature, s = self.signature, self.signature.suffix
        text = template.format(**{"parameters": signature.parameters, "call": signature.call, "s": s} | parts)
        source = "\n".join(line for line in text.splitlines() if line.strip())
        all_names = {name + s: value for name, value in (signature.names | (names or {})).items()}
        made = define(source, all_names, attributes, self.is_freed)
        made.__qualname__ = signature.function_name  # Python names it where arguments do not fit
        return made

    def function_name(self) -> str:
        """Return a name for a generated function."""
        name = getattr(self.function, "__name__", "")
        return name if name.isascii() and name.isidentifier() and not iskeyword(name) else "memoized"
