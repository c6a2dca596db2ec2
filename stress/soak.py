"""The soak: all scenarios, round robin, for as long as you like; what the process holds must not grow.

After each pass over all scenarios, when idle and after a collection, the process's memory, threads and open files are
sampled. The first third of the samples is a warm-up: allocators, compiled code and interned keys have their size by
then. Of the others,

  threads, files   none may be more than there were at the end of the warm-up
  memory, slope    the least-squares line through them may rise, over all of them together, by no more than 4 MB and
                   three times the scatter of the samples around it, whichever is more
  memory, bound    no sample may be more than 64 MB, or a half, whichever is more, above the last of the warm-up

and with fewer than six samples nothing is judged but threads and files. Nor is memory on free-threaded 3.13, which
never frees a function that was made after the first thread had been started, with all that it holds, and says so.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Final

from .case import Result
from .command import Run, open_output, run_one
from .report import Progress, describe_interpreter, format_table
from .vitals import Vitals, vitals

__all__ = ["judge", "main"]

_SECONDS_EACH: Final = 0.7
_LEAST_SAMPLES: Final = 6
_RISE_ALLOWED: Final = 4.0  # megabytes
_BOUND: Final = 64.0  # megabytes


def main(runs: list[Run], options: argparse.Namespace) -> int:
    """Run the passes, judge the samples, print both; return the exit status."""
    samples: list[Vitals] = []
    ends, status = time.monotonic() + options.minutes * 60, 0
    totals: dict[str, int] = {}
    try:
        while not samples or time.monotonic() < ends:
            for result in _pass_over(runs, options, len(samples) + 1):
                status |= not result.is_clean
                totals["operations"] = totals.get("operations", 0) + result.operations
            gc.collect()
            samples.append(vitals())
            options.seed += 1
    except KeyboardInterrupt:
        print("interrupted; this is of the passes that had ended:", file=sys.stderr)
    is_leaky = "t" in sys.abiflags and sys.version_info < (3, 14)
    complaints = judge([replace(each, memory=None) for each in samples] if is_leaky else samples)
    if is_leaky:
        print("memory is not judged: this interpreter, free-threaded 3.13, never frees a function", file=sys.stderr)
    status |= bool(complaints)
    _report(samples, complaints, totals, options)
    return status


def _pass_over(runs: list[Run], options: argparse.Namespace, number: int) -> list[Result]:
    progress, results = _Quiet(number), []
    for scenario, variant in runs:
        if not scenario.why_variant_skipped(variant):
            results.append(run_one(scenario, variant, _SECONDS_EACH, options, progress))
    return results


class _Quiet(Progress):
    """On a terminal one line for all, rewritten; else a line for each pass."""

    def __init__(self, number: int) -> None:
        super().__init__(sys.stderr, f"#{number}")
        if not self._rewrites:
            print(f"pass {number}", file=sys.stderr, flush=True)

    def __call__(self, result: Result) -> None:
        if self._rewrites:
            super().__call__(result)

    def finish(self, result: Result) -> None:
        if self._rewrites:
            self._print(result, "\r")


def _report(samples: list[Vitals], complaints: list[str], totals: dict[str, int], options: argparse.Namespace) -> None:
    if options.json != "-":
        rows = [[str(n), *map(_cell, asdict(each).values())] for n, each in enumerate(samples, 1)]
        print(format_table(("pass", "memory, MB", "threads", "files"), rows, left=0))
        print("\n".join(complaints) or f"flat, over {totals.get('operations', 0):,} operations")
    if options.json:
        result = {"interpreter": describe_interpreter(), "clean": not complaints, "complaints": complaints, **totals}
        with open_output(options.json) as out:
            json.dump(result | {"samples": [asdict(each) for each in samples]}, out, indent=2)
            print(file=out)


def _cell(value: float | int | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.1f}" if isinstance(value, float) else str(value)


def judge(samples: Sequence[Vitals]) -> list[str]:
    """Return what is not flat, in words; see the module."""
    warm = max(1, len(samples) // 3)
    base, rest = samples[warm - 1 : warm], samples[warm:]
    if not rest:
        return []
    return [
        *_judge_count("threads", base[0].threads, [each.threads for each in rest]),
        *_judge_count("open files", base[0].files, [each.files for each in rest]),
        *_judge_memory(base[0].memory, [each.memory for each in rest if each.memory is not None]),
    ]


def _judge_count(what: str, base: int | None, rest: Sequence[int | None]) -> list[str]:
    most = max((each for each in rest if each is not None), default=0)
    if base is None or most <= base:
        return []
    return [f"{what}: {most}, and there were {base} after the warm-up"]


def _judge_memory(base: float | None, rest: list[float]) -> list[str]:
    if base is None or len(rest) < _LEAST_SAMPLES * 2 // 3:
        return []
    slope, scatter = _fit_line(rest)
    rise, allowed = slope * (len(rest) - 1), max(_RISE_ALLOWED, 3 * scatter)
    complaints = []
    if rise > allowed:
        complaints.append(f"memory: rises by {rise:.1f} MB over {len(rest)} passes, and {allowed:.1f} is within noise")
    bound = base + max(_BOUND, base / 2)
    if max(rest) > bound:
        complaints.append(f"memory: {max(rest):.1f} MB, and {base:.1f} after the warm-up allows {bound:.1f}")
    return complaints


def _fit_line(values: Sequence[float]) -> tuple[float, float]:
    """Return the slope of the least-squares line through `values`, one apart, and the deviation around it."""
    n = len(values)
    mean_x, mean_y = (n - 1) / 2, sum(values) / n
    spread = sum((x - mean_x) ** 2 for x in range(n))
    slope = sum((x - mean_x) * (y - mean_y) for x, y in enumerate(values)) / spread
    residuals = [y - mean_y - slope * (x - mean_x) for x, y in enumerate(values)]
    return slope, math.sqrt(sum(r * r for r in residuals) / max(1, n - 2))
