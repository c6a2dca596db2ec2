"""The demonstration, `python -m areole`. Nothing here depends on how fast anything runs."""

from __future__ import annotations

import io
import json
import math
import os
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from areole import AtomicCache
from areole.__main__ import _Progress, main
from areole.demo import workload as _demo
from areole.demo.workload import WAYS, Summary, Way, choose_modules, draw_requests, run_way, summarise

from .support import PATIENCE, ManualClock, assert_valid, is_free_threaded

SHORT = ["--seconds", "0.1", "--threads", "3"]
UNCACHED, FUNCTOOLS, AREOLE = WAYS

Summariser = Callable[[str], Summary]


def no_tick(text: str) -> None:
    pass


def wrong(function: Summariser) -> Summariser:
    return lambda path: replace(function(path), lines=-1)


def twice(function: Summariser) -> Summariser:
    return lambda path: (function(path), function(path))[0]


def with_memoize(way: Way, memoize: Any) -> tuple[Way, ...]:
    """The three ways, one of them replaced by another memoizer under the same name."""
    return tuple(replace(each, memoize=memoize) if each is way else each for each in WAYS)


def run_json(capsys: pytest.CaptureFixture[str], ways: tuple[Way, ...] = WAYS) -> tuple[int, dict[str, Any]]:
    status = main([*SHORT, "--json"], ways)
    return status, json.loads(capsys.readouterr().out)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("asker")] == []


# ---- what it reports


def test_it_reports_every_way_and_the_numbers_add_up(capsys: pytest.CaptureFixture[str]) -> None:
    status, report = run_json(capsys)
    assert status == 0
    assert report["faults"] == []
    assert [way["name"] for way in report["ways"]] == ["uncached", "functools.cache", "AtomicCache.memoize"]
    for way in report["ways"]:
        assert 0 < way["distinct_keys"] <= report["modules"]
        assert way["fills_run"] == way["distinct_keys"] + way["fills_run_twice"]
        assert way["calls"] >= way["fills_run"]
        assert way["seconds"] > 0
        assert math.isfinite(way["hits_per_second"])
        assert way["hits_per_second"] * way["seconds"] == pytest.approx(way["calls"] - way["fills_run"])
        assert way["wrong_results"] == 0
    uncached, _, areole = report["ways"]
    assert uncached["calls"] == uncached["fills_run"]
    assert areole["fills_run_twice"] == 0


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


def test_the_text_has_a_row_for_each_way_under_all_headings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(SHORT) == 0
    lines = capsys.readouterr().out.splitlines()
    ruler = next(i for i, line in enumerate(lines) if line.startswith("-----"))
    headings = " ".join(lines[ruler - 3 : ruler])
    assert set(headings.split()) >= {"calls", "distinct", "keys", "fills", "run", "twice", "seconds", "hits", "second"}
    rows = lines[ruler + 1 : ruler + 4]
    assert [row.split()[0] for row in rows] == [way.name for way in WAYS]
    assert {len(row.split()) for row in rows} == {7}


