"""The benchmark of tidying runs, and says what it is to say. Tiny sizes: nothing here depends on speed."""

from __future__ import annotations

import pytest

from areole._expiry.lazy_expirer import LazyExpirer
from benchmarks import tidying
from benchmarks.tidying import Longest


def test_it_counts_the_looks_and_gives_the_longest_lookup() -> None:
    look_through = LazyExpirer._look_through
    found = tidying.measure(live=300, threads=4, fills_each=200)
    assert found.fills == 800 and found.looks >= 1 and found.lookup > 0
    assert LazyExpirer._look_through is look_through


@pytest.mark.parametrize(("lookup", "status"), [(19.9, 0), (20.1, 1)])
def test_a_lookup_over_the_bound_fails(
    lookup: float, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tidying, "measure", lambda live, threads, fills_each: Longest(lookup, 3, 100))
    assert tidying.main(["--quick", "--check"]) == status
    assert f"{lookup:.2f} ms" in capsys.readouterr().out
