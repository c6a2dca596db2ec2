"""The demonstration, `python -m areole`. Nothing here depends on how fast anything runs."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import areole
from areole import AtomicCache
from areole.demo import checks, command, threads, workload
from areole.demo.checks import CHECKS, Check
from areole.demo.command import main
from areole.demo.workload import VARIANTS, Summary, Variant, choose_modules, draw_requests, run_variant, summarise

from .kit import PATIENCE, ManualClock, assert_valid, is_free_threaded

SHORT = ["--seconds", "0.1", "--threads", "3"]
UNCACHED, FUNCTOOLS, AREOLE = VARIANTS

Summariser = Callable[[str], Summary]


def no_tick(text: str) -> None:
    pass


def wrong(function: Summariser) -> Summariser:
    return lambda path: function(path)._replace(lines=-1)


def twice(function: Summariser) -> Summariser:
    return lambda path: (function(path), function(path))[0]


def with_memoize(variant: Variant, memoize: Any) -> tuple[Variant, ...]:
    """All variants, one of them with another memoizer under the same name."""
    return tuple(each._replace(memoize=memoize) if each is variant else each for each in VARIANTS)


def run_json(
    capsys: pytest.CaptureFixture[str], variants: tuple[Variant, ...] = VARIANTS, checks: tuple[Check, ...] = CHECKS
) -> tuple[int, dict[str, Any]]:
    status = main([*SHORT, "--json"], variants, checks)
    return status, json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small standard library: to read the real one takes most of the time of a run."""
    root = tmp_path_factory.mktemp("library")
    for i in range(12):
        write(root / f"module{i}.py", "class C:\n    def f(self): return 1\n" * 40 + "x = 1\n" * (i + 1))
    return root


@pytest.fixture(autouse=True)
def small_library(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(library))


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name == "demo"] == []


# ---- what it reports


def test_it_reports_every_variant_and_the_numbers_add_up(capsys: pytest.CaptureFixture[str]) -> None:
    status, report = run_json(capsys)
    assert status == 0
    assert report["faults"] == []
    assert [each["variant"] for each in report["variants"]] == ["uncached", "functools.cache", "AtomicCache.memoize"]
    for each in report["variants"]:
        assert 0 < each["fills"] - each["redundant_fills"] <= report["modules"] == 12
        assert each["calls"] >= each["fills"]
        assert each["seconds"] > 0
        assert math.isfinite(each["hits_per_second"])
        assert each["hits_per_second"] * each["seconds"] == pytest.approx(each["calls"] - each["fills"])
        assert (each["redundant_seconds"] > 0) <= (each["redundant_fills"] > 0)
        assert each["wrong_results"] == 0
    uncached, _, areole = report["variants"]
    assert uncached["calls"] == uncached["fills"]
    assert areole["redundant_fills"] == 0


def version_of(major: int, minor: int, micro: int, level: str, serial: int) -> str:
    """Write what `sys.version_info` says as releases are called: 3.14.0, or 3.14.0rc1."""
    short = {"alpha": f"a{serial}", "beta": f"b{serial}", "candidate": f"rc{serial}", "final": ""}
    return f"{major}.{minor}.{micro}{short[level]}"


def test_it_says_which_interpreter_runs_and_whether_the_gil_is_on(capsys: pytest.CaptureFixture[str]) -> None:
    _, report = run_json(capsys)
    assert report["python"].removesuffix("+") == version_of(*sys.version_info)  # "+": built from a checkout
    assert report["gil"] is not is_free_threaded()
    assert (report["threads"], report["seconds"]) == (3, 0.1)

    assert main(SHORT) == 0
    first_line = capsys.readouterr().out.splitlines()[0]
    assert f"CPython {report['python']}" in first_line
    assert ("the GIL is off" if is_free_threaded() else "the GIL is on") in first_line
    assert report["accelerated"] is areole.accelerated
    assert (", hits in C, on" if areole.accelerated else ", pure Python, on") in first_line


