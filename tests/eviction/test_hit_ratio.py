"""`benchmarks.hit_ratio`: on tiny traces, where nothing depends on speed."""

from __future__ import annotations

import gzip
import random
import struct
from pathlib import Path

import pytest

from benchmarks import hit_ratio, recorded
from benchmarks.hit_ratio import THROUGH_STORAGE, Contender, Row, hits_of_policy, hits_of_storage, hits_of_the_optimum
from benchmarks.recorded import RecordedRow
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


# ---- recorded requests


def write_trace(folder: Path, name: str, keys: list[int]) -> None:
    numbers = struct.pack(f"<{len(keys)}I", *keys)
    (folder / f"{name}.u32.gz").write_bytes(gzip.compress(numbers))


def test_recorded_requests_are_read_from_a_folder_by_their_names(tmp_path: Path) -> None:
    write_trace(tmp_path, "b", [1, 2, 2**32 - 1])
    write_trace(tmp_path, "a", [7])
    (tmp_path / "README.md").write_text("other")
    assert recorded.read_traces(tmp_path) == {"a": [7], "b": [1, 2, 2**32 - 1]}


def test_a_folder_without_traces_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no files NAME\.u32\.gz"):
        recorded.read_traces(tmp_path)


@pytest.mark.parametrize("size", [1, 2, 10, 150])
def test_s3fifo_as_published_is_never_above_the_optimum_nor_without_hits(size: int) -> None:
    choose = random.Random(size)
    keys = [int(choose.paretovariate(0.7)) for _ in range(3000)]
    hits = recorded.hits_of_published_s3fifo(keys, size)
    assert 0 < hits <= hits_of_the_optimum(keys, size)


def test_s3fifo_as_published_moves_what_was_used_twice_and_lets_in_at_once_what_comes_back() -> None:
    """A small queue of 1, a main one of 9."""
    hits = recorded.hits_of_published_s3fifo
    assert hits([1, 1, 1, *range(2, 12), 1], 10) == 3, "it moved to main, as used twice"
    assert hits([1, 1, *range(2, 12), 1], 10) == 1, "used once is not enough"
    assert hits([1, *range(2, 12), 1, *range(20, 29), 1], 10) == 1, "it came back, so into main"


def recorded_row(trace: str, s3fifo: float, lru: float, other: float) -> RecordedRow:
    ratios = {"optimum": 1.0, "areole lru": lru, "areole s3fifo": s3fifo, "other": other}
    return RecordedRow(trace, 0.01, 10, ratios, frozenset({"areole lru", "areole s3fifo", "other"}))


def test_the_targets_on_recorded_requests() -> None:
    good, near = recorded_row("a", 0.5, 0.4, 0.3), recorded_row("a", 0.5, 0.4, 0.509)
    far, below = recorded_row("a", 0.5, 0.4, 0.6), recorded_row("a", 0.5, 0.52, 0.53)
    lru_is_best = recorded_row("a", 0.5, 0.52, 0.52)
    assert recorded.missed_targets([good, near, good, far]) == []
    assert recorded.missed_targets([good, far]) == ["Missed: within a point of the best in 1 of 2 cases."]
    assert recorded.missed_targets([good] * 9 + [below]) == ["Missed: a at 1%: more than a point below lru."]
    assert recorded.missed_targets([good] * 9 + [lru_is_best]) == []


def test_on_the_six_given_traces_a_mean_is_to_be_reached() -> None:
    rows = [recorded_row(name, 0.431, 0.3, 0.3) for name in recorded.GIVEN]
    assert recorded.missed_targets(rows) == []
    rows = [recorded_row(name, 0.43, 0.3, 0.3) for name in recorded.GIVEN]
    assert recorded.missed_targets(rows) == ["Missed: a mean of 43.0%, not 43.1%."]


def test_both_tables_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    choose = random.Random(1)
    write_trace(tmp_path, "mine", [int(choose.paretovariate(0.7)) for _ in range(500)])
    hit_ratio.main(["--quick", "--requests", "400", "--keys", "300", "--traces", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "| zipf 0.8 |" in printed and "| mine |" in printed and "| mean |" in printed
    assert "S3-FIFO as published" in printed and "Against lru" in printed
