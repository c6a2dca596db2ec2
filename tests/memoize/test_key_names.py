"""No name that a function has or gets clashes with what the wrapper is made of."""

from __future__ import annotations

from typing import Any

import pytest

from areole import AtomicCache

from ..kit import assert_valid

memoize: Any = AtomicCache.memoize


def calls_of(memoized: Any) -> int:
    return memoized.cache_info().fills  # type: ignore[no-any-return]


NAMES = [
    "entries",
    "entries_",
    "value",
    "value_",
    "flight",
    "flight_",
    "flight__",
    "cache",
    "cache_",
    "type",
    "type_",
    "id",
    "id_",
    "self",
    "cls",
    "key",
    "key_",
    "key_function",
    "key_function_",
    "cells",
    "cells_",
    "clock",
    "clock_",
    "count_hit",
    "count_hit_",
    "function",
    "function_",
    "Empty",
    "Empty_",
    "Flight",
    "Flight_",
    "twins",
    "twin_of",
    "ignored",
    "ignored_",
    "n",
    "n_",
    "v",
    "v_",
    "error",
    "error_",
    "tuple",
    "sorted",
    "map",
    "KeyError",
    "KeyError_",
    "TypeError",
    "BaseException_",
    "_",
    "__",
    "___",
    "__x__",
    "a_",
    "a__",
    "latch",
    "name",
    "args",
    "kwargs",
    "f",
    "match",
    "case",
    "print",
    "exec",
    "None_",
    "areole",
    "é",
    "ß",
]


@pytest.mark.parametrize("options", [{}, {"ttl": 5}, {"stats": True, "typed": True}], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_no_name_of_a_parameter_clashes_with_the_machinery(name: str, options: Any) -> None:
    for parameters in (name, f"{name}, b=2", f"*, {name}", f"*{name}", f"**{name}", f"a, /, {name}=None, **rest"):
        namespace: dict[str, Any] = {}
        exec(f"def {name}({parameters}): return {name}", namespace)
        function = namespace[name]
        for args, kwargs in [((1,), {}), ((), {name: 1}), ((1, 2), {})]:
            check_call(memoize(**options)(function), args, kwargs)


@pytest.mark.parametrize("name", ["cells", "cells_", "entries_", "key_", "value_", "cache_"])
def test_nor_with_what_the_atomic_index_adds(name: str) -> None:
    """Few of them: on 3.13t a function, and with it its AtomicDict, may live as long as the process does."""
    namespace: dict[str, Any] = {}
    exec(f"def {name}({name}, b=2): return {name}", namespace)
    check_call(memoize(namespace[name], index="atomic"), (1,), {})


def check_call(memoized: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Compare a miss and a hit with the bare function; what that does not take, the memoized one refuses."""
    try:
        expected = memoized.__wrapped__(*args, **kwargs)
    except TypeError:
        with pytest.raises(TypeError):
            memoized(*args, **kwargs)
        return
    assert memoized(*args, **kwargs) == memoized(*args, **kwargs) == expected
    assert calls_of(memoized) == 1
    assert_valid(memoized.cache)


def test_names_that_only_kwargs_catches_clash_with_nothing() -> None:
    @memoize(ignore=("ignored",))
    def f(**kwargs: Any) -> Any:
        return kwargs

    kwargs = dict.fromkeys(NAMES, 1)
    assert f(**kwargs) == f(**kwargs) == kwargs
    assert_valid(f.cache)
