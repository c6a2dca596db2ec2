"""The programs that ask areole and other caches the same questions: their frame, and that areole survives them."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from benchmarks.build import this_build
from stress.contenders.__main__ import main
from stress.contenders.catalogue import all_contenders, contender_called, rows_for
from stress.contenders.child import MARK
from stress.contenders.contender import Cached
from stress.contenders.frame import run_command, run_one
from stress.contenders.outcome import (
    CRASHES,
    HANGS,
    NOT_INSTALLED,
    NOT_OFFERED,
    RAISES,
    SURVIVES,
    WRONG,
    Hangs,
    NotOffered,
    Outcome,
    Wrong,
)
from stress.contenders.report import as_json, as_markdown, compact_markdown
from stress.contenders.rows import LOOP_ROWS, THREAD_ROWS, header_of
from stress.contenders.tools import Effort, Task, until

from ..kit import PATIENCE

SHORT = Effort(seconds=0.1, scale=0.02, patience=PATIENCE)
CONTENDERS = all_contenders()
AREOLE = [contender for contender in CONTENDERS if contender.name.startswith("areole")]

PAIRS = [
    pytest.param(row, contender.name, id=f"{contender.name}-{row}")
    for contender in AREOLE
    for row in rows_for(contender)
]


@pytest.mark.parametrize(("row", "contender"), PAIRS)
def test_areole_survives(row: str, contender: str) -> None:
    if (why := contender_called(contender).missing()) is not None:
        pytest.skip(why)
    outcome = run_one(row, contender, SHORT, deadline=110)
    if outcome.kind == NOT_OFFERED:
        pytest.skip(f"not offered: {outcome.detail}")
    assert outcome.kind == SURVIVES, outcome


@pytest.mark.parametrize(
    ("row", "contender", "kind"),
    [("own_key", "lru_cache", RAISES), ("calls", "cachetools lock", WRONG), ("loop_old_task", "async-lru", WRONG)],
)
def test_a_fault_of_another_is_seen(row: str, contender: str, kind: str) -> None:
    if (why := contender_called(contender).missing()) is not None:
        pytest.skip(f"{contender} is {why}")
    assert run_one(row, contender, SHORT, deadline=110).kind == kind


# ---- a stranger's cache

SUBJECT = "tests.tools.stranger:"


@pytest.mark.parametrize(
    ("row", "factory", "kind"),
    [
        ("own_key", "Plain", RAISES),
        ("removed_during_fill", "Plain", WRONG),
        ("bytes_limit", "Plain", NOT_OFFERED),
        ("loop_old_task", "OnLoop", WRONG),
    ],
)
def test_a_stranger_is_asked_in_a_process_of_its_own(row: str, factory: str, kind: str) -> None:
    assert run_one(row, SUBJECT + factory, SHORT, deadline=110).kind == kind


def test_an_option_that_a_factory_does_not_take_is_not_offered() -> None:
    contender = contender_called(SUBJECT + "Plain")
    assert contender.features == {"ttl"} and rows_for(contender) == THREAD_ROWS
    assert rows_for(contender_called(SUBJECT + "OnLoop")) == LOOP_ROWS
    with pytest.raises(NotOffered, match="a limit of items"):
        contender.cached(str, max_items=3)


@pytest.mark.parametrize("name", ["tests.no_such:f", "tests.tools.stranger:nothing", "tests.tools.stranger:NUMBER"])
def test_a_subject_that_is_not_there_is_named(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--subject", name])
    assert f"--subject {name}" in capsys.readouterr().err


# ---- processes


def run_code(code: str, deadline: float = PATIENCE) -> Outcome:
    return run_command("row", "contender", [sys.executable, "-c", code], deadline)


def test_a_process_that_does_not_end_is_killed_with_what_it_forked(tmp_path: Path) -> None:
    told = tmp_path / "pids"
    code = f"""
