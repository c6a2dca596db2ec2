"""Which cases of a grid are tried: each two values of different parameters meet."""

from __future__ import annotations

from itertools import combinations, product

import pytest

from ..kit import pairwise


@pytest.mark.parametrize("sizes", [(2, 2), (3, 1), (4, 3, 2), (5, 4, 2, 2, 2)])
def test_each_two_values_meet_in_fewer_cases_than_the_grid_has(sizes: tuple[int, ...]) -> None:
    lists = [[f"{name}{i}" for i in range(size)] for name, size in zip("abcde", sizes, strict=False)]
    rows = list(pairwise(lists))
    for one, other in combinations(range(len(lists)), 2):
        assert {(row[one], row[other]) for row in rows} == set(product(lists[one], lists[other]))
    assert len(rows) == len(set(rows)) <= len(list(product(*lists)))
    if len(sizes) > 3:
        assert len(rows) < 30, "of 160"
