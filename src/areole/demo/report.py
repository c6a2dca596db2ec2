"""What the demonstration found, as JSON and as text."""

import json
import os
import platform
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .. import __version__, accelerated
from .workload import SEED, Result, Summary

__all__ = ["Report"]


class Report(NamedTuple):
    """What was asked for, and what was found; of each check its name, what was seen, and whether all was well."""

    threads: int
    seconds: float
    root: Path
    expected: Mapping[str, Summary]
    results: Sequence[Result]
    checks: Sequence[tuple[str, str, bool]]
    faults: Sequence[str]

    def as_json(self) -> str:
        report = _interpreter() | {
            "threads": self.threads,
            "seconds": self.seconds,
            "seed": SEED,
            "stdlib": str(self.root),
            "modules": len(self.expected),
            "variants": [result._asdict() for result in self.results],
            "checks": {name: is_kept for name, _, is_kept in self.checks},
            "faults": self.faults,
        }
        return json.dumps(report, indent=2)

    def as_text(self) -> str:
        lines, functions, classes = map(sum, zip(*self.expected.values(), strict=True))
        gil, form, here = _gil_in_words(), "hits in C" if accelerated else "pure Python", _interpreter()
        all_is_well = ["areole made no redundant fill; all results were checked, and none was wrong."]
        text = [
            "areole {areole}, {0}, on {implementation} {python}, {1}; {cores} cores".format(form, gil, **here),
            "",
            f"The function parses a module: {self.threads} threads ask for {len(self.expected)} modules of",
            f"{self.root}, for some far more often than for others (Zipf's law).",
            f"They have {lines:,} lines, {functions:,} functions and {classes:,} classes.",
            "",
            *_table(self.results),
            "",
            *(_in_a_sentence(result) for result in self.results if result.variant == "functools.cache"),
            "",
            "What else areole gives, tried just now:",
            *(f"  {name:24}{seen}" for name, seen, _ in self.checks),
            "",
            *([f"FAULT: {fault}" for fault in self.faults] or all_is_well),
        ]
        return "\n".join(text)


def _interpreter() -> dict[str, Any]:
    return {
        "areole": __version__,
        "accelerated": accelerated,
        "implementation": platform.python_implementation(),
        "python": platform.python_version(),
        "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
        "cores": getattr(os, "process_cpu_count", os.cpu_count)() or 1,
    }


def _gil_in_words() -> str:
    if not _interpreter()["gil"]:
        return "free-threaded, the GIL is off"
    return "the GIL is on" + (", on a free-threaded build" if sysconfig.get_config_var("Py_GIL_DISABLED") else "")


def _in_a_sentence(result: Result) -> str:
    if not result.redundant_fills:
        return f"{result.variant} made no redundant fill this time: no two threads missed the same key at once."
    return (
        f"{result.variant} ran the function again {result.redundant_fills:,} times while the first run was still "
        f"going: {result.redundant_seconds:.2f} s of needless work."
    )


def _table(results: Sequence[Result]) -> list[str]:
    rows = [("variant", "calls", "fills", "redundant fills", "seconds", "hits/s"), *map(_row, results)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]


def _row(result: Result) -> tuple[str, ...]:
    counts = (f"{count:,}" for count in (result.calls, result.fills, result.redundant_fills))
    return result.variant, *counts, f"{result.seconds:.1f}", f"{result.hits_per_second:,.0f}"
