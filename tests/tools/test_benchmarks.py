"""The benchmarks run, and say what they are to say. Tiny sizes: nothing here depends on speed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import against, aio, fan_out, fill, hits, report, storage
from benchmarks.aio_contenders import async_contenders
from benchmarks.build import this_build
from benchmarks.contenders import GET, ITEM, LOOPS, METHOD, NONE, ONE, Contender, all_contenders, loop_of_its_own
from benchmarks.crew import Crew
from benchmarks.decorators import decorators
from benchmarks.hits import Results
from benchmarks.measure import Plan, make_block, measure_hits
from benchmarks.samples import Case, Samples, spread_of
from benchmarks.stampede import PLAIN, SCENARIOS, TAKES, Outcome, run_apart
from benchmarks.targets import Target, counted_cases, targets_of

MODULES: dict[str, Any] = {"hits": hits, "storage": storage, "aio": aio, "fill": fill}
TINY = Plan(
    keys=10,
    hit_rounds=3,
    hit_burst=0.0,
    thread_rounds=3,
    thread_burst=0.0,
    fill_rounds=3,
    fill_keys=20,
    memory_keys=500,
)


NOTHING = Results(this_build({}), TINY, Samples(), Samples(), Samples(), {})


def test_a_run_says_what_it_is_to_say() -> None:
    """One test, so that one worker makes the run, and not each."""
    results = hits.run(TINY, all_contenders())
    every_contender_is_measured_in_each_of_its_shapes_in_every_round(results)
    threads_and_fills_are_measured_on_one_thread_and_on_two(results)
    each_kind_of_cache_is_measured_with_hits_counted_and_without(results)
    every_time_is_positive(results)
    an_entry_costs_memory_in_both_indexes(results)
    every_bound_of_the_issue_has_a_row(results)
    the_results_can_be_written_as_json(results)


def every_contender_is_measured_in_each_of_its_shapes_in_every_round(results: Results) -> None:
    expected = {Case(each.name, shape) for each in all_contenders() for shape in each.shapes}

    assert set(results.hits.by_case) == expected
    assert all(len(by_threads[1]) == 3 for by_threads in results.hits.by_case.values())


def threads_and_fills_are_measured_on_one_thread_and_on_two(results: Results) -> None:
    for samples in (results.threads, results.fills):
        assert all([*by_threads] == [1, 2] for by_threads in samples.by_case.values())
        assert {Case("areole", ONE), Case("areole", ITEM), Case("areole atomic", ITEM)} <= set(samples.by_case)


def each_kind_of_cache_is_measured_with_hits_counted_and_without(results: Results) -> None:
    shapes = {(case.contender, case.shape) for case, counted in counted_cases(results.counting)}

    assert {("areole", ONE), ("areole", METHOD), ("areole", ITEM), ("Storage lru", GET), ("cached", ONE)} <= shapes
    assert 2 * len(shapes) == len(results.counting.by_case)


def test_what_a_cached_function_costs_can_be_measured_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr(hits, "QUICK", TINY)
    assert hits.main(["--quick", "--cached"]) == 0
    shown = capsys.readouterr().out
    assert "Hits of functions cached in a Storage" in shown and "lru" in shown and "s3fifo" in shown


def test_what_counting_costs_can_be_measured_alone(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr(hits, "QUICK", TINY)
    assert hits.main(["--stats", "--quick"]) == 0
    printed = capsys.readouterr().out
    assert "store.get(k)" in printed and "Storage s3fifo store.get(k), counted / not" in printed


def every_time_is_positive(results: Results) -> None:
    for samples in (results.hits, results.threads, results.fills):
        for by_threads in samples.by_case.values():
            assert all(value > 0 for values in by_threads.values() for value in values)


def an_entry_costs_memory_in_both_indexes(results: Results) -> None:
    assert 50 < results.memory["entry, dict index"] < 1000
    assert 50 < results.memory["entry, atomic index"] < 1000


def every_bound_of_the_issue_has_a_row(results: Results) -> None:
    rows = " | ".join(target.what for target in results.targets())

    for part in ("f(k) /", "f(k, 1, 2) /", "f(k, b=1, c=2) /", "cache[k] /", "ttl /", "cereggii's", "2 threads"):
        assert part in rows
    assert "what a fill adds" in rows and "bytes a key: entry" in rows and "bytes a key: left" in rows


def the_results_can_be_written_as_json(results: Results) -> None:
    written = json.loads(json.dumps(results.as_json()))

    assert written["build"]["packages"].keys() >= {"areole", "cereggii"}
    assert len(written["hits"]["areole f(k)"]["1"]) == 3
    assert all(row["verdict"] for row in written["targets"])


INSTALLED = [each for each in decorators() if each.version() is not None and each.name != "diskcache"]
"""Without diskcache, which leaves a connection open in each thread."""


def test_the_decorators_of_other_caches_are_measured_beside_ours() -> None:
    with Crew(1) as crew:
        samples = measure_hits(crew, [*all_contenders(), *INSTALLED], TINY)
    assert {"no cache", *(each.name for each in INSTALLED)} <= {case.contender for case in samples.by_case}
    assert "\nf()  " in report.hit_table(samples)


@pytest.mark.parametrize("contender", [*all_contenders(), *INSTALLED[1:]], ids=lambda contender: contender.name)
def test_a_warm_contender_returns_the_values_of_its_fill_and_runs_it_no_more(contender: Contender) -> None:
    keys = make_block(0, 5)
    for shape in contender.shapes:
        target = contender.make(shape)
        contender.warm(shape, target, keys)
        loop_of_its_own(shape)(target, keys)  # raises, for one, if a bare dict was not filled
        if shape == ITEM:
            assert [target[k] for k in keys] == [-k for k in keys]
        if shape == ONE:
            assert [target(k) for k in keys] == [-k for k in keys]
        if hasattr(target, "cache_info"):
            assert target.cache_info().misses == (1 if shape == NONE else len(keys))


def test_each_loop_has_bytecode_of_its_own() -> None:
    assert loop_of_its_own(ONE).__code__ is not loop_of_its_own(ONE).__code__
    assert loop_of_its_own(ONE).__code__.co_code == LOOPS[ONE].__code__.co_code


def test_a_contender_that_is_not_installed_is_skipped_visibly(capsys: pytest.CaptureFixture[str]) -> None:
    class Missing(Contender):
        name = "missing"
        distribution = "areole-benchmarks-no-such-distribution"
        shapes = (ONE,)

    results = hits.run(TINY, [*all_contenders()[:3], Missing()])

    assert "SKIPPED: areole-benchmarks-no-such-distribution" in capsys.readouterr().out
    assert Case("missing", ONE) not in results.hits


def test_a_crew_runs_work_in_as_many_threads_as_asked_for_and_raises_what_it_raises() -> None:
    def fail(i: int) -> None:
        raise LookupError(i)

    with Crew(3) as crew:
        assert crew.run(2, lambda i: i * 10) == [0, 10]
        with pytest.raises(LookupError):
            crew.run(3, fail)
        assert crew.run(3, lambda i: i) == [0, 1, 2]  # still there


def test_the_time_of_a_crew_is_from_the_first_start_to_the_last_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a GIL threads may run one after the other; the longest one's own time would make them look parallel."""
    with Crew(2) as crew:
        monkeypatch.setattr(crew, "run", lambda threads, work: [(10.0, 11.0), (11.0, 12.5)])
        assert crew.time(2, lambda i: None) == 2.5