import os, time
child = os.fork()
if child:
    with open({str(told)!r}, "w") as file:
        file.write(f"{{os.getpid()}} {{child}}")
time.sleep(600)
"""
    deadline = 2.0
    while not told.exists():  # a machine that was slower than that to start it
        assert deadline < PATIENCE
        outcome = run_code(code, deadline)
        deadline *= 2
    assert outcome.kind == HANGS
    pids = [int(pid) for pid in told.read_text().split()]
    assert len(pids) == 2
    assert until(lambda: not any(map(is_running, pids)), PATIENCE)


def is_running(pid: int) -> bool:
    """Say whether a process is there and not a zombie that nobody has waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_an_outcome_is_read_from_the_last_line_that_has_one() -> None:
    wanted = Outcome("row", "contender", WRONG, "2 of 3", 1.5)
    early = '{"row": "row", "contender": "contender", "kind": "survives"}'
    late = '{"row": "row", "contender": "contender", "kind": "wrong", "detail": "2 of 3", "seconds": 1.5}'
    assert run_code(f"print({MARK + early!r}); print('noise'); print({MARK + late!r})") == wanted


@pytest.mark.parametrize(
    ("code", "detail"),
    [
        (f"import os; os.kill(os.getpid(), {int(signal.SIGSEGV)})", "SIGSEGV"),
        ("raise SystemExit(3)", "exit status 3"),
        ("pass", "exit status 0: no outcome was reported"),
        ("import nothing_of_that_name", "exit status 1: ModuleNotFoundError"),
    ],
)
def test_a_process_that_reports_no_outcome_crashed(code: str, detail: str) -> None:
    outcome = run_code(code)
    assert outcome.kind == CRASHES
    assert outcome.detail.startswith(detail)


# ---- outcomes


@pytest.mark.parametrize(
    ("error", "kind", "detail"),
    [
        (Wrong("2 calls"), WRONG, "2 calls"),
        (Hangs("a waiter"), HANGS, "a waiter"),
        (NotOffered("a ttl"), NOT_OFFERED, "a ttl"),
        (KeyError("k"), RAISES, "KeyError: 'k'"),
        (KeyboardInterrupt(), RAISES, "KeyboardInterrupt"),
        (RuntimeError("Task <Task at 0x7f> got Future <F> attached"), RAISES, "RuntimeError: Task … attached"),
    ],
)
def test_what_ends_a_program_says_what_came_of_it(error: BaseException, kind: str, detail: str) -> None:
    assert Outcome.of_error("row", "contender", error) == Outcome("row", "contender", kind, detail)


def test_an_outcome_of_no_known_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="'perhaps'"):
        Outcome.of_json({"row": "row", "contender": "contender", "kind": "perhaps"})


def test_a_thread_that_does_not_come_back_hangs() -> None:
    gate = threading.Event()
    task = Task(lambda: gate.wait(PATIENCE), Effort(patience=0.01), "a waiter")
    with pytest.raises(Hangs, match="a waiter never comes back"):
        task.result()
    gate.set()


def test_what_is_not_offered_says_so_when_it_is_used_or_asked_for() -> None:
    cached = Cached(lambda key: key)
    assert not cached.offers("invalidate")
    with pytest.raises(NotOffered, match="removing a key"):
        cached.invalidate(1)
    with pytest.raises(NotOffered, match="a ttl"):
        contender_called("lru_cache").cached(lambda key: key, ttl=1)


# ---- rows and tables


@pytest.mark.parametrize("row", [*THREAD_ROWS, *LOOP_ROWS])
def test_the_header_of_each_row_says_what_it_asks_and_what_survives(row: str) -> None:
    header = header_of(row)
    assert [word in header for word in ("\n\nAsks: ", "\nSurvives: ")] == [True, True]


