"""The benchmark of stores runs, and says what it is to say. Tiny sizes: nothing here depends on speed."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from benchmarks import storage
from benchmarks.contenders import GET, LOCKED_GET, LOCKED_SET, ONE, SET
from benchmarks.samples import Case, Samples
from benchmarks.storage import POLICIES, Plan, Results, targets_of

TINY = Plan(
    keys=10,
    rounds=3,
    burst=0.0,
    thread_rounds=3,
    thread_burst=0.0,
    set_rounds=3,
    sets=20,
    sizes=(10, 40),
    memory_keys=400,
    longest_items=600,
    longest_sets=20,
)


def test_a_run_says_what_it_is_to_say() -> None:
    """One test, so that one worker makes the run, and not each."""
    results = storage.run(TINY)
    every_store_is_measured_in_every_round(results)
    set_is_measured_at_each_size_and_threads_on_one_and_two(results)
    an_entry_costs_memory_under_each_policy(results)
    the_longest_set_is_looked_for_under_each_policy_and_order(results)
    the_results_can_be_written_as_json_and_every_target_has_a_verdict(results)


def every_store_is_measured_in_every_round(results: Results) -> None:
    ours = {Case(f"areole {policy}{ttl}", shape) for policy in POLICIES for ttl in ("", " ttl") for shape in (GET, SET)}
    measured = {**results.hits.by_case, **results.sets.by_case}
    assert ours <= set(measured)
    assert all(len(by_threads[1]) == 3 for by_threads in measured.values())
    assert all(value > 0 for by_threads in measured.values() for value in by_threads[1])


def set_is_measured_at_each_size_and_threads_on_one_and_two(results: Results) -> None:
    assert len(results.sizes.by_case) == len(POLICIES) * len(TINY.sizes)
    assert all([*by_threads] == [1, 2] for by_threads in results.threads.by_case.values())


def an_entry_costs_memory_under_each_policy(results: Results) -> None:
    for policy in POLICIES:
        assert 100 < results.memory[f"{policy}, filled"] <= results.memory[f"{policy}, filled, highest"] < 1000
        assert results.memory[f"{policy}, filled"] < results.memory[f"{policy}, filled, ttl"]


def the_longest_set_is_looked_for_under_each_policy_and_order(results: Results) -> None:
    assert len(results.longest) == 3 * len(POLICIES) + 1
    rows = [target for target in results.targets() if target.what.startswith("longest set of 600, ")]
    assert len(rows) == 3 * len(POLICIES) and all(row.bound == 5.0 for row in rows)
    assert Plan().longest_items == 1_000_000


def the_results_can_be_written_as_json_and_every_target_has_a_verdict(results: Results) -> None:
    written = json.loads(json.dumps(results.as_json()))
    assert set(written["bytes an entry"]) == set(results.memory)
    assert all(row["verdict"] for row in written["targets"])
    rows = " | ".join(target.what for target in results.targets())
    for policy in POLICIES:
        assert f"{policy}'s set, 10 to 40 items" in rows and f"memoized hit, {policy}" in rows


def test_the_full_plan_goes_to_a_million_items() -> None:
    assert max(Plan().sizes) == 1_000_000 and min(Plan().sizes) == 1_000


def samples_of(**cases: tuple[str, str, float]) -> Samples:
    samples = Samples()
    for contender, shape, value in cases.values():
        samples.add(Case(contender, shape), 1, value)
    return samples


def test_the_bounds_are_ratios_of_times() -> None:
    hits = samples_of(
        a=("atomic_lru", GET, 400.0),
        t=("TTLCache", LOCKED_GET, 900.0),
        lru=("areole lru", GET, 100.0),
        s3=("areole s3fifo", GET, 200.0),
        m=("areole lru", ONE, 66.0),
        c=("lru_cache(10)", ONE, 30.0),
    )
    sets = samples_of(a=("atomic_lru", SET, 1000.0), t=("TTLCache", LOCKED_SET, 500.0), lru=("areole lru", SET, 800.0))
    sizes = samples_of(x=("areole lru, 10 items", SET, 100.0), y=("areole lru, 40 items", SET, 250.0))
    build: Any = SimpleNamespace(has_gil=True, version=(3, 13))
    found = {
        target.what: (round(target.reached, 3), target.is_missed)
        for target in targets_of(Results(build, TINY, hits, Samples(), sets, sizes, {}))
    }
    assert found == {
        "atomic_lru's store.get / lru's": (4.0, False),
        "atomic_lru's store.get / s3fifo's": (2.0, True),
        "TTLCache's store.get / lru's": (9.0, False),
        "TTLCache's store.get / s3fifo's": (4.5, False),
        "atomic_lru's store.set / lru's": (1.25, False),
        "TTLCache's store.set / lru's": (0.625, True),
        "lru's set, 10 to 40 items: dearest / cheapest": (2.5, True),
        "memoized hit, lru / lru_cache(10)'s": (2.2, False),
    }