def test_ratios_are_taken_round_by_round() -> None:
    samples, ours, theirs = Samples(), Case("a", ONE), Case("b", ONE)
    for slow in (1, 10, 100):  # the machine slows down: each round's ratio stays 2
        samples.add(ours, 1, 2.0 * slow)
        samples.add(ours, 2, 1.0 * slow)
        samples.add(theirs, 1, 1.0 * slow)

    assert set(samples.ratio(ours, theirs)) == {2.0}
    assert set(samples.scaling(ours, 2)) == {2.0}


def test_a_spread_is_made_of_its_quartiles() -> None:
    assert spread_of([5.0, 1.0, 3.0, 2.0, 4.0]) == (1.0, 2.0, 3.0, 4.0, 5.0)
    assert spread_of([7.0]) == (7.0,) * 5


@pytest.mark.parametrize(
    ("reached", "at_least", "applies", "missed"),
    [
        (1.7, False, True, True),
        (1.6, False, True, False),
        (3.9, True, True, True),
        (4.0, True, True, False),
        (9.9, False, False, False),
    ],
)
def test_a_bound_is_missed_only_on_its_wrong_side_and_where_it_applies(
    reached: float, at_least: bool, applies: bool, missed: bool
) -> None:
    target = Target("what", reached, 4.0 if at_least else 1.6, at_least=at_least, applies=applies)

    assert target.is_missed is missed


