"""The command `python -m areole`.

Exit status: 0; 1 if areole made a redundant fill or broke a promise, or any result was wrong, even if the pipe that the
report goes to is closed; 2 for bad arguments, or if there are no modules to read; 130 after Ctrl-C; 141 if the pipe
that the progress goes to is closed.
"""

import argparse
import os
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from math import nan
from pathlib import Path
from time import perf_counter
from typing import TextIO

from .checks import CHECKS, Check, run_check
from .report import Report
from .workload import VARIANTS, Result, Variant, choose_modules, draw_requests, run_variant

__all__ = ["main"]

PROGRESS_INTERVAL = 2.0  # seconds
# How much source to choose for each second asked for. A core parses and counts some 4 MB a second (2 GHz, 2024), so to
# do everything once takes 3% of the time, or a quarter if each of 8 threads does it: this leaves room for slow ones.
BYTES_PER_SECOND, FEWEST_BYTES = 100_000, 64_000


def main(
    arguments: Sequence[str] | None = None, variants: Sequence[Variant] = VARIANTS, checks: Sequence[Check] = CHECKS
) -> int:
    """Run the demonstration and return the exit status; `variants` and `checks` are for tests to replace."""
    try:
        try:
            return _run(_parse(arguments), variants, checks)
        finally:
            sys.stdout.flush()  # here: as the interpreter exits, a closed pipe is a message and a status of its own
    except BrokenPipeError:
        _drop_output(sys.stdout)
        _drop_output(sys.stderr)
        return 141  # as of a program that is ended by SIGPIPE
    except BaseException as error:
        if not _is_interrupt(error):
            raise
        print("interrupted", file=sys.stderr)
        return 130


def _is_interrupt(error: BaseException | None) -> bool:
    """Say whether Ctrl-C is the cause: from within `Thread.start` it may come as "release unlocked lock"."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _drop_output(stream: TextIO) -> None:
    """Send what is still to be written to a closed pipe nowhere: the interpreter flushes it as it exits."""
    with suppress(OSError, ValueError):  # no real file, or a closed one: then there is nothing to flush
        descriptor = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)


def _run(options: argparse.Namespace, variants: Sequence[Variant], checks: Sequence[Check]) -> int:
    root, progress = Path(sysconfig.get_path("stdlib")), _Progress()
    progress.say(f"choosing modules from {root}")
    expected = choose_modules(root, max(FEWEST_BYTES, int(options.seconds * BYTES_PER_SECOND)), progress.tick)
    if not expected:
        progress.say(f"error: no modules in source form under {root}")
        return 2
    requests = draw_requests(list(expected), options.threads)
    results = []
    for variant in variants:
        seconds = options.seconds * variant.share
        progress.say(f"{variant.name}: {options.threads} threads, {seconds:.1f} s")
        results.append(run_variant(variant, requests, expected, seconds, progress.tick))
    outcomes = [run_check(check) for check in checks]
    faults = [*_faults(variants, results), *(f"{name}: {seen}" for name, seen, is_kept in outcomes if not is_kept)]
    report = Report(options.threads, options.seconds, root, expected, results, outcomes, faults)
    try:
        print(report.as_json() if options.json else report.as_text(), flush=True)
    except BrokenPipeError:  # as under `| head -1`: the reader has seen enough
        _drop_output(sys.stdout)
    return 1 if faults else 0


def _faults(variants: Sequence[Variant], results: Sequence[Result]) -> Iterator[str]:
    for variant, result in zip(variants, results, strict=True):
        if result.wrong_results:
            yield f"{variant.name} gave {result.wrong_results} wrong results"
        if variant.fills_once and result.redundant_fills:
            yield f"{variant.name} made {result.redundant_fills} redundant fills"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m areole",
        description="Call a costly function on many threads, uncached, with functools.cache and with areole.",
        epilog="Exit status 1 if areole made a redundant fill or broke a promise, or any result was wrong.",
    )
    threads = _between(1, 256, int, "a whole number of threads")
    seconds = _between(0.1, 3600, float, "a number of seconds")
    parser.add_argument("--threads", type=threads, default=8, metavar="N", help="1 to 256 (default: %(default)s)")
    parser.add_argument("--seconds", type=seconds, default=12.0, metavar="S", help="0.1 to 3600 (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object, and nothing else, to stdout")
    return parser.parse_args(arguments)


def _between(least: float, most: float, kind: Callable[[str], float], what: str) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            number = kind(text)
        except ValueError:
            number = nan
        if not least <= number <= most:  # nor is a NaN
            raise argparse.ArgumentTypeError(f"must be {what} from {least} to {most}, not {text!r}")
        return number

    return parse


class _Progress:
    """Lines on stderr: those of `say`, and every two seconds what `tick` is called with."""

    def __init__(self) -> None:
        self._due = 0.0

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)
        self._due = perf_counter() + PROGRESS_INTERVAL

    def tick(self, text: str) -> None:
        if perf_counter() >= self._due:
            self.say(text)