def test_every_run_starts_with_cold_caches(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        _, report = run_json(capsys)
        assert all(way["fills_run"] >= way["distinct_keys"] for way in report["ways"])


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


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_a_wrong_result_from_any_way_is_status_1(way: Way, capsys: pytest.CaptureFixture[str]) -> None:
    def memoize(function: Summariser) -> Any:
        return way.memoize(wrong(function))

    status, report = run_json(capsys, with_memoize(way, memoize))
    assert status == 1
    assert [each["name"] for each in report["ways"] if each["wrong_results"]] == [way.name]
    assert len(report["faults"]) == 1
    assert f"{way.name} gave" in report["faults"][0]


def test_a_result_of_another_key_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    def memoize(function: Summariser) -> Any:
        return AtomicCache.memoize(function, key=lambda path: None)

    status, report = run_json(capsys, with_memoize(AREOLE, memoize))
    assert status == 1
    assert report["ways"][2]["wrong_results"] > 0


def test_areole_running_a_fill_twice_is_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    def memoize(function: Summariser) -> Any:
        return AtomicCache.memoize(twice(function))

    status, report = run_json(capsys, with_memoize(AREOLE, memoize))
    assert status == 1
    areole = report["ways"][2]
    assert areole["fills_run_twice"] == areole["distinct_keys"] == areole["fills_run"] / 2
    assert f"AtomicCache.memoize ran {areole['fills_run_twice']} fills" in report["faults"][0]


def test_the_text_names_the_fault(capsys: pytest.CaptureFixture[str]) -> None:
    caches_nothing = replace(AREOLE, memoize=lambda function: function, batch=16)
    assert main(SHORT, [caches_nothing]) == 1
    out = capsys.readouterr().out
    assert "FAULT: AtomicCache.memoize ran" in out
    assert "none was wrong" not in out


def test_functools_cache_running_a_fill_twice_is_reported_and_no_fault(capsys: pytest.CaptureFixture[str]) -> None:
    def memoize(function: Summariser) -> Any:
        return FUNCTOOLS.memoize(twice(function))

    status, report = run_json(capsys, with_memoize(FUNCTOOLS, memoize))
    assert status == 0
    assert report["faults"] == []
    assert report["ways"][1]["fills_run_twice"] >= report["ways"][1]["distinct_keys"]


def test_one_wrong_answer_among_many_right_ones_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "module.py", "x = 1\n")
    right, clock, calls = summarise(path), ManualClock(), 0
    monkeypatch.setattr(_demo, "perf_counter", clock)

    def answer(path: str) -> Summary:
        nonlocal calls
        calls += 1
        if calls == 300:
            clock.advance(2)
        return replace(right, lines=-1) if calls == 200 else right

    way = Way("planted", lambda function: answer, share=1)
    result = run_way(way, [[path] * way.batch], {path: right}, 1.0, no_tick)
    assert result.calls == 320  # whole batches of 64
    assert result.wrong_results == 1


# ---- what is asked for


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_a_summary_counts_what_is_in_the_module(tmp_path: Path) -> None:
    path = write(
        tmp_path / "module.py",
        "import a, b\n"
        "from c import d\n"
        "class E:\n"
        "    async def f(self):\n"
        "        if self:\n"
        "            pass\n"
        "        elif a:\n"
        "            pass\n"
        "        elif b:\n"
        "            return 1\n"
        "def g(): pass\n",
    )
    assert summarise(path) == Summary(
        lines=11, functions=2, classes=1, imports=3, longest_function=7, deepest_nesting=4
    )


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


def test_all_ways_get_the_same_requests() -> None:
    recorded: list[dict[str, list[str]]] = []

    def memoize(function: Summariser) -> Summariser:
        by_thread: dict[str, list[str]] = defaultdict(list)
        recorded.append(by_thread)

        def call(path: str) -> Summary:
            by_thread[threading.current_thread().name].append(path)
            return function(path)

        return call

    main(SHORT, [replace(way, memoize=memoize, batch=1) for way in WAYS])
    for other in recorded[1:]:
        assert set(other) == set(recorded[0]) == {"asker-0", "asker-1", "asker-2"}
        for name, asked in other.items():
            common = min(len(asked), len(recorded[0][name]))
            assert asked[:common] == recorded[0][name][:common]


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
    monkeypatch.setattr("areole.__main__.BYTES_PER_SECOND", 1)
    once = iter([signal.SIGINT])

    def memoize(function: Summariser) -> Summariser:
        def call(path: str) -> Summary:
            for number in once:
                os.kill(os.getpid(), number)
            return function(path)

        return call

    # With an hour to go, only the interrupt can end it. One thread: a generator is not for several.
    assert main(["--seconds", "3600", "--threads", "1", "--json"], [replace(AREOLE, memoize=memoize)]) == 130
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

    def memoize(function: Summariser) -> Summariser:
        def call(path: str) -> Summary:
            if threading.current_thread().name == "asker-1":
                raise LookupError("planted")
            return function(path)

        return call

    with pytest.raises(LookupError, match="planted"):
        run_way(Way("planted", memoize, share=1), [[path]] * 3, {path: summarise(path)}, 3600.0, no_tick)


