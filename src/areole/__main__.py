"""python -m areole: memoize a costly function over the standard library's own files, three ways, on many threads.

Exit status: 0; 1 if areole ran the function twice for a key, or any result was wrong, even if the pipe that the report
goes to has been closed; 2 for bad arguments, or where there are no modules to read; 130 after Ctrl-C; 141 if that of
the progress has been closed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from math import nan
from pathlib import Path
from time import perf_counter
from typing import TextIO

from . import __version__
from .demo.workload import SEED, WAYS, Result, Summary, Way, choose_modules, draw_requests, run_way

__all__ = ["main"]

MOST_THREADS = 256
SHORTEST, LONGEST = 0.1, 3600.0  # seconds
# How much source to choose for each second asked for. A core parses and summarises some 4 MB a second (2 GHz, 2024), so
# to do everything once takes 3% of the time, or a quarter if each of 8 threads does it: this leaves room for slow ones.
BYTES_PER_SECOND, FEWEST_BYTES = 100_000, 64_000


def main(arguments: Sequence[str] | None = None, ways: Sequence[Way] = WAYS) -> int:
    """Run the demonstration and return the exit status; `ways` are for tests to replace."""
    progress = _Progress(sys.stderr)
    try:
        try:
            return _run(_parse(arguments), ways, progress)
        finally:
            sys.stdout.flush()  # here: as the interpreter exits, a closed pipe is a message and a status of its own
    except BrokenPipeError:
        _drop_output(sys.stdout)
        _drop_output(sys.stderr)
        return 141  # as of a program that is ended by SIGPIPE
    except BaseException as error:
        if not _is_interrupt(error):
            raise
        progress.say("interrupted")
        return 130


def _is_interrupt(error: BaseException | None) -> bool:
    """Say whether Ctrl-C is behind this: within `Thread.start`, it may come out as "release unlocked lock"."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _run(options: argparse.Namespace, ways: Sequence[Way], progress: _Progress) -> int:
    root = Path(sysconfig.get_path("stdlib"))
    progress.say(f"choosing modules from {root}")
    expected = choose_modules(root, max(FEWEST_BYTES, int(options.seconds * BYTES_PER_SECOND)), progress.tick)
    if not expected:
        progress.say(f"error: no modules in source form under {root}")
        return 2
    requests = draw_requests(list(expected), options.threads)
    results = []
    for way in ways:
        progress.say(f"{way.name}: {options.threads} threads, {options.seconds * way.share:.1f} s")
        results.append(run_way(way, requests, expected, options.seconds * way.share, progress.tick))
    progress.clear()
    report = _Report(options.threads, options.seconds, root, expected, results, _faults(ways, results))
    try:
        print(report.as_json() if options.json else report.as_text(), flush=True)
    except BrokenPipeError:  # as under `| head -1`: whoever reads it has seen enough
        _drop_output(sys.stdout)
    return 1 if report.faults else 0


def _drop_output(stream: TextIO) -> None:
    """Have what is still to be written to a closed pipe go nowhere: the interpreter flushes it as it exits."""
    with suppress(OSError, ValueError):  # no real file, or a closed one: then there is nothing to be flushed
        descriptor = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)


def _faults(ways: Sequence[Way], results: Sequence[Result]) -> list[str]:
    wrong = [f"{result.name} gave {result.wrong_results} wrong results" for result in results if result.wrong_results]
    twice = [
        f"{result.name} ran {result.fills_run_twice} fills for a key that had been filled"
        for way, result in zip(ways, results, strict=True)
        if way.fills_once and result.fills_run_twice
    ]
    return wrong + twice


# ---- arguments


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m areole",
        description="Summarise modules of the standard library, asked for by many threads: "
        "uncached (a sample), through functools.cache, and through AtomicCache.memoize.",
        epilog="Exit status 1 if areole filled a key twice or any result was wrong.",
    )
    parser.add_argument(
        "--threads", type=_threads, default=8, metavar="N", help=f"1 to {MOST_THREADS}, by default %(default)s"
    )
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=12.0,
        metavar="S",
        help=f"for all three ways together, {SHORTEST} to {LONGEST:.0f}, by default %(default)s",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, and nothing else, to stdout")
    return parser.parse_args(arguments)


def _threads(text: str) -> int:
    return int(_number(text, int, 1, MOST_THREADS, "a whole number of threads"))


def _seconds(text: str) -> float:
    return _number(text, float, SHORTEST, LONGEST, "a number of seconds")


def _number(text: str, kind: Callable[[str], float], least: float, most: float, what: str) -> float:
    try:
        number = kind(text)
    except ValueError:
        number = nan
    if not least <= number <= most:  # nor is a NaN
        raise argparse.ArgumentTypeError(f"must be {what} from {least} to {most:.0f}, not {text!r}")
    return number


