"""What the user sees: progress on stderr, the closing table, JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, Final, TextIO

from .case import Result

__all__ = ["Progress", "describe_interpreter", "format_table", "print_findings", "print_json", "print_table"]

_COLUMNS: Final = (
    "scenario",
    "on",
    "rounds",
    "seconds",
    "operations",
    "hits",
    "fills",
    "wrong",
    "stale",
    "doubled",
    "blocked",
    "memory",
)
_SHOWN: Final = ("operations", "hits", "fills", "wrong", "stale", "doubled", "blocked")


def describe_interpreter() -> str:
    has_gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    return f"Python {sys.version.split()[0]}, {'with a GIL' if has_gil else 'free-threaded, no GIL'}"


class Progress:
    """Prints a line about a run: over itself again and again on a terminal; else every ten seconds, and at the end."""

    def __init__(self, out: TextIO, count: str = "") -> None:
        self._out = out
        self._count = count
        self._rewrites = out.isatty()
        self._last = time.monotonic()

    def __call__(self, result: Result) -> None:
        now = time.monotonic()
        if now - self._last >= (0.2 if self._rewrites else 10.0):
            self._last = now
            self._print(result, "\r" if self._rewrites else "\n")

    def finish(self, result: Result) -> None:
        self._print(result, "\n")

    def _print(self, result: Result, end: str) -> None:
        figures = "  ".join(f"{name} {getattr(result, name):,}" for name in _SHOWN)
        text = f"skipped: {result.skipped}" if result.skipped else f"{result.seconds:5.1f} s  {figures}"
        if result.memory is not None:
            text += f"  {result.memory:,.0f} MB"
        text += "".join(f"  {count:,} {name}" for name, count in result.also.items())
        line = f"{self._count:>6} {_run_of(result):<20} {text}"
        print(f"\x1b[K{line}" if self._rewrites else line, end=end, file=self._out, flush=True)


def print_findings(result: Result, out: TextIO) -> None:
    """Say what was found in a run, with the stacks of blocked threads and how to run it again."""
    for message in result.messages:
        print(f"       {message.rstrip()}", file=out)
    if result.stacks:
        print(f"       the stacks of all threads:\n{result.stacks}", file=out)
    if not result.is_clean:
        print(f"       again, with the same choices, if not the same interleaving: {result.command}", file=out)


def print_table(results: list[Result], out: TextIO) -> None:
    """Print a row for each run, what else was counted, and what was skipped."""
    rows = [
        [result.scenario, _short(result.variant), *(_cell(getattr(result, name)) for name in _COLUMNS[2:])]
        for result in results
        if not result.skipped
    ]
    print(format_table(_COLUMNS, rows, left=2), file=out)
    for result in results:
        if result.also:
            also = ", ".join(f"{count:,} {name}" for name, count in result.also.items())
            print(f"also counted: {_run_of(result)}: {also}", file=out)
    for result in results:
        if result.skipped:
            print(f"skipped: {_run_of(result)}: {result.skipped}", file=out)


def _run_of(result: Result) -> str:
    return f"{result.scenario}/{_short(result.variant)}"


def _short(variant: str) -> str:
    """Return the name of a stranger's factory without its module."""
    return variant.rpartition(":")[2]


def format_table(columns: Sequence[str], rows: Iterable[Sequence[str]], left: int) -> str:
    """Lay a table out; the first `left` columns are flush left, the others flush right."""
    lines = [list(columns), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def format_row(row: list[str]) -> str:
        cells = zip(row, widths, strict=True)
        return "  ".join(c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(cells)).rstrip()

    return "\n".join(map(format_row, lines))


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}"
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else str(value)


def print_json(results: list[Result], clean: bool, out: TextIO) -> None:
    result_json: dict[str, Any] = {
        "interpreter": describe_interpreter(),
        "clean": clean,
        "results": [asdict(result) | {"command": result.command} for result in results],
    }
    json.dump(result_json, out, indent=2)
    print(file=out)
