"""python -m stress run --subject: what it finds in caches of strangers, and what it does not."""

from __future__ import annotations

import pytest

from stress.__main__ import main
from stress.case import Result
from stress.frame import run
from stress.scenarios import SCENARIOS

HERE = "tests.tools.stranger:"
FOR_ALL = {"cold_storm", "failures", "recursion", "equal_hashes", "threads"}
FOR_STRANGERS = FOR_ALL | {"invalidate", "primes", "expiry", "clocks", "eviction"}


def scenarios_for(factory: str) -> set[str]:
    return {name for name, scenario in SCENARIOS.items() if not scenario.why_variant_skipped(HERE + factory)}


def test_a_scenario_runs_on_what_a_cache_offers() -> None:
    assert scenarios_for("Locked") == FOR_STRANGERS
    assert scenarios_for("Plain") == FOR_ALL | {"invalidate", "primes", "expiry"}
    assert scenarios_for("Forgetful") == FOR_ALL
    assert scenarios_for("OneFlight") == FOR_ALL - {"threads"} | {"invalidate", "primes"}


def run_on(factory: str, name: str, rounds: int = 12, threads: int = 3) -> Result:
    return run(SCENARIOS[name], variant=HERE + factory, rounds=rounds, threads=threads, seed=1)


@pytest.mark.parametrize("name", sorted(FOR_STRANGERS))
def test_finds_nothing_in_a_dict_behind_a_lock(name: str) -> None:
    result = run_on("Locked", name)
    assert result.is_clean and not result.also, "\n".join([*result.messages, result.stacks])
    assert result.rounds == 12 and result.fills > 0


@pytest.mark.parametrize(
    ("factory", "name"),
    [
        ("Pickling", "failures"),
        ("Pickling", "invalidate"),
        ("OneFlight", "cold_storm"),
        ("OneFlight", "failures"),
        ("OneFlight", "invalidate"),
        ("OneFlight", "recursion"),
    ],
)
def test_finds_nothing_where_values_are_pickled_nor_on_an_event_loop(factory: str, name: str) -> None:
    result = run_on(factory, name)
    assert result.is_clean and not result.also, "\n".join([*result.messages, result.stacks])


@pytest.mark.parametrize(
    ("factory", "name", "kind"),
    [
        ("Broken", "cold_storm", "doubled"),
        ("Broken", "invalidate", "stale"),
        ("Broken", "primes", "stale"),
        ("Broken", "expiry", "stale"),
        ("Broken", "clocks", "stale"),
        ("Broken", "eviction", "wrong"),
        ("OnLoop", "invalidate", "stale"),
    ],
)
def test_finds_what_is_broken(factory: str, name: str, kind: str) -> None:
    result = run(SCENARIOS[name], variant=HERE + factory, seconds=20, seed=1, until_found=(kind,))
    assert getattr(result, kind) > 0
    assert result.command == f"python -m stress run {name} --subject {HERE}{factory} --threads 4 --seed 1"


def test_what_is_not_promised_is_counted_apart(capsys: pytest.CaptureFixture[str]) -> None:
    result = run_on("Forgetful", "cold_storm", threads=1)
    assert result.is_clean and result.doubled == 0 and result.also["doubled, not promised"] > 0
    assert main(["run", "cold_storm", "eviction", "--subject", HERE + "Forgetful", "--seconds", "0.1"]) == 0
    out = capsys.readouterr().out
    assert " doubled, not promised" in out
    assert "skipped: eviction/Forgetful: its factory takes no `max_items`, it has no `count`" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--subject", "tests.no_such:f"], "--subject tests.no_such:f: No module"),
        (["--subject", HERE], "--subject tests.tools.stranger:: "),
        (["--subject", HERE + "NUMBER"], "NUMBER is a int, not a factory"),
        (["--subject", HERE + "unmade"], "unmade: the factory raised OSError('no server')"),
        (["--subject", HERE + "Odd"], "not_promised has ['wrong']"),
        (["cold_storm/dict", "--subject", HERE + "Plain"], "with --subject, name scenarios alone"),
    ],
)
def test_a_subject_that_makes_no_sense_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["run", *arguments])
    assert message in capsys.readouterr().err