# ---- what is shown meanwhile


class _Progress:
    """Says what is going on: one line rewritten in place on a terminal, else a line now and then."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._in_place = stream.isatty()
        self._interval = 0.2 if self._in_place else 2.0
        self._width = 0
        self._due = 0.0

    def tick(self, text: str) -> None:
        """Show `text`, unless something was shown just before."""
        if perf_counter() >= self._due:
            self._show(text)

    def say(self, text: str) -> None:
        """Show `text` on a line that stays."""
        self.clear()
        print(text, file=self._stream, flush=True)
        self._due = perf_counter() + self._interval

    def clear(self) -> None:
        """Wipe out the line that is rewritten, if there is one."""
        if self._width:
            print("\r" + " " * self._width, end="\r", file=self._stream, flush=True)
            self._width = 0

    def _show(self, text: str) -> None:
        if not self._in_place:
            self.say(text)
            return
        print("\r" + text.ljust(self._width), end="", file=self._stream, flush=True)
        self._width = len(text)
        self._due = perf_counter() + self._interval


# ---- the report


def _gil_is_on() -> bool:
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def _gil_in_words() -> str:
    if not _gil_is_on():
        return "free-threaded, the GIL is off"
    return "the GIL is on" + (", on a free-threaded build" if sysconfig.get_config_var("Py_GIL_DISABLED") else "")


def _cores() -> int:
    return getattr(os, "process_cpu_count", os.cpu_count)() or 1


@dataclass(frozen=True, slots=True)
class _Report:
    """What was asked for, and what came out."""

    threads: int
    seconds: float
    root: Path
    expected: Mapping[str, Summary]
    results: Sequence[Result]
    faults: Sequence[str]

    def as_json(self) -> str:
        report = {
            "areole": __version__,
            "implementation": platform.python_implementation(),
            "python": platform.python_version(),
            "gil": _gil_is_on(),
            "cores": _cores(),
            "threads": self.threads,
            "seconds": self.seconds,
            "seed": SEED,
            "stdlib": str(self.root),
            "modules": len(self.expected),
            "ways": [asdict(result) | {"hits_per_second": result.hits_per_second} for result in self.results],
            "faults": list(self.faults),
        }
        return json.dumps(report, indent=2)

    def as_text(self) -> str:
        interpreter = f"{platform.python_implementation()} {platform.python_version()}, {_gil_in_words()}"
        lines = [
            f"areole {__version__} on {interpreter}; {self.threads} threads, {_cores()} cores",
            "",
            *self._about_modules(),
            "",
            *_table(self.results),
            "",
            "fills run twice: runs for a key for which the function had been run before.",
            "hits a second: calls that did not run the function, by the seconds.",
            "",
            *(f"FAULT: {fault}" for fault in self.faults),
        ]
        if not self.faults:
            lines.append("areole filled no key twice; every result was checked, and none was wrong.")
        return "\n".join(lines)

    def _about_modules(self) -> list[str]:
        summaries = self.expected.values()
        nested = max(self.expected, key=lambda path: self.expected[path].deepest_nesting)
        longest = max(self.expected, key=lambda path: self.expected[path].longest_function)
        return [
            f"The function parses and summarises a module; it is asked for {len(summaries)} modules of",
            f"{self.root}, some far more often than others (Zipf's law).",
            f"They have {sum(s.lines for s in summaries):,} lines, {sum(s.functions for s in summaries):,} functions "
            f"and {sum(s.classes for s in summaries):,} classes;",
            f"the longest function, of {self.expected[longest].longest_function} lines, is in {self._name(longest)},",
            f"the deepest nesting, of {self.expected[nested].deepest_nesting} blocks, in {self._name(nested)}.",
        ]

    def _name(self, path: str) -> str:
        return Path(path).relative_to(self.root).as_posix()


def _table(results: Sequence[Result]) -> list[str]:
    rows = [
        ("", "", "", "", "fills", "", ""),
        ("", "", "distinct", "fills", "run", "", "hits a"),
        ("way", "calls", "keys", "run", "twice", "seconds", "second"),
        *map(_row, results),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
    return [*lines[:3], "-" * len(lines[-1]), *lines[3:]]


def _row(result: Result) -> tuple[str, ...]:
    counts = (result.calls, result.distinct_keys, result.fills_run, result.fills_run_twice)
    return result.name, *(f"{count:,}" for count in counts), f"{result.seconds:.1f}", f"{result.hits_per_second:,.0f}"


if __name__ == "__main__":
    sys.exit(main())