def test_every_file_of_rows_is_listed() -> None:
    import stress.contenders.rows

    files = {path.stem for path in Path(stress.contenders.rows.__file__).parent.glob("*.py")}
    assert files - {"__init__"} == {*THREAD_ROWS, *LOOP_ROWS}


@pytest.mark.parametrize("contender", [contender.name for contender in CONTENDERS if contender not in AREOLE])
def test_each_of_the_others_can_be_made(contender: str) -> None:
    made = contender_called(contender)
    if (why := made.missing()) is not None:
        pytest.skip(why)
    assert made.version() is not None
    outcome = run_one("loop_cold_key" if made.is_async else "equal_hashes", contender, SHORT, deadline=110)
    assert outcome.kind in (SURVIVES, WRONG), outcome


OUTCOMES = [
    Outcome("calls", "areole memoize", SURVIVES),
    Outcome("calls", "lru_cache", WRONG, "4 entries"),
    Outcome("own_key", "areole memoize", SURVIVES, "RecursiveFillError"),
    Outcome("own_key", "lru_cache", RAISES, "RecursionError: maximum recursion depth exceeded"),
    Outcome("loops_two", "moka-py async", NOT_INSTALLED, "not installed"),
]


def test_the_tables_have_a_row_a_question_and_a_column_a_contender() -> None:
    lines = as_markdown(OUTCOMES, this_build({"cereggii": "1.0"})).splitlines()
    assert "|  | areole memoize | lru_cache |" in lines
    assert "| One call is one entry, however it is written | survives | **wrong** |" in lines
    assert "| A function that asks for its own key gets an error | survives | **raises** RecursionError |" in lines
    assert "- lru_cache: wrong, 4 entries" in lines
    assert "| Two event loops can share one cache | not installed |" in lines
    assert "- cereggii 1.0" in lines


def test_the_compact_table_leaves_out_what_is_not_installed() -> None:
    text = compact_markdown(OUTCOMES, this_build({}))
    assert "|  | areole | lru_cache |" in text
    assert "| One call is one entry, however it is written | yes | **wrong** |" in text
    assert "moka" not in text


def test_the_compact_table_shows_the_worst_of_a_librarys_forms() -> None:
    forms = [
        Outcome("own_key", "areole AtomicCache", SURVIVES),
        Outcome("own_key", "areole Storage", HANGS, "for ever"),
    ]
    assert "| A function that asks for its own key gets an error | **hangs** |" in compact_markdown(
        forms, this_build({})
    )


def test_the_json_says_the_same() -> None:
    told = json.loads(json.dumps(as_json(OUTCOMES, this_build({}))))
    assert [Outcome.of_json(each) for each in told["outcomes"]] == OUTCOMES
    assert told["build"]["has_gil"] in (True, False)
    assert told["questions"]["calls"].startswith("One call is one entry")


# ---- the command


def test_lists_rows_and_contenders(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    names = [line[:28].rstrip() for line in capsys.readouterr().out.splitlines() if line]
    assert names == [*THREAD_ROWS, *LOOP_ROWS, *(contender.name for contender in CONTENDERS)]


def test_runs_one_row_for_one_contender_and_writes_all_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / name for name in ("t.json", "t.md", "c.md")]
    options = [f"--{name}={file}" for name, file in zip(("json", "markdown", "compact"), files, strict=True)]
    assert main(["--only", "own_key", "--contender", "lru_cache", *options]) == 0
    told = json.loads(files[0].read_text())
    assert [each["kind"] for each in told["outcomes"]] == [RAISES]
    assert all("RecursionError" in file.read_text() for file in files[1:])
    assert "own_key" in capsys.readouterr().err


def test_exits_with_1_if_areole_does_not_survive(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = Outcome("own_key", "areole memoize", WRONG, "no error")
    monkeypatch.setattr("stress.contenders.__main__.run_all", lambda *arguments, **options: [failed])
    assert main(["--only", "own_key", "--contender", "areole memoize", "--markdown", os.devnull]) == 1
