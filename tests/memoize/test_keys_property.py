"""Keys over generated signatures: calls are one entry if, and only if, Python binds them to equal arguments."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from areole import AtomicCache

from ..kit import assert_valid

pytest.importorskip("hypothesis")

from hypothesis import given
from hypothesis import strategies as st

memoize: Any = AtomicCache.memoize

ATOMS = st.sampled_from(
    [0, 1, -1, -2, 1.0, True, "", "1", "a", "a b", "a,b", b"a", None, (), (1,), frozenset(), 2**61 - 1]
)
VALUES = st.one_of(ATOMS, st.tuples(ATOMS, ATOMS))
NAMES = ["a", "b_", "value", "self", "key__", "entries", "type"]
EXTRA = ["x", "y", "key", "value_"]


@st.composite
def functions(draw: st.DrawFn) -> Any:
    """Draw a function of up to seven parameters of all kinds that returns its bound arguments."""
    names = draw(st.permutations(NAMES))[: draw(st.integers(0, len(NAMES)))]
    cuts = sorted(draw(st.integers(0, len(names))) for _ in range(2))
    only, normal, keyword = names[: cuts[0]], names[cuts[0] : cuts[1]], names[cuts[1] :]
    first_default = draw(st.integers(0, len(only) + len(normal)))
    defaults: dict[str, Any] = {}

    def declare(name: str, has_default: bool) -> str:
        if has_default:
            defaults[f"default_{name}"] = draw(VALUES)
        return f"{name}=default_{name}" if has_default else name

    positional = [declare(name, i >= first_default) for i, name in enumerate(only + normal)]
    parts = positional[: len(only)] + ["/"] * bool(only) + positional[len(only) :]
    takes_args = draw(st.booleans())
    parts += ["*args"] if takes_args else ["*"] * bool(keyword)
    parts += [declare(name, draw(st.booleans())) for name in keyword]
    takes_kwargs = draw(st.booleans())
    parts += ["**kwargs"] * takes_kwargs
    returned = names + ["args"] * takes_args + ["kwargs"] * takes_kwargs
    exec(f"def function({', '.join(parts)}): return {{{', '.join(f'{n!r}: {n}' for n in returned)}}}", defaults)
    return defaults["function"]


@st.composite
def calls(draw: st.DrawFn, function: Any) -> tuple[list[Any], dict[str, Any]]:
    """Draw arguments that `function` takes."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    by_position = draw(st.integers(0, len(NAMES)))
    for p in inspect.signature(function).parameters.values():
        if p.kind is p.VAR_POSITIONAL:
            args += draw(st.lists(VALUES, max_size=3)) if len(args) == count_positional(function) else []
        elif p.kind is p.VAR_KEYWORD:
            kwargs |= draw(st.dictionaries(st.sampled_from(EXTRA), VALUES, max_size=3))
        elif p.default is not p.empty and draw(st.booleans()):
            by_position = 0  # left out: what follows can only be given by name
        elif p.kind is p.POSITIONAL_ONLY:
            if len(args) == position_of(function, p.name):
                args.append(draw(VALUES))
        elif p.kind is p.POSITIONAL_OR_KEYWORD and len(args) == position_of(function, p.name) < by_position:
            args.append(draw(VALUES))
        else:
            kwargs[p.name] = draw(VALUES)
    names = draw(st.permutations(list(kwargs)))
    return args, {name: kwargs[name] for name in names}


def count_positional(function: Any) -> int:
    return sum(p.kind <= p.POSITIONAL_OR_KEYWORD for p in inspect.signature(function).parameters.values())


def position_of(function: Any, name: str) -> int:
    return list(inspect.signature(function).parameters).index(name)


def bind(function: Any, args: list[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    return dict(bound.arguments)


def in_order(bound: dict[str, Any]) -> dict[str, Any]:
    """Have the order of what the function takes as **kwargs matter, as the function can see it."""
    return bound | {"kwargs": list(bound.get("kwargs", {}).items())}


def types_of(bound: dict[str, Any]) -> Any:
    """Give the types that `typed=True` tells apart: those of the arguments, not of what is inside one."""
    args = [type(each) for each in bound.get("args", ())]
    kwargs = {name: type(each) for name, each in bound.get("kwargs", {}).items()}
    return {name: type(each) for name, each in bound.items() if name not in ("args", "kwargs")}, args, kwargs


@given(st.data())
def test_keys_are_equal_if_and_only_if_the_bound_arguments_are(data: st.DataObject) -> None:
    function = data.draw(functions())
    plain, typed = memoize(function), memoize(function, typed=True)
    (args, kwargs), (args2, kwargs2) = data.draw(calls(function)), data.draw(calls(function))
    bound, bound2 = bind(function, args, kwargs), bind(function, args2, kwargs2)
    is_same = in_order(bound) == in_order(bound2)
    assert (plain.cache_key(*args, **kwargs) == plain.cache_key(*args2, **kwargs2)) is is_same
    is_same_typed = is_same and types_of(bound) == types_of(bound2)
    assert (typed.cache_key(*args, **kwargs) == typed.cache_key(*args2, **kwargs2)) is is_same_typed


@given(st.data())
def test_however_a_call_is_written_it_is_one_entry(data: st.DataObject) -> None:
    """Every argument by position where that can be, then every one by name where that can be, defaults filled in."""
    function = data.draw(functions())
    memoized = memoize(function)
    args, kwargs = data.draw(calls(function))
    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    result = memoized(*args, **kwargs)
    assert result == bound.arguments
    assert memoized(*bound.args, **bound.kwargs) is result
    if not bound.arguments.get("args"):
        assert memoized(*by_name(bound)[0], **by_name(bound)[1]) is result
    assert memoized.cache_info().fills == 1
    assert_valid(memoized.cache)


def by_name(bound: inspect.BoundArguments) -> tuple[list[Any], dict[str, Any]]:
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    extra: dict[str, Any] = {}  # in their order, which is part of the key
    for name, p in bound.signature.parameters.items():
        if p.kind is p.POSITIONAL_ONLY:
            args.append(bound.arguments[name])
        elif p.kind is p.VAR_KEYWORD:
            extra = bound.arguments[name]
        elif p.kind is not p.VAR_POSITIONAL:
            kwargs[name] = bound.arguments[name]
    return args, dict(reversed(kwargs.items())) | extra


@given(st.data())
def test_a_memoized_function_returns_what_the_function_does_and_runs_once_for_each_binding(data: st.DataObject) -> None:
    function = data.draw(functions())
    memoized = memoize(function)
    bindings: list[Any] = []
    for _ in range(6):
        args, kwargs = data.draw(calls(function))
        bound = bind(function, args, kwargs)
        assert memoized(*args, **kwargs) == bound
        if in_order(bound) not in bindings:
            bindings.append(in_order(bound))
    assert memoized.cache_info().fills == memoized.cache_info().currsize == len(bindings)
    assert_valid(memoized.cache)
