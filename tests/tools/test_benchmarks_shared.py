"""The benchmark of shared caches runs, and says what it is to say. Tiny sizes: nothing here depends on speed."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import pytest

from benchmarks import shared
from benchmarks.build import this_build
from benchmarks.samples import Samples
from benchmarks.shared import Plan, Results, case_of
from benchmarks.shared_contenders import CONTENDERS, GET_MANY, GETS, HIT, VALUE
from tests.shared import servers

TINY = Plan(rounds=1, burst=0.0)


@pytest.mark.filterwarnings("ignore")  # what other libraries say is not our concern here
def test_each_contender_does_each_operation_and_bounds_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    servers.require("redis-server")
    if find_spec("redis") is None:
        servers.skip_or_fail("redis-py is not installed")
    absent = replace(CONTENDERS[0], name="absent", distribution="a-library-that-nobody-has")
    results = shared.run(TINY, [*CONTENDERS, absent])
    out = capsys.readouterr().out
    assert "SKIPPED: a-library-that-nobody-has is not installed" in out
    for each in CONTENDERS:
        is_there = each.is_possible() and each.version() is not None
        assert (case_of(HIT, each.family, each.name) in results.samples) is is_there
    assert "a hit, JSON, over bare GET" in out
    assert len(results.targets()) >= 5


def results_of(nanoseconds: dict[tuple[str, str, str], float]) -> Results:
    samples = Samples()
    for case, time in nanoseconds.items():
        samples.add(case_of(*case), 1, time)
    return Results(this_build({}), TINY, samples)


@pytest.mark.parametrize(("ours", "missed"), [(129.0, 0), (131.0, 1)])
def test_a_hit_over_its_bound_is_missed(ours: float, missed: int) -> None:
    results = results_of({(HIT, "Redis", "redis-py"): 100.0, (HIT, "Redis", "areole json"): ours})
    assert len(results.missed()) == missed


@pytest.mark.parametrize(("many", "missed"), [(999.0, 0), (1001.0, 1)])
def test_get_many_of_100_is_compared_with_the_sum_of_100_gets(many: float, missed: int) -> None:
    results = results_of({(GET_MANY, "Redis", "areole json"): many, (GETS, "Redis", "areole json"): 100.0})
    assert len(results.missed()) == missed


def test_check_exits_with_1_where_a_bound_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = results_of({(HIT, "SQLite", "diskcache"): 100.0, (HIT, "SQLite", "areole json"): 101.0})
    plans: list[Any] = []
    monkeypatch.setattr(shared, "run", lambda plan, contenders: plans.append((plan, len(contenders))) or slow)
    assert shared.main(["--check"]) == 1
    assert shared.main(["--quick", "--only", "SQLite: diskcache"]) == 0
    assert plans == [(Plan(), len(CONTENDERS)), (shared.QUICK, 1)]


def test_the_value_is_one_that_json_gives_back() -> None:
    from areole.serializers import as_serializer

    serializer = as_serializer("json")
    assert serializer.loads(serializer.dumps(VALUE)) == VALUE
