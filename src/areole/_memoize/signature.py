"""Call arguments -> one hashable key, by the function's signature.

A call is bound by Python itself: a generated function has the parameters of the function that it stands for, so
keywords, their order and defaults need no normalising, and `f(1, 2)`, `f(1, b=2)` and `f(b=2, a=1)` are one key. The
key of a function of one parameter is the argument, else a tuple with an item for each parameter; `*args` give a tuple,
`**kwargs` a tuple of (name, value) pairs in the order of the call, which the function can see: two orders are two keys.
Nothing is turned into text, so what is not equal does not collide.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from inspect import Parameter
from typing import Any

from .._platform.arguments import check_bool, check_plain

__all__ = ["Shape", "check_key_options", "first_parameter", "shape_of"]

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Shape:
    """A signature as source text: how to write its parameters, its key, and the call.

    `suffix` makes a generated function's other names differ from its parameters'; under it stand `defaults` too, by the
    names that `parameters` has for them. `labels` say what each part of the key is, for messages; so does `name`, which
    function it is. `takes_default`: it can be given an argument by the name `default`.
    """

    parameters: str
    first: str
    key: str
    call: str
    labels: tuple[str, ...]
    suffix: str
    defaults: dict[str, Any]
    name: str
    takes_default: bool

    def explain_key(self, key: Any) -> str:
        """Say which argument makes `key` unhashable, and what to do."""
        parts = (key,) if len(self.labels) == 1 else key
        for label, part in _labelled(self.labels, parts):
            if (culprit := _unhashable_in(part)) is not None:
                return (
                    f"the argument {label!r}, of type {type(culprit).__name__}, is not hashable: pass a hashable one, "
                    "such as a tuple for a list, leave it out of the key with ignore=, or make the key with key="
                )
        return f"the key, of type {type(key).__name__}, is not hashable: key= must return a hashable one"


def _labelled(labels: Sequence[str], parts: Any) -> Iterator[tuple[str, Any]]:
    """Give each part of a key with its label; of keyword arguments, each argument with its own name."""
    for label, part in zip(labels, parts, strict=False):
        if label.startswith("**"):
            yield from part
        else:
            yield label, part


def _unhashable_in(part: Any) -> Any:
    try:
        hash(part)
    except TypeError:
        inner = (_unhashable_in(each) for each in part) if type(part) is tuple else ()
        return next((each for each in inner if each is not None), part)
    return None


def shape_of(
    function: Callable[..., Any],
    *,
    typed: bool = False,
    key: Callable[..., Any] | None = None,
    ignore: Collection[str] = (),
    of_instance: bool = False,
) -> Shape:
    """Work out the shape of `function`; `of_instance` leaves the first parameter out of the key.

    Raises ValueError for names in `ignore` that are no parameters, TypeError for options that exclude each other.
    """
    parameters = _parameters_of(function, of_instance)
    check_key_options(typed, key, ignore)
    _check_ignored(parameters, ignore)
    suffix = _suffix_for(parameters)
    call = ", ".join(map(_passed, parameters))
    in_key = [p for p in parameters[1 if of_instance else 0 :] if p.name not in ignore]
    if key is None:
        text = _key_text(in_key, typed, frozenset(ignore) - {p.name for p in parameters}, suffix)
    else:
        text = f"key_function{suffix}({call})"
    return Shape(
        parameters=_declared(parameters, suffix),
        first=parameters[0].name if parameters else "",
        key=text,
        call=call,
        labels=() if key is not None else tuple("**" * (p.kind is p.VAR_KEYWORD) + p.name for p in in_key),
        suffix=suffix,
        defaults={f"default_{p.name}": p.default for p in parameters if p.default is not p.empty},
        name=getattr(function, "__qualname__", None) or type(function).__qualname__,
        takes_default=any(_takes(p, "default") for p in parameters),
    )


def _parameters_of(function: Callable[..., Any], of_instance: bool) -> Sequence[Parameter]:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:  # some builtins have no signature
        parameters = [Parameter("args", Parameter.VAR_POSITIONAL), Parameter("kwargs", Parameter.VAR_KEYWORD)]
    if of_instance and (not parameters or parameters[0].kind not in _POSITIONAL):
        parameters.insert(0, Parameter("self", Parameter.POSITIONAL_ONLY))
    return parameters


def _takes(p: Parameter, name: str) -> bool:
    return p.kind is p.VAR_KEYWORD or (p.name == name and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))


def first_parameter(function: Callable[..., Any]) -> str:
    """Return the name of the first parameter, or nothing if it cannot be passed by position."""
    parameters = _parameters_of(function, of_instance=False)
    return parameters[0].name if parameters and parameters[0].kind in _POSITIONAL else ""


def check_key_options(typed: bool, key: Callable[..., Any] | None, ignore: Collection[str]) -> None:
    """Raise TypeError for what is no way to make a key, whatever the function is."""
    check_bool("typed", typed)
    if isinstance(ignore, str) or not isinstance(ignore, Collection) or not all(isinstance(n, str) for n in ignore):
        raise TypeError(f"ignore must be a collection of parameters' names, such as ('session',), not {ignore!r}")
    if key is not None and not callable(key):
        raise TypeError(f"key must be a callable of the function's arguments, not {type(key).__name__}")
    if key is not None:
        check_plain("key", key)
    if key is not None and (typed or ignore):
        raise TypeError("key= makes the whole key by itself: do not give typed= or ignore= beside it")


def _check_ignored(parameters: Sequence[Parameter], ignore: Collection[str]) -> None:
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    unknown = sorted(set(ignore) - {p.name for p in parameters})
    if unknown and not takes_any:
        raise ValueError(f"ignore names {', '.join(unknown)}, but the function's parameters are {_names(parameters)}")


def _names(parameters: Sequence[Parameter]) -> str:
    return ", ".join(p.name for p in parameters) or "none"


def _suffix_for(parameters: Sequence[Parameter]) -> str:
    suffix = "_"
    while any(p.name.endswith(suffix) for p in parameters):
        suffix += "_"
    return suffix


def _declared(parameters: Sequence[Parameter], s: str) -> str:
    """Write the parameters as in a `def`, with names for the defaults."""
    parts: list[str] = []
    for i, p in enumerate(parameters):
        before = parameters[i - 1].kind if i else None
        if before is p.POSITIONAL_ONLY and p.kind is not p.POSITIONAL_ONLY:
            parts.append("/")
        if p.kind is p.KEYWORD_ONLY and before not in (p.KEYWORD_ONLY, p.VAR_POSITIONAL):
            parts.append("*")
        star = "*" if p.kind is p.VAR_POSITIONAL else "**" if p.kind is p.VAR_KEYWORD else ""
        parts.append(star + p.name + ("" if p.default is p.empty else f"=default_{p.name}{s}"))
    if parameters and parameters[-1].kind is Parameter.POSITIONAL_ONLY:
        parts.append("/")
    return ", ".join(parts)


def _passed(p: Parameter) -> str:
    if p.kind is p.VAR_POSITIONAL:
        return f"*{p.name}"
    if p.kind is p.VAR_KEYWORD:
        return f"**{p.name}"
    return f"{p.name}={p.name}" if p.kind is p.KEYWORD_ONLY else p.name


def _key_text(parameters: Sequence[Parameter], typed: bool, ignored_extra: Collection[str], s: str) -> str:
    parts = [_part(p, ignored_extra, s) for p in parameters]
    if typed:
        parts += [_types(p, part, s) for p, part in zip(parameters, tuple(parts), strict=True)]
    return parts[0] if len(parts) == 1 else f"({', '.join(parts)})"


def _part(p: Parameter, ignored_extra: Collection[str], s: str) -> str:
    if p.kind is not p.VAR_KEYWORD:
        return p.name
    if ignored_extra:
        return f"tuple{s}((n{s}, v{s}) for n{s}, v{s} in {p.name}.items() if n{s} not in ignored{s})"
    return f"tuple{s}({p.name}.items()) if {p.name} else ()"


def _types(p: Parameter, part: str, s: str) -> str:
    if p.kind is p.VAR_POSITIONAL:
        return f"tuple{s}(map{s}(type{s}, {part}))"
    if p.kind is p.VAR_KEYWORD:
        return f"tuple{s}(type{s}(v{s}) for n{s}, v{s} in ({part}))"
    return f"type{s}({part})"
