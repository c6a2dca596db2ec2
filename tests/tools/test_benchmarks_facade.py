"""`python -m benchmarks`, and the rows that came with it. Tiny sizes: nothing here depends on speed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as facade
from benchmarks import mixes, plots, scaling
from benchmarks.crew import Crew
from benchmarks.samples import Case
from benchmarks.storage import stores


@pytest.mark.parametrize(("contention", "crosstalk"), [(0.1, 0.002), (0.0, 0.01), (0.3, 0.0)])
def test_the_curve_that_made_the_points_is_found_again(contention: float, crosstalk: float) -> None:
    law = scaling.Curve(contention, crosstalk)
    found = scaling.fit({n: law.times(n) for n in (1, 2, 4, 8)})
    assert found == pytest.approx(law, abs=1e-9)
    assert found.times(64) == pytest.approx(law.times(64))


def test_two_counts_of_threads_give_contention_alone_and_no_curve_is_better_than_linear() -> None:
    assert scaling.fit({1: 1.0, 2: 1.6}) == (pytest.approx(0.25), None)
    assert scaling.fit({1: 1.0, 2: 2.4}).times(16) == 16
    assert scaling.fit({1: 1.0, 2: 2.4, 4: 5.0}).times(64) == 64
    with pytest.raises(ValueError, match="two threads or more"):
        scaling.fit({1: 1.0})


def test_threads_are_measured_up_to_the_number_of_cpus() -> None:
    assert [scaling.thread_counts(n) for n in (1, 2, 6)] == [(1, 2), (1, 2), (1, 2, 4, 6)]


def test_hits_are_measured_on_one_hot_value_on_disjoint_keys_and_on_immortal_values(tmp_path: Path) -> None:
    plan = scaling.Plan(keys=5, rounds=2, burst=0.0)
    with Crew(2) as crew:
        samples = scaling.measure(crew, stores(100)[2:3], (1, 2), plan)
    results = scaling.Results(facade.this_build({}), plan, samples)
    assert [[*each.by_case] for each in samples.values()] == [[Case("areole lru", "store.get(k)")]] * 3
    assert all(len(each) == 2 for s in samples.values() for by in s.by_case.values() for each in by.values())
    assert "PROJECTED 64 / 1" in scaling.scaling_table(results)
    assert json.dumps(results.as_json())


def test_a_mix_has_the_gets_and_sets_that_its_name_says() -> None:
    plan = mixes.Plan(room=10, turns=3)
    for name, (gets, sets) in {"95/5": (19, 1), "50/50": (10, 10), "inserts": (1, 19)}.items():
        turns = mixes._turns(name, plan, 1)
        assert [(len(g), len(s)) for g, s in turns] == [(gets, sets)] * 3
    new = [k for seed in (1, 2) for _, s in mixes._turns("inserts", plan, seed) for k in s]
    assert len(set(new)) == len(new) and min(new) > 2 * plan.room


def test_each_store_is_measured_under_each_mix_and_at_each_size() -> None:
    plan = mixes.Plan(room=10, turns=2, rounds=2, sizes=(10, 20))
    with Crew(2) as crew:
        found = mixes.measure_mixes(crew, stores(10)[2:4], plan)
        sizes = mixes.measure_sizes(crew, plan)
    names = ("areole lru", "areole s3fifo")
    assert set(found.by_case) == {Case(name, mix) for name in names for mix in mixes.MIXES}
    assert all(len(by[n]) == 2 for by in found.by_case.values() for n in (1, 2))
    assert len(sizes.by_case) == 4 and "inserts" in mixes.mix_table(found) and "20 items" in mixes.size_table(sizes)


def test_percentiles_of_a_full_store_are_ordered() -> None:
    assert [mixes.percentile(range(1, 1001), share) for share in (0.5, 0.999, 1.0)] == [500, 999, 1000]
    found = mixes.measure_slowest("lru", 50, 40, longest_ttl=0.01)
    assert found["set, median"] <= found["set, 99.9 %"] <= found["set, most"]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """Run no part: say what was run; `mixes` fails."""
    ran: list[tuple[str, bool]] = []

    def run_part(part: facade.Part, quick: bool) -> facade.Outcome:
        ran.append((part.name, quick))
        return facade.Outcome(int(part.name == "mixes"), 0.1, f"{part.name} was here\n", {"a": 1})

    monkeypatch.setattr(facade, "run_part", run_part)
    return ran


def test_what_all_parts_found_is_in_one_file_and_so_is_what_is_not_installed(
    made: list[tuple[str, bool]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(facade, "CONTENDERS", ("cereggii", "no-such-cache"))
    assert facade.main(["--quick", "--out", str(tmp_path / "new")]) == 1
    assert made == [(part.name, True) for part in facade.PARTS if part.in_quick]
    everything: dict[str, Any] = json.loads(next((tmp_path / "new").glob("*.json")).read_text())
    assert everything["contenders"]["cereggii"] and everything["contenders"]["no-such-cache"] is None
    assert {"compiler", "cpus", "load", "has_gil"} <= set(everything["build"])
    assert everything["parts"]["mixes"]["status"] == 1 and everything["parts"]["hits"]["found"] == {"a": 1}
    text = next((tmp_path / "new").glob("*.txt")).read_text()
    assert "no-such-cache: not installed" in text and "hits was here" in text
    assert "not 0 (see above): mixes" in capsys.readouterr().out


def test_only_some_parts_run_if_asked_for(made: list[tuple[str, bool]]) -> None:
    assert facade.main(["--only", "tiers", "--only", "hits", "--quick"]) == 0
    assert made == [("hits", True), ("tiers", True)]


def test_every_part_is_a_module_that_takes_the_options_it_is_given() -> None:
    modules = {path.stem: path.read_text() for path in (facade.ROOT / "benchmarks").glob("*.py")}
    for part in facade.PARTS:
        assert "--quick" in modules[part.name] or "make_p" in modules[part.name]
        assert ("make_p" in modules[part.name]) >= part.has_json


def test_plots_without_matplotlib_say_what_to_install(
    made: list[tuple[str, bool]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plots, "import_pyplot", lambda: None)
    with pytest.raises(SystemExit):
        facade.main(["--plots", "--out", str(tmp_path)])
    assert "[bench]" in capsys.readouterr().err and made == []
    assert plots.draw({"scaling": {}}, tmp_path, "3.13") == []
