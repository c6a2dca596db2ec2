"""What a cached function is called in a store, where other processes must find its results, and nobody else's."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from hashlib import blake2b
from types import ModuleType
from typing import Any, Final

from .._memoize.kinds import classes_of, full_name_of
from .._memoize.signature import Signature
from .wire_keys import canonical

__all__ = ["as_fill", "check_names", "has_own_keys", "key_of_arguments", "key_of_parts", "wire_name_of"]

LONGEST: Final = 120
"""Letters that a name may have: with a digest it has to stand in a store as it is."""

_PART: Final = re.compile(r"[\w./-]{1,60}").fullmatch


def check_names(options: Any) -> None:
    """Check what is given as `name` and `version`."""
    for argument, given in (("name", options.name), ("version", options.version)):
        is_text = isinstance(given, str) or (argument == "version" and type(given) is int)
        if given is not None and not is_text:
            kind = type(given).__name__
            raise TypeError(f"{argument} must be a str{' or an int' * (argument == 'version')}, not {kind}")
        if given is not None and not _PART(str(given)):
            raise ValueError(
                f"{argument} must have 1 to 60 letters, digits, dots, hyphens, slashes or underscores, not {given!r}"
            )
        if given is not None and options.key is not None:
            raise TypeError(f"{argument}= is a part of the key that is made without key=: put it into the key itself")


def wire_name_of(function: Callable[..., Any], options: Any = None, is_bound: bool = False) -> str:
    """Return the name of `function`, which no other function has; raise ValueError if it has none.

    `is_bound`: it is in a class, whose instances, or itself, are no part of the key.
    """
    name = getattr(options, "name", None) or _own_name(function)
    if not is_bound and classes_of(function):
        raise ValueError(
            f"{full_name_of(function)} is a method, whose instance has no name that other processes know: pass key=, "
            "such as key='price:{self.id}:{item}', or put cached above @staticmethod"
        )
    version = getattr(options, "version", None)
    return name if version is None else f"{name}@{version}"


def has_own_keys(signature: Signature) -> bool:
    """Say whether `key=` makes the whole key."""
    return signature.names["key_function"] is not None


def key_of_parts(prefix: str | None, signature: Signature, parts: Any) -> str:
    """Return the key of a call, of the parts that its arguments give."""
    return f"{prefix}{blake2b(canonical((signature.labels, parts)), digest_size=20).hexdigest()}"


def key_of_arguments(name: str, signature: Signature, key: Any) -> str:
    """Return the key, in a shared cache, of a call that has this key in a cache of this process."""
    return key_of_parts(f"{name}:", signature, (key,) if len(signature.key_parts) == 1 else key)


def _own_name(function: Callable[..., Any]) -> str:
    inner: Any = inspect.unwrap(function)
    module, name = getattr(inner, "__module__", None), getattr(inner, "__qualname__", "")
    is_function = inspect.isfunction(inner) or (inspect.isbuiltin(inner) and isinstance(inner.__self__, ModuleType))
    why = None
    if not is_function or not isinstance(module, str):
        why = f"is a {type(inner).__name__}, which has no name of its own"
    elif module == "__main__":
        why = "is in __main__, which is another module in each program"
    elif "<" in name:
        why = f"is called {name.rpartition('.')[2]!r}, or is in a function, so that others may have its name"
    elif len(module) + len(name) > LONGEST:
        why = f"has a name of more than {LONGEST} letters"
    if why is not None:
        raise ValueError(f"{full_name_of(function)} {why}: pass name=, by which all processes know it, or key=")
    return f"{module}:{name}"


def as_fill(call: Callable[..., Any], is_async: bool) -> Callable[..., Any]:
    """Return `call` as a fill, which is given the key."""

    async def fill_async(key: Any, **previous: Any) -> Any:
        return await call(**previous)

    return fill_async if is_async else lambda key, **previous: call(**previous)
