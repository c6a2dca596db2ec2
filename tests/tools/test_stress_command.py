"""python -m stress: what it lists, what it refuses, how it ends, and what it says."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from stress.__main__ import _make_parser, main
from stress.case import Case, Result
from stress.child import run_children
from stress.command import choose_runs
from stress.report import Progress, print_findings
from stress.scenario import Scenario
from stress.scenarios import SCENARIOS
from stress.soak import judge
from stress.vitals import Vitals, vitals
from stress.worker import Worker


def test_lists_every_scenario_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[: len(SCENARIOS)]] == list(SCENARIOS)
    assert max(map(len, lines)) <= 140


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_header_of_each_scenario_says_what_it_proves_hunts_and_allows(name: str) -> None:
    header = sys.modules[SCENARIOS[name].__module__].__doc__ or ""
    assert [word in header for word in ("\nProves: ", "\nHunts:\n", "\nAllowed: ")] == [True] * 3


def test_a_clean_run_exits_with_0_and_shows_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "expiry", "--seconds", "0.2", "--seed", "5", "--threads", "2"]) == 0
    out, err = capsys.readouterr()
    columns = "scenario on rounds seconds operations hits fills wrong stale doubled blocked memory"
    assert " ".join(out.splitlines()[0].split()) == columns
    assert out.splitlines()[1].split()[:2] == ["expiry", "dict"]
    assert "seed 5" in err
    assert "wrong 0  stale 0  doubled 0  blocked 0" in err


def test_what_cannot_be_run_is_skipped_and_says_why(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SCENARIOS["fork"], "why_skipped", lambda: "this system has no os.fork")
    assert main(["run", "fork/dict", "--seconds", "0.1"]) == 0
    assert "skipped: fork/dict: this system has no os.fork" in capsys.readouterr().out


class FindsSomething(Scenario):
    """What it finds depends on the seed."""

    variants = ("dict",)

    @classmethod
    def name(cls) -> str:
        return "finds_something"

    def play(self, worker: Worker) -> None:
        worker.operations += 1
        self.oracle.findings.add("stale", f"{worker.choices.randrange(10**9)}")

    def check_round(self, workers: list[Worker]) -> None:
        pass


@pytest.fixture
def finds_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCENARIOS, "finds_something", FindsSomething)


@pytest.mark.usefixtures("finds_something")
def test_a_run_that_finds_something_exits_with_1_and_its_command_finds_the_same_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["run", "finds_something", "--seconds", "0.1", "--threads", "2", "--until-found", "--json"]
    assert main(arguments) == 1
    first = json.loads(capsys.readouterr().out)
    command = first["results"][0]["command"]
    assert command.startswith("python -m stress run finds_something/dict --threads 2 --seed ")
    assert main([*command.split()[3:], "--seconds", "0.1", "--until-found", "--json"]) == 1
    out, err = capsys.readouterr()
    again = json.loads(out)
    assert again["clean"] is False
    assert sorted(again["results"][0]["messages"]) == sorted(first["results"][0]["messages"])
    assert again["results"][0]["stale"] == first["results"][0]["stale"] == 2
    assert command in err


def test_json_goes_to_a_file_and_the_table_to_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "results.json"
    assert main(["run", "primes/dict", "--seconds", "0.1", "--json", str(file)]) == 0
    told = json.loads(file.read_text())
    assert told["clean"] is True
    assert [(each["scenario"], each["variant"]) for each in told["results"]] == [("primes", "dict")]
    assert "primes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("names", "runs"),
    [
        (["invalidate"], ["invalidate/dict", "invalidate/atomic"]),
        (["invalidate", "--index", "atomic"], ["invalidate/atomic"]),
        (["clocks", "--policy", "lru"], ["clocks/dict", "clocks/lru"]),
        (["clocks/s3fifo", "invalidate/dict"], ["invalidate/dict", "clocks/s3fifo"]),
    ],
)
def test_an_index_and_a_policy_choose_among_the_variants(
    names: list[str], runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *names, "--seconds", "0.1", "--json", "-"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert [f"{each['scenario']}/{each['variant']}" for each in results] == runs


def test_an_engine_chooses_among_the_variants_of_shared_caches() -> None:
    def names(*arguments: str) -> list[str]:
        runs = choose_runs(_make_parser().parse_args(["run", *arguments]), pytest.fail)
        return [f"{scenario.name()}/{variant}" for scenario, variant in runs]

    of_sqlite = names("shared", "--engine", "sqlite")
    assert "shared/sqlite" in of_sqlite and "shared/sqlite-killed" in of_sqlite
    assert not [name for name in of_sqlite if "redis" in name]
    assert len(names("shared")) == len(of_sqlite) + len(names("shared", "--engine", "redis"))
    assert names("shared/redis-cut", "primes/dict", "--engine", "redis") == ["primes/dict", "shared/redis-cut"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["run", "nothing"],
        ["run", "invalidate/lru"],
        ["run", "expiry", "--index", "atomic"],
        ["run", "--all", "--seconds", "0"],
        ["run", "--all", "--index", "list"],
        ["run", "shared/sqlite", "--engine", "redis"],
        ["soak", "nothing"],
        ["faults", "--only", "nothing"],
    ],
)
def test_what_makes_no_sense_exits_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)


class Terminal:
    def __init__(self) -> None:
        self.written = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> None:
        self.written += text

    def flush(self) -> None:
        pass


def test_on_a_terminal_progress_is_one_line_that_is_written_over() -> None:
    terminal: Any = Terminal()
    progress = Progress(terminal, "1/2")
    progress._last = 0.0
    progress(Result("primes", "dict", 1, 4, operations=12_345, memory=20.4))
    progress.finish(Result("primes", "dict", 1, 4))
    assert terminal.written.count("\n") == 1
    assert terminal.written.index("\r") < terminal.written.index("\n")
    assert "operations 12,345" in terminal.written
    assert "20 MB" in terminal.written


# ---- a scenario in processes of its own


def run_child_of(name: str, **options: Any) -> Result:
    scenario: Any = SCENARIOS[name]
    defaults = {"variant": "dict", "threads": 2, "seed": 1, "patience": 30.0, "rounds": 1}
    return run_children(scenario, lambda result: None, **defaults | options, is_over=lambda result: False)


def test_a_child_that_says_anything_on_stderr_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONVERBOSE", "1")  # the interpreter itself talks
    result = run_child_of("exits")
    assert (result.wrong, result.blocked) == (1, 0)
    assert "status 0" in result.messages[0]


def test_a_child_that_does_not_end_is_blocked_and_shows_its_stacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stress.child.STARTING", 0.0)
    monkeypatch.setattr(SCENARIOS["interrupts"], "seconds_each", 1000.0)
    result = run_child_of("interrupts", patience=-999.0)
    assert (result.wrong, result.blocked) == (0, 1)
    assert "status" in result.messages[0]


# ---- what is found is told


def test_findings_come_with_stacks_and_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    result = Result("primes", "atomic", 7, 3, blocked=1, messages=["blocked: worker-1"], stacks="in play")
    print_findings(result, sys.stdout)
    out = capsys.readouterr().out
    assert "blocked: worker-1" in out
    assert "in play" in out
    assert "python -m stress run primes/atomic --threads 3 --seed 7" in out


# ---- the soak


def samples(memory: list[float | None], threads: int = 1, files: int | None = 3) -> list[Vitals]:
    return [Vitals(each, threads, files) for each in memory]


@pytest.mark.parametrize(
    "memory",
    [
        [20, 40, 60, *[60.0] * 20],  # a warm-up
        [60 + n % 3 for n in range(30)],  # scatter
        [60 + 12 * (n % 7) for n in range(30)],  # much scatter
        [60 + n / 10 for n in range(30)],  # 2 MB in 20 passes
        [10, 100, 200],  # too few to tell
        [None] * 30,  # the system does not say
    ],
)
def test_memory_that_does_not_grow_is_flat(memory: list[float | None]) -> None:
    assert judge(samples(memory)) == []


@pytest.mark.parametrize(
    ("memory", "word"),
    [
        ([60 + n for n in range(30)], "rises"),
        ([60] * 20 + [200] + [60] * 9, "allows"),
        ([60 + 9 * n for n in range(12)], "rises"),
    ],
)
def test_memory_that_grows_or_leaps_is_not(memory: list[float | None], word: str) -> None:
    assert [word in complaint for complaint in judge(samples(memory))].count(True) == 1


@pytest.mark.parametrize("what", ["threads", "files"])
def test_one_thread_or_file_more_than_after_the_warm_up_is_one_too_many(what: str) -> None:
    more = {"threads": 2} if what == "threads" else {"files": 4}
    assert judge(samples([60] * 8) + samples([60], **more)) != []
    assert judge(samples([60], **more) + samples([60] * 8)) == []


def test_a_soak_samples_each_pass_and_tells(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["soak", "primes/dict", "--minutes", "0.0001", "--threads", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["clean"] is True
    assert len(told["samples"]) == 1
    assert told["operations"] > 0


def test_a_soak_that_is_not_flat_exits_with_1_and_prints_the_samples(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stress.soak.judge", lambda samples: ["memory: rises"])
    assert main(["soak", "primes/dict", "--minutes", "0.0001"]) == 1
    out = capsys.readouterr().out
    assert "memory, MB" in out
    assert "memory: rises" in out


def test_the_vitals_of_this_process_are_told() -> None:
    seen = vitals()
    assert seen.threads >= 1
    assert seen.memory is None or seen.memory > 1
    assert seen.files is None or seen.files > 1


def test_every_scenario_is_a_case_with_variants() -> None:
    for name, scenario in SCENARIOS.items():
        assert issubclass(scenario, Case)
        assert scenario.name() == name
        assert scenario.variants
