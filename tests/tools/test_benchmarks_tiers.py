"""The benchmark of tiers runs, and says what it is to say. Tiny sizes: nothing here depends on speed."""

from __future__ import annotations

import pytest

from benchmarks import shared, tiers
from benchmarks.build import this_build
from benchmarks.samples import Samples
from benchmarks.shared_contenders import COLD, HIT, IN_STORE
from benchmarks.tier_contenders import LOCAL, LOCAL_TASKS, TIER_CONTENDERS
from benchmarks.tier_processes import ASKERS, KEEPERS
from tests.shared.servers import require, require_redis_py

TINY = shared.Plan(rounds=1, burst=0.0)


@pytest.fixture(autouse=True)
def server() -> None:
    require("redis-server")
    require_redis_py()


def test_tiers_are_measured_with_what_is_in_the_store_too() -> None:
    ours = [each for each in TIER_CONTENDERS if each.name.startswith(("cache[k]", "shared.get(k)"))]
    samples = shared.measure(TINY, ours).samples

    for family in (LOCAL, LOCAL_TASKS):
        assert shared.case_of(HIT, family, "cache[k]") in samples
        for shape in (HIT, IN_STORE, COLD):
            assert shared.case_of(shape, family, "cache[k], shared=") in samples
    for copies in ("", ", copies="):
        assert shared.case_of(HIT, LOCAL, f"cache[k], shared={copies}") in samples
        assert shared.case_of(HIT, LOCAL, f"shared.get(k), local={copies}") in samples
    assert shared.case_of(IN_STORE, LOCAL, "shared.get(k)") in samples


def test_another_process_says_when_it_has_read_a_change() -> None:
    (keeper,) = (each for each in KEEPERS if each.store == "sqlite")

    assert all(0.0 < lag < 60.0 for lag in tiers.measure_lag(keeper, 2))


def test_the_fills_of_a_stampede_are_counted_in_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers, "PROCESSES", 2)
    asker = next(each for each in ASKERS if each.fills == 1)

    stampede = tiers.measure_stampede(asker, 1)
    assert (stampede.fills, len(stampede.seconds)) == ([1], 1)


def test_a_hit_that_costs_more_and_a_second_fill_miss_their_bounds() -> None:
    samples = Samples()
    for family, name in ((LOCAL, "cache[k]"), (LOCAL, "f(k)"), (LOCAL_TASKS, "cache[k]")):
        samples.add(shared.case_of(HIT, family, name), 1, 100.0)
        samples.add(shared.case_of(HIT, family, f"{name}, shared="), 1, 106.0 if name == "f(k)" else 104.0)
    speed = shared.Results(this_build({}), TINY, samples)
    stampedes = {each.name: tiers.Stampede([1, 2], [0.1, 0.1]) for each in ASKERS}

    missed = tiers.Results(speed, {}, stampedes).missed()
    assert len(missed) == 2
    assert missed[0].startswith("f(k) ") and "1.06, not <= 1.05" in missed[0]
    assert "most fills" in missed[1] and "2.00, not <= 1" in missed[1]