@pytest.mark.parametrize(("nanoseconds", "status"), [(150.0, 0), (170.0, 1)])
def test_check_says_by_its_exit_status_that_a_bound_was_missed(
    nanoseconds: float, status: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hits, "run", lambda plan, contenders: _results_of_a_gil_build(nanoseconds))
    path = tmp_path / "results.json"

    assert hits.main(["--quick", "--check", "--json", str(path)]) == status
    assert hits.main(["--quick"]) == 0
    assert json.loads(path.read_text())["targets"][0]["reached"] == nanoseconds / 100


def _results_of_a_gil_build(nanoseconds: float) -> Results:
    samples = Samples()
    samples.add(Case("areole", ONE), 1, nanoseconds)
    samples.add(Case("lru_cache", ONE), 1, 100.0)
    build = NOTHING.build.__class__(
        **{**_fields(NOTHING.build), "version": (3, 13, 0), "has_gil": True, "free_threading_build": False}
    )
    return Results(build, TINY, samples, Samples(), Samples(), {})


def _fields(build: Any) -> dict[str, Any]:
    return {name: getattr(build, name) for name in build.__dataclass_fields__}


def test_bounds_of_another_kind_of_build_are_shown_and_not_checked() -> None:
    samples = Samples()
    samples.add(Case("areole", ONE), 1, 900.0)
    samples.add(Case("lru_cache", ONE), 1, 100.0)
    build = this_build({}).__class__(**{**_fields(NOTHING.build), "version": (3, 11, 0), "has_gil": True})

    (target,) = targets_of(build, samples, Samples(), Samples(), {})

    assert not target.is_reached and not target.is_missed


@pytest.mark.parametrize(("text", "counts"), [("1,2", (1, 2)), ("4", (1, 4)), ("2,1,2", (1, 2))])
def test_numbers_of_threads_always_begin_with_one(
    text: str, counts: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Plan] = []
    monkeypatch.setattr(hits, "run", lambda plan, contenders: asked.append(plan) or NOTHING)

    hits.main(["--threads", text])

    assert asked[0].threads == counts


@pytest.mark.parametrize("text", ["", "two", "0"])
def test_a_number_of_threads_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SystemExit):
        hits.main(["--threads", text])


def test_every_asynchronous_contender_is_measured_in_every_round() -> None:
    installed = [each for each in async_contenders() if each.version() is not None]
    samples = asyncio.run(aio.measure_hits(aio.Plan(keys=10, rounds=2, burst=0.0), installed))
    assert {case.contender for case in samples.by_case} == {each.name for each in installed}
    assert all(len(by_threads[1]) == 2 for by_threads in samples.by_case.values())


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_stampede_calls_areoles_function_once_and_a_bare_one_each_time(scenario: str) -> None:
    loops, tasks = SCENARIOS[scenario]
    assert str(run_apart("areole memoize", scenario, 60)) == "1"
    assert str(run_apart("bare coroutine", scenario, 60)) == str(loops * tasks)


def test_a_stampede_of_threads_calls_areoles_function_once_and_a_bare_one_each_time() -> None:
    areole, bare = run_apart("areole", PLAIN, 60), run_apart("no cache", PLAIN, 60)
    assert (str(areole), str(bare)) == ("1", "16")
    assert areole.slowest >= 1000 * TAKES / 2 and bare.slowest >= 1000 * TAKES / 2


def test_what_fails_or_hangs_in_a_stampede_is_said() -> None:
    assert str(Outcome(None, {}, 16)) == "hangs"
    assert str(Outcome(2, {"RuntimeError": 3}, 16)) == "2, 3 of 16 RuntimeError"
    results = aio.Results(this_build({}), aio.QUICK, Samples(), {"areole memoize": {"16 threads": Outcome(2, {}, 16)}})
    assert results.missed() == ["one call for 16 threads: 2"]
    assert results.as_json()["stampede"] == {"areole memoize": {"16 threads": "2"}}