def test_a_thread_that_hangs_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_demo, "PATIENCE", 0)
    monkeypatch.setattr(_demo, "FAREWELL", 0)
    path = write(tmp_path / "module.py", "x = 1\n")
    released = threading.Event()

    def answer(path: str) -> Summary:
        assert released.wait(PATIENCE)
        return summarise(path)

    way = Way("planted", lambda function: answer, share=1)
    try:
        with pytest.raises(RuntimeError, match="it hangs"):
            run_way(way, [[path]], {path: summarise(path)}, 0.01, no_tick)
    finally:
        released.set()
        for thread in threading.enumerate():
            if thread.name.startswith("asker"):
                thread.join(PATIENCE)


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


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def show_some_progress(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    clock = ManualClock(100)
    monkeypatch.setattr("areole.__main__.perf_counter", clock)
    progress = _Progress(stream)
    progress.say("start")
    for i in range(9):
        progress.tick(f"step {i}, " + "x" * (9 - i))
        clock.advance(0.5)
    progress.clear()
    return stream.getvalue()


def test_progress_is_a_plain_line_every_two_seconds_where_stderr_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = show_some_progress(io.StringIO(), monkeypatch)
    assert text == "start\nstep 4, xxxxx\nstep 8, x\n"


def test_progress_is_one_line_rewritten_in_place_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    text = show_some_progress(Terminal(), monkeypatch)
    first, *steps, blank, end = text.split("\r")
    assert first == "start\n"
    assert [step.split(",")[0] for step in steps] == [f"step {i}" for i in range(1, 9)]
    assert "\n" not in "".join(steps)
    for before, after in zip(steps, [*steps[1:], blank], strict=True):
        assert len(after) >= len(before.rstrip()), "the end of the line before is left on the screen"
    assert (blank.strip(), end) == ("", ""), "the last line was not wiped out"


def test_progress_names_each_way_as_it_starts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(SHORT) == 0
    err = capsys.readouterr().err
    assert all(f"{way.name}: 3 threads" in err for way in WAYS)


def test_no_half_line_of_progress_is_left_before_the_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal, clock = Terminal(), ManualClock(100)
    monkeypatch.setattr("areole.__main__.perf_counter", lambda: clock.advance(1))  # every step is due to be shown
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main([*SHORT, "--json"], []) == 0
    *steps, blank, end = terminal.getvalue().split("\r")
    assert steps[-1].startswith("choosing modules")
    assert (blank.strip(), end) == ("", "")
    json.loads(capsys.readouterr().out)


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

    run_way(Way("planted", memoize, share=1, batch=1), [[path]], {path: summarise(path)}, 0.1, tick)
    assert shown[0].startswith("planted: ")
    assert " of 0.1 s, " in shown[0]
    assert shown[0].endswith("0 fills for 1 modules")


# ---- as a program


def test_it_runs_as_a_module_and_prints_nothing_but_json_to_stdout() -> None:
    source = Path(__file__).parents[1] / "src"
    done = subprocess.run(
        [sys.executable, "-m", "areole", "--seconds", "1", "--json"],
        env=os.environ | {"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["threads"] == 8
    assert report["gil"] is not is_free_threaded()
    assert report["ways"][2]["fills_run_twice"] == 0
    assert "AtomicCache.memoize: 8 threads" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "closed", "statuses"),
    [
        ([], "stdout", {0}),  # what was found does not depend on who reads it
        (["--json"], "stdout", {0}),
        ([], "stderr", {141}),
        (["--help"], "stdout", {0, 141}),  # argparse takes no notice, on some versions
    ],
)
def test_a_closed_pipe_ends_it_quietly(arguments: list[str], closed: str, statuses: set[int]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "areole", *SHORT, *arguments],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "src")},
            stdout=writing if closed == "stdout" else subprocess.PIPE,
            stderr=writing if closed == "stderr" else subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
        )
    finally:
        os.close(writing)
    assert done.returncode in statuses, done.stderr
    assert "Error" not in (done.stderr or "") and not done.stdout
