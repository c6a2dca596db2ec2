"""Call arguments -> one hashable key, by the function's signature.

Python itself binds a call: a generated function has the parameters of the function that it stands for. So keywords,
their order and defaults need no normalizing: `f(1, 2)`, `f(1, b=2)` and `f(b=2, a=1)` are one key. The key of a
function of one parameter is the argument, else a tuple with an item per parameter; `*args` give a tuple, `**kwargs` a
tuple of (name, value) pairs in the order of the call, which the function can see. Nothing is turned into text, so
unequal arguments never collide.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from inspect import Parameter
from typing import Any, Final, NamedTuple

from .._platform.arguments import check_bool, check_plain
from .key_template import KeyTemplate

__all__ = ["KeyOptions", "Signature", "first_parameter", "parameter_names"]

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_STARS: dict[Any, str] = {Parameter.VAR_POSITIONAL: "*", Parameter.VAR_KEYWORD: "**"}


MOST_BOUND: Final = 16
"""How many parameters a function may have whose calls are bound in C."""


@dataclass(frozen=True, slots=True)
class KeyOptions:
    """How a call becomes a key, as the user has said it."""

    typed: bool = False
    key: Callable[..., Any] | None = None
    ignore: Collection[str] = ()
    previous: str | None = None

    @property
    def left_out(self) -> Collection[str]:
        """Names of the parameters that are no part of the key."""
        return self.ignore if self.previous is None else (*self.ignore, self.previous)

    def __post_init__(self) -> None:
        ignore, key = self.ignore, self.key
        check_bool("typed", self.typed)
        if isinstance(ignore, str) or not isinstance(ignore, Collection) or not all(isinstance(n, str) for n in ignore):
            raise TypeError(f"ignore must be a collection of parameters' names, such as ('session',), not {ignore!r}")
        if key is None:
            return
        if not callable(key):
            raise TypeError(
                f"key must be a callable of the function's arguments, or a template such as 'user:{{user_id}}', not "
                f"{type(key).__name__}"
            )
        check_plain("key", key)
        if self.typed or ignore:
            raise TypeError("key= makes the whole key by itself: do not give typed= or ignore= beside it")


class Binding(NamedTuple):
    """How a call becomes a key in `hit.c`: a tuple of arguments, or the only one."""

    names: tuple[str, ...]
    defaults: tuple[Any, ...]
    missing: Any
    """Stands among `defaults` where there is none."""
    in_key: bytes
    positional_only: int
    positional: int


@dataclass(frozen=True, slots=True)
class Signature:
    """A function's signature as source text: how to declare its parameters, make its key, and call it.

    `suffix` makes a generated function's other names differ from its parameters'; `names` are those that the text
    needs, without it. `labels` say what each part of the key is.
    """

    function_name: str
    parameters: str
    first: str
    key_parts: tuple[str, ...]
    call: str
    labels: tuple[str, ...]
    suffix: str
    names: dict[str, Any]
    takes_default: bool
    binding: Binding | None

    @classmethod
    def of(cls, function: Callable[..., Any], options: KeyOptions, *, is_method: bool = False) -> Signature:
        """Read the signature of `function`; a method's first parameter is left out of the key.

        Raises ValueError for names in `ignore` that are no parameters.
        """
        parameters = _parameters_of(function, is_method)
        unknown = _unknown_names(options.left_out, parameters)
        suffix = "_"
        while any(p.name.endswith(suffix) for p in parameters):
            suffix += "_"
        call = ", ".join(map(_passed, parameters))
        if isinstance(options.key, KeyTemplate):
            to_key = ", ".join(options.key.parameters)
        else:
            to_key = ", ".join(_passed(p) for p in parameters if p.name != options.previous)
        in_key = [p for p in parameters[1 if is_method else 0 :] if p.name not in options.left_out]
        names = {f"default_{p.name}": p.default for p in parameters if p.default is not p.empty}
        return cls(
            function_name=getattr(function, "__qualname__", None) or type(function).__qualname__,
            parameters=_declaration(parameters, suffix),
            first=parameters[0].name if parameters else "",
            key_parts=(
                (f"key_function{suffix}({to_key})",)
                if options.key
                else _key_parts(in_key, options.typed, unknown, suffix)
            ),
            call=call,
            labels=() if options.key else tuple("**" * (p.kind is p.VAR_KEYWORD) + p.name for p in in_key),
            suffix=suffix,
            names=names | {"key_function": options.key, "ignored": unknown},
            takes_default=any(_takes(p, "default") for p in parameters),
            binding=None if options.key or options.typed or unknown else _binding(parameters, in_key),
        )

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


def _binding(parameters: Sequence[Parameter], in_key: Collection[Parameter]) -> Binding | None:
    kinds = [p.kind for p in parameters]
    if len(kinds) > MOST_BOUND or any(kind in _STARS for kind in kinds):
        return None
    return Binding(
        names=tuple(sys.intern(p.name) for p in parameters),
        defaults=tuple(p.default for p in parameters),
        missing=Parameter.empty,
        in_key=bytes(any(p is each for each in in_key) for p in parameters),
        positional_only=kinds.count(Parameter.POSITIONAL_ONLY),
        positional=len(kinds) - kinds.count(Parameter.KEYWORD_ONLY),
    )


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


def first_parameter(function: Callable[..., Any]) -> str:
    """Return the name of the first parameter, or "" if it cannot be passed by position."""
    parameters = _parameters_of(function, is_method=False)
    return parameters[0].name if parameters and parameters[0].kind in _POSITIONAL else ""


def check_previous(name: object, function: Callable[..., Any]) -> str | None:
    """Return `name`; raise unless that is None, or a keyword-only parameter of `function` that may be left out."""
    if name is None:
        return None
    if not isinstance(name, str):
        raise TypeError(f"previous must be the name of a parameter, or None, not {type(name).__name__}")
    found = [each for each in _parameters_of(function, is_method=False) if each.name == name]
    if not found or found[0].kind is not Parameter.KEYWORD_ONLY or found[0].default is Parameter.empty:
        raise ValueError(
            f"previous={name!r} must name a keyword-only parameter with a default, such as `*, {name}=None`"
        )
    return name


def parameter_names(function: Callable[..., Any]) -> list[str]:
    """Return the names of all parameters."""
    return [each.name for each in _parameters_of(function, is_method=False)]


def _parameters_of(function: Callable[..., Any], is_method: bool) -> list[Parameter]:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:  # some builtins have no signature
        parameters = [Parameter("args", Parameter.VAR_POSITIONAL), Parameter("kwargs", Parameter.VAR_KEYWORD)]
    if is_method and (not parameters or parameters[0].kind not in _POSITIONAL):
        parameters.insert(0, Parameter("self", Parameter.POSITIONAL_ONLY))
    return parameters


def _unknown_names(ignore: Collection[str], parameters: Sequence[Parameter]) -> frozenset[str]:
    """Return the names in `ignore` that only `**kwargs` can take."""
    unknown = frozenset(ignore) - {p.name for p in parameters}
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in parameters):
        known = ", ".join(p.name for p in parameters) or "none"
        raise ValueError(f"ignore names {', '.join(sorted(unknown))}, but the function's parameters are {known}")
    return unknown


def _takes(p: Parameter, name: str) -> bool:
    return p.kind is p.VAR_KEYWORD or (p.name == name and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))


class _Name(str):
    """Is printed as a name, where `str(signature)` prints a default."""

    __repr__ = str.__str__


def _declaration(parameters: Sequence[Parameter], s: str) -> str:
    """Write the parameters as in a `def`, with names for the defaults."""
    named = [
        p.replace(annotation=p.empty, default=p.empty if p.default is p.empty else _Name(f"default_{p.name}{s}"))
        for p in parameters
    ]
    return str(inspect.Signature(named))[1:-1]


def _passed(p: Parameter) -> str:
    return f"{p.name}={p.name}" if p.kind is p.KEYWORD_ONLY else _STARS.get(p.kind, "") + p.name


def _key_parts(parameters: Sequence[Parameter], typed: bool, ignored: Collection[str], s: str) -> tuple[str, ...]:
    parts = [_part(p, ignored, s) for p in parameters]
    if typed:
        parts += [_types(p, part, s) for p, part in zip(parameters, tuple(parts), strict=True)]
    return tuple(parts)


def _part(p: Parameter, ignored: Collection[str], s: str) -> str:
    if p.kind is not p.VAR_KEYWORD:
        return p.name
    if ignored:
        return f"tuple{s}((n{s}, v{s}) for n{s}, v{s} in {p.name}.items() if n{s} not in ignored{s})"
    return f"tuple{s}({p.name}.items()) if {p.name} else ()"


def _types(p: Parameter, part: str, s: str) -> str:
    if p.kind is p.VAR_POSITIONAL:
        return f"tuple{s}(map{s}(type{s}, {part}))"
    if p.kind is p.VAR_KEYWORD:
        return f"tuple{s}(type{s}(v{s}) for n{s}, v{s} in ({part}))"
    return f"type{s}({part})"