def options(**chosen: Any) -> Any:
    names = {"serve": False, "quick": True, "check": True, "bound": 100.0, "rows": None, "source": against.OWN_SOURCE}
    return SimpleNamespace(**names | {"against": against.OWN_SOURCE} | chosen)


@pytest.mark.parametrize("name", ["hits", "storage", "aio", "fill"])
def test_two_source_trees_are_compared_in_a_process_each(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"hits": "hit, areole f(k)", "storage": "set, areole lru", "aio": "hit, areole memoize", "fill": "hit, f(k)"}
    monkeypatch.setattr(against, "QUICK", against.Plan(pairs=1, rounds=1))
    arguments = ["--quick", "--check", "--bound", "100", "--rows", row[name], "--against", str(against.OWN_SOURCE)]
    assert MODULES[name].main(arguments) == 0
    assert row[name] in (out := capsys.readouterr().out)
    assert "rows slower by over" in out and "cannot be compared" not in out


def comparison(*ratios: float) -> against.Comparison:
    return against.Comparison(list(ratios), [1.0] * len(ratios))


def test_a_row_is_slower_if_most_pairs_say_so_and_unclear_if_they_disagree() -> None:
    assert comparison(1.1, 1.1, 1.06, 1.2).verdict(1.05) == "SLOWER"
    assert comparison(0.7, 0.8, 1.1, 1.2, 1.3).verdict(1.05) == "unclear"
    assert comparison(1.04, 1.0, 2.0).verdict(1.05) == ""


@pytest.mark.parametrize(("ratio", "status", "pairs"), [(1.04, 0, 3), (1.2, 1, 9)])
def test_a_slower_row_is_measured_again_marked_and_status_1(
    ratio: float, status: int, pairs: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Path] = []

    class FakePeer:
        def __init__(self, benchmark: str, source: Path) -> None:
            begun.append(source)
            self.takes = ratio if source == Path("new") else 1.0

        def __enter__(self) -> FakePeer:
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def measure(self, name: str) -> float:
            return self.takes

    monkeypatch.setattr(against, "Peer", FakePeer)
    rows = {"a row": against.Row(lambda: lambda: 1.0)}
    chosen = options(source=Path("new"), against=Path("old"), bound=1.05)
    assert against.run("benchmarks.hits", rows, chosen) == status
    assert ("SLOWER" in capsys.readouterr().out) is bool(status)
    assert len(begun) == 2 * pairs


def test_a_row_that_one_tree_cannot_do_is_not_compared(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(against, "QUICK", against.Plan(pairs=1, rounds=1))
    rows = {"no such row": against.Row(lambda: lambda: 1.0)}
    assert against.run("benchmarks.fill", rows, options()) == 1
    assert "1 cannot be compared" in capsys.readouterr().out


def test_a_folder_without_areole_is_not_compared(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="has no areole"):
        against.Peer("benchmarks.fill", tmp_path)


@pytest.mark.parametrize("name", ["hits", "storage", "aio"])
def test_each_row_of_a_comparison_can_be_measured(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(against, "BURST", 0.0)
    rows = MODULES[name].rows() if name == "aio" else MODULES[name].rows(True)
    assert len({*rows}) > 5
    for each in rows.values():
        if not each.once:
            assert each.make()() > 0


@pytest.mark.parametrize("kind", fill.KINDS)
def test_each_kind_of_fill_can_be_measured(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fill, "FILLS", 60)
    monkeypatch.setattr(fill, "SMALL", 60)
    assert fill.measure(kind, hits=True) > 0
    fill.measure(kind, hits=False)


def test_waits_of_a_fan_out_are_compared_with_waits_without(capsys: pytest.CaptureFixture[str]) -> None:
    assert fan_out.main(["--quick"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "800 items inside a fill",
        "800 items inside a fill, backwards",
        "50 tasks join a fill that awaits 1,000",
    ]
    assert all(float(line.split()[-2]) > 0 for line in lines if line.endswith("times "))
