"""`benchmarks.hit_ratio`: on tiny traces, where nothing depends on speed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks import hit_ratio
from benchmarks.hit_ratio import THROUGH_STORAGE, Contender, Row, hits_of_policy, hits_of_storage, hits_of_the_optimum
from benchmarks.traces import TRACES, Trace

every_policy = pytest.mark.parametrize("policy", ["lru", "s3fifo"])


@every_policy
@pytest.mark.parametrize("trace", TRACES, ids=lambda trace: trace.name)
@pytest.mark.parametrize("size", [1, 7, 150])
def test_a_store_has_exactly_the_hits_of_its_policy_alone(policy: str, trace: Trace, size: int) -> None:
    keys = trace.make(4000, 1000, size, 1)
    hits = hits_of_storage(policy)(keys, size)
    assert hits == hits_of_policy(policy)(keys, size)
    assert hits <= hits_of_the_optimum(keys, size)


@every_policy
def test_so_it_has_where_keys_are_of_different_sizes(policy: str) -> None:
    """A policy alone has items of weight 1; in a store a key counts with its size."""
    choose = random.Random(1)
    keys = [int(choose.paretovariate(0.5)) ** 3 for _ in range(3000)]
    assert hits_of_storage(policy)(keys, 50) == hits_of_policy(policy)(keys, 50) > 0


def test_one_who_disagrees_is_reported_and_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(THROUGH_STORAGE, "areole lru", Contender("other", lambda trace, size: 1, is_ours=True))
    monkeypatch.setattr(hit_ratio, "TARGET", 0.0)
    assert hit_ratio.main(["--quick", "--requests", "400", "--keys", "300", "--through-storage"]) == 1


def test_the_report_says_that_both_agree(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hit_ratio, "RESULTS", Path("nowhere"))
    hit_ratio.main(["--quick", "--requests", "400", "--keys", "300", "--through-storage"])
    printed = capsys.readouterr().out
    assert "exactly the hits that they have alone" in printed and "WRONG" not in printed


def test_a_row_names_the_policy_that_disagrees() -> None:
    ratios = {"areole lru": 0.5, "areole lru, through Storage": 0.25}
    assert Row("t", 0.1, ratios).disagreement() == "areole lru has 0.250000 through Storage, and 0.500000 alone"
    assert Row("t", 0.1, {"areole lru": 0.5}).disagreement() == ""
