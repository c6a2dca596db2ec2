"""Parameters of tests; of a grid so many cases that each two of its values meet: most faults need no more than two."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations, product
from typing import Any

import pytest

from ..interleave import EXHAUSTIVE

__all__ = ["every_index", "every_pair", "every_policy", "pairwise", "repr_without_address"]

every_index = pytest.mark.parametrize("index", ["dict", "atomic"])
every_policy = pytest.mark.parametrize("policy", ["lru", "s3fifo"])


def every_pair(**parameters: Iterable[Any] | Mapping[str, Any]) -> pytest.MarkDecorator:
    """Parametrize a test so that each value of a parameter meets each of every other one, in as few cases as may be.

    A mapping names its values. AREOLE_EXHAUSTIVE=1 tries the whole grid.
    """
    named = [
        each if isinstance(each, Mapping) else {str(value): value for value in each} for each in parameters.values()
    ]
    names = [list(each) for each in named]
    chosen = product(*names) if EXHAUSTIVE else pairwise(names)
    cases = [
        pytest.param(*[of[name] for of, name in zip(named, case, strict=True)], id="-".join(case)) for case in chosen
    ]
    return pytest.mark.parametrize(list(parameters), cases)


def pairwise(lists: list[list[str]]) -> Iterator[tuple[str, ...]]:
    """Choose rows, one after another, each the one that has the most pairs which no row before it has."""
    missing = {
        pair
        for i, j in combinations(range(len(lists)), 2)
        for pair in product([(i, x) for x in lists[i]], [(j, x) for x in lists[j]])
    }
    rows = list(product(*lists))
    while missing:
        row = max(rows, key=lambda row: len(missing & _pairs_of(row)))
        missing -= _pairs_of(row)
        yield row


def _pairs_of(row: tuple[str, ...]) -> set[Any]:
    return set(combinations(enumerate(row), 2))


def repr_without_address(value: object) -> str:
    """Name a parameter the same in every process: two of them share the tests (pytest-xdist)."""
    return repr(value).partition(" at 0x")[0]