@pytest.mark.parametrize(
    ("version", "info"),
    [
        ("3.14.0rc1+ (heads/3.14:5a26ee2, Jul 23 2025, 10:12:13) [GCC 12.2.0]", (3, 14, 0, "candidate", 1)),
        ("3.15.0a7 (main, Mar 10 2026, 09:00:00) [Clang 19.1.7 ]", (3, 15, 0, "alpha", 7)),
        ("3.14.2+ (heads/3.14:0a1b2c3, Dec  5 2025, 10:12:13) [GCC 12.2.0]", (3, 14, 2, "final", 0)),
    ],
    ids=["candidate", "alpha", "final"],
)
def test_it_says_so_of_one_that_is_no_release(
    version: str, info: tuple[int, int, int, str, int], capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr(sys, "version", version)
    _, report = run_json(capsys)
    assert report["python"] == version.split()[0]
    assert report["python"].removesuffix("+") == version_of(*info)


def test_the_text_has_a_row_for_each_variant_under_all_headings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(SHORT) == 0
    lines = capsys.readouterr().out.splitlines()
    ruler = next(i for i, line in enumerate(lines) if line.startswith("-----"))
    assert lines[ruler - 1].split() == ["variant", "calls", "fills", "redundant", "fills", "seconds", "hits/s"]
    rows = lines[ruler + 1 : ruler + 4]
    assert [row.split()[0] for row in rows] == [each.name for each in VARIANTS]
    assert {len(row.split()) for row in rows} == {6}


def test_the_text_says_in_a_sentence_what_functools_cache_did_needlessly(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(SHORT, with_memoize(FUNCTOOLS, lambda function: FUNCTOOLS.memoize(twice(function)))) == 0
    assert "functools.cache ran the function again" in (out := capsys.readouterr().out)
    assert "times while the first run was still going: 0." in out

    assert main(SHORT, with_memoize(FUNCTOOLS, AREOLE.memoize)) == 0
    assert "functools.cache made no redundant fill this time" in capsys.readouterr().out


def test_every_run_starts_with_cold_caches(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        _, report = run_json(capsys)
        assert all(each["fills"] > each["redundant_fills"] for each in report["variants"])


def test_the_cache_is_valid_afterwards() -> None:
    caches: list[AtomicCache[Any, Any]] = []

    def memoize(function: Summariser) -> Summariser:
        memoized = AtomicCache.memoize(function)
        caches.append(memoized.cache)  # type: ignore[arg-type]
        return memoized

    assert main(SHORT, with_memoize(AREOLE, memoize)) == 0
    (cache,) = caches
    assert_valid(cache)
    assert cache.cache_info().fills == len(cache) > 0


# ---- what makes it fail


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_wrong_result_from_any_variant_is_status_1(variant: Variant, capsys: pytest.CaptureFixture[str]) -> None:
    def memoize(function: Summariser) -> Any:
        return variant.memoize(wrong(function))

    status, report = run_json(capsys, with_memoize(variant, memoize))
    assert status == 1
    assert [each["variant"] for each in report["variants"] if each["wrong_results"]] == [variant.name]
    assert len(report["faults"]) == 1
    assert f"{variant.name} gave" in report["faults"][0]


def test_a_result_of_another_key_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    def memoize(function: Summariser) -> Any:
        return AtomicCache.memoize(function, key=lambda path: None)

    status, report = run_json(capsys, with_memoize(AREOLE, memoize))
    assert status == 1
    assert report["variants"][2]["wrong_results"] > 0


def test_a_redundant_fill_of_areole_is_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    def memoize(function: Summariser) -> Any:
        return AtomicCache.memoize(twice(function))

    status, report = run_json(capsys, with_memoize(AREOLE, memoize))
    assert status == 1
    areole = report["variants"][2]
    assert areole["redundant_fills"] == areole["fills"] / 2 > 0
    assert f"AtomicCache.memoize made {areole['redundant_fills']} redundant fills" in report["faults"][0]


def test_the_text_names_the_fault(capsys: pytest.CaptureFixture[str]) -> None:
    caches_nothing = AREOLE._replace(memoize=lambda function: function, batch=16)
    assert main(SHORT, [caches_nothing]) == 1
    out = capsys.readouterr().out
    assert "FAULT: AtomicCache.memoize made" in out
    assert "none was wrong" not in out


def test_redundant_fills_of_functools_cache_are_reported_and_no_fault(capsys: pytest.CaptureFixture[str]) -> None:
    def memoize(function: Summariser) -> Any:
        return FUNCTOOLS.memoize(twice(function))

    status, report = run_json(capsys, with_memoize(FUNCTOOLS, memoize))
    assert status == 0
    assert report["faults"] == []
    assert 2 * report["variants"][1]["redundant_fills"] >= report["variants"][1]["fills"]


def test_one_wrong_answer_among_many_right_ones_is_seen(tmp_path: Path) -> None:
    path = write(tmp_path / "module.py", "x = 1\n")
    right, calls, is_over = summarise(path), 0, threading.Event()

    def answer(path: str) -> Summary:
        nonlocal calls
        calls += 1
        if calls == 300:
            is_over.set()
        return right._replace(lines=-1) if calls == 200 else right

    counts = workload._call(answer, {path: right}, 64, is_over, [path] * 64)
    assert counts == (320, 1)  # whole batches


# ---- what is asked for


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_a_summary_counts_what_is_in_the_module(tmp_path: Path) -> None:
    path = write(tmp_path / "module.py", "class A:\n    async def f(self):\n        pass\ndef g(): pass\n")
    assert summarise(path) == Summary(lines=4, functions=2, classes=1)


def test_modules_are_chosen_by_the_rule(tmp_path: Path) -> None:
    body = "x = 1\n" * 300
    names = ["package/inner.py", "contest.py", *(f"module{i}.py" for i in range(8))]
    good = {write(tmp_path / name, body) for name in names}
    for name in ("test/a.py", "package/tests/b.py", "site-packages/c.py", "data.txt"):
        write(tmp_path / name, body)
    write(tmp_path / "empty.py", "")
    write(tmp_path / "huge.py", body * 100)
    write(tmp_path / "broken.py", body + "def\n")
    write(tmp_path / "null.py", body + "\0")
    (tmp_path / "latin.py").write_bytes(body.encode() + b"'\xff'\n")
    (tmp_path / "dangling.py").symlink_to("nowhere.py")

    chosen = choose_modules(tmp_path, 1_000_000, no_tick)
    assert set(chosen) == good
    assert all(summary.lines == 300 for summary in chosen.values())
    assert list(choose_modules(tmp_path, 1_000_000, no_tick)) == list(chosen), "the order changed"
    assert len(choose_modules(tmp_path, 2 * len(body), no_tick)) == 2, "the limit was not kept"


def test_without_any_module_it_is_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    assert main(SHORT) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"no modules in source form under {tmp_path}" in captured.err


def test_requests_are_the_same_in_every_run_differ_between_threads_and_follow_zipf() -> None:
    paths = [f"path-{i}" for i in range(50)]
    requests = draw_requests(paths, 4)
    assert requests == draw_requests(paths, 4)
    assert len({tuple(each) for each in requests}) == 4
    drawn = [path for each in requests for path in each]
    assert set(drawn) == set(paths)
    assert drawn.count(paths[0]) / drawn.count(paths[9]) == pytest.approx(10, rel=0.3)


def test_all_variants_get_the_same_requests() -> None:
    recorded: list[dict[int, list[str]]] = []

    def memoize(function: Summariser) -> Summariser:
        by_thread: dict[int, list[str]] = defaultdict(list)
        recorded.append(by_thread)

        def call(path: str) -> Summary:
            by_thread[threading.get_ident()].append(path)
            return function(path)

        return call

    main([*SHORT[:-1], "1"], [each._replace(memoize=memoize, batch=1) for each in VARIANTS])
    first, *others = [next(iter(each.values())) for each in recorded]
    assert len(others) == 2
    for other in others:
        common = min(len(first), len(other))
        assert other[:common] == first[:common]


# ---- how it ends early


@pytest.fixture
def sigint_raises() -> Iterator[None]:
    """A shell starts what it puts into the background with SIGINT ignored; the tests may run there."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_stops_all_threads_and_is_status_130(
    sigint_raises: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("areole.demo.command.BYTES_PER_SECOND", 1)
    once = iter([signal.SIGINT])

    def memoize(function: Summariser) -> Summariser:
        def call(path: str) -> Summary:
            for number in once:
                os.kill(os.getpid(), number)
            return function(path)

        return call

    # With an hour to go, only the interrupt can end it. One thread: a generator is not for several.
    assert main(["--seconds", "3600", "--threads", "1", "--json"], [AREOLE._replace(memoize=memoize)]) == 130
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith("interrupted\n")


def test_ctrl_c_outside_of_the_runs_is_status_130_too(capsys: pytest.CaptureFixture[str]) -> None:
    def memoize(function: Summariser) -> Summariser:
        raise KeyboardInterrupt

    assert main(SHORT, with_memoize(FUNCTOOLS, memoize)) == 130
    assert capsys.readouterr().out == ""


def test_ctrl_c_that_the_threading_module_turns_into_another_error_is_status_130_too() -> None:
    def memoize(function: Summariser) -> Summariser:
        try:
            raise KeyboardInterrupt
        finally:
            threading.Lock().release()  # as a Condition does that was interrupted on its way to its lock

    assert main(SHORT, with_memoize(FUNCTOOLS, memoize)) == 130


def test_another_error_is_not_taken_for_ctrl_c() -> None:
    def memoize(function: Summariser) -> Summariser:
        raise LookupError("planted")

    with pytest.raises(LookupError, match="planted"):
        main(SHORT, with_memoize(FUNCTOOLS, memoize))


def test_what_a_thread_raises_ends_the_others_and_comes_out(tmp_path: Path) -> None:
    path = write(tmp_path / "module.py", "x = 1\n")
    first = iter([None])

    def memoize(function: Summariser) -> Summariser:
        def call(path: str) -> Summary:
            for _ in first:
                raise LookupError("planted")
            return function(path)

        return call

    with pytest.raises(LookupError, match="planted"):
        run_variant(Variant("planted", memoize, share=1), [[path]] * 3, {path: summarise(path)}, 3600.0, no_tick)


def test_a_thread_that_hangs_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workload, "TIMEOUT", 0)
    monkeypatch.setattr(threads, "STOP_TIMEOUT", 0)
    path = write(tmp_path / "module.py", "x = 1\n")
    released = threading.Event()

    def answer(path: str) -> Summary:
        assert released.wait(PATIENCE)
        return summarise(path)

    try:
        with pytest.raises(TimeoutError, match="it hangs"):
            run_variant(
                Variant("planted", lambda function: answer, share=1), [[path]], {path: summarise(path)}, 0.01, no_tick
            )
    finally:
        released.set()
        wait_for_threads()


def wait_for_threads() -> None:
    for thread in threading.enumerate():
        if thread.name == "demo":
            thread.join(PATIENCE)


# ---- what else it checks


def test_each_promise_has_a_line_and_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(SHORT, []) == 0
    out = capsys.readouterr().out
    for part in ("value after invalidate  the new one", "recursive key           RecursiveFillError", "failing fill  "):
        assert part in out
    _, report = run_json(capsys, ())
    assert report["checks"] == {"value after invalidate": True, "recursive key": True, "failing fill": True}


def stale_value(function: Callable[[str], Any]) -> Any:
    memoized = AtomicCache.memoize(function)
    memoized.invalidate = lambda key: None  # type: ignore[method-assign]
    return memoized


def no_memoizer(function: Callable[[str], Any]) -> Any:
    return function


@pytest.mark.parametrize(
    ("check", "memoize", "seen"),
    [
        (checks.value_after_invalidate, stale_value, "Error"),
        (checks.recursive_key, no_memoizer, "RecursionError"),
        (checks.failing_fill, no_memoizer, "Error"),
    ],
)
def test_a_broken_promise_is_status_1(
    check: Check, memoize: Any, seen: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks.AtomicCache, "memoize", staticmethod(memoize))
    monkeypatch.setattr(checks, "TIMEOUT", 1.0)
    monkeypatch.setattr(threads, "STOP_TIMEOUT", 0)
    status, report = run_json(capsys, (), (check,))
    wait_for_threads()
    assert status == 1
    assert list(report["checks"].values()) == [False]
    assert seen in report["faults"][0]


def test_a_check_that_hangs_is_a_broken_promise(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "TIMEOUT", 0)
    monkeypatch.setattr(threads, "STOP_TIMEOUT", 0)
    released = threading.Event()

    def a_hang() -> str:
        assert released.wait(PATIENCE)
        return ""

    try:
        assert main(SHORT, [], [a_hang]) == 1
    finally:
        released.set()
        wait_for_threads()
    assert "FAULT: a hang: TimeoutError" in capsys.readouterr().out


# ---- arguments and progress


@pytest.mark.parametrize(
    ("arguments", "bound"),
    [
        (["--threads", "0"], "from 1 to 256, not '0'"),
        (["--threads", "257"], "from 1 to 256, not '257'"),
        (["--threads", "two"], "from 1 to 256, not 'two'"),
        (["--threads", "1.5"], "from 1 to 256, not '1.5'"),
        (["--seconds", "0"], "from 0.1 to 3600, not '0'"),
        (["--seconds", "-1"], "from 0.1 to 3600, not '-1'"),
        (["--seconds", "3601"], "from 0.1 to 3600, not '3601'"),
        (["--seconds", "nan"], "from 0.1 to 3600, not 'nan'"),
        (["--seconds", "inf"], "from 0.1 to 3600, not 'inf'"),
        (["--seconds", "soon"], "from 0.1 to 3600, not 'soon'"),
    ],
)
def test_a_bad_argument_is_refused_with_its_bounds(
    arguments: list[str], bound: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert f"argument {arguments[0]}: must be" in message
    assert bound in message


def test_progress_is_a_line_every_two_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = ManualClock(100)
    monkeypatch.setattr(command, "perf_counter", clock)
    progress = command._Progress()
    progress.say("start")
    for i in range(9):
        progress.tick(f"step {i}")
        clock.advance(0.5)
    assert capsys.readouterr().err == "start\nstep 4\nstep 8\n"


def test_progress_names_each_variant_as_it_starts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(SHORT) == 0
    err = capsys.readouterr().err
    assert all(f"{each.name}: 3 threads" in err for each in VARIANTS)


def test_a_run_shows_how_far_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "module.py", "x = 1\n")
    shown: list[str] = []
    ticked = threading.Event()

    def tick(text: str) -> None:
        shown.append(text)
        ticked.set()

    def memoize(function: Summariser) -> Summariser:
        def call(path: str) -> Summary:
            assert ticked.wait(PATIENCE), "nothing was shown while this ran"
            return function(path)

        return call

    run_variant(Variant("planted", memoize, share=1, batch=1), [[path]], {path: summarise(path)}, 0.1, tick)
    assert shown[0].startswith("planted: ")
    assert " of 0.1 s, " in shown[0]
    assert shown[0].endswith("0 fills for 1 modules")


# ---- as a program


def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "src")}
    command = [sys.executable, "-m", "areole", *SHORT, *arguments]
    return subprocess.Popen(
        command, text=True, env=environment, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    )


def test_it_runs_as_a_module_and_prints_nothing_but_json_to_stdout() -> None:
    program = start("--json")
    out, err = program.communicate(timeout=PATIENCE)
    assert program.returncode == 0, err
    report = json.loads(out)
    assert report["threads"] == 3
    assert report["gil"] is not is_free_threaded()
    assert report["variants"][2]["redundant_fills"] == 0
    assert "AtomicCache.memoize: 3 threads" in err


def test_a_closed_pipe_ends_it_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        programs = [
            (start(stdout=writing), {0}),  # what was found does not depend on who reads it
            (start("--json", stdout=writing), {0}),
            (start(stderr=writing), {141}),
            (start("--help", stdout=writing), {0, 141}),  # argparse takes no notice, on some versions
        ]
    finally:
        os.close(writing)
    for program, statuses in programs:
        out, err = program.communicate(timeout=PATIENCE)
        assert program.returncode in statuses, err
        assert "Error" not in (err or "") and not out
