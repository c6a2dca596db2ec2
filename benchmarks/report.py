"""The tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .build import Build
from .contenders import EMPTY, ITEM, KEYWORDS, METHOD, NONE, ONE, THREE
from .samples import Case, Samples, Spread
from .targets import LRU_ONE, Target, cached_cases, counted_cases

__all__ = [
    "cached_table",
    "counting_table",
    "fill_table",
    "hit_table",
    "memory_table",
    "table",
    "target_table",
    "thread_table",
]

ORDER = (EMPTY, NONE, ONE, THREE, KEYWORDS, METHOD, ITEM)


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out rows; the first two columns to the left, the others to the right. An empty row is an empty line."""
    lines = [header, *rows]
    widths = [max(len(row[i]) for row in lines if row) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = (cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True)))
        return "  ".join(cells).rstrip() if row else ""

    return "\n".join(["", title, "", *map(line, lines)])


def _by_shape(samples: Samples) -> list[Case | None]:
    """Order the cases by shape; None stands between two shapes."""
    cases: list[Case | None] = []
    for shape in ORDER:
        found = [case for case in samples.by_case if case.shape == shape]
        cases += [None, *found] if cases and found else found
    return cases


def _median(spread: Spread, form: str = ".2f") -> str:
    return f"{spread.median:{form}}"


def _quartiles(spread: Spread, form: str = ".2f") -> str:
    return f"{spread.quarter:{form}}..{spread.three_quarters:{form}}"


def hit_table(hits: Samples) -> str:
    rows = [_hit_row(hits, case) if case else () for case in _by_shape(hits)]
    header = ("shape", "contender", "ns", "quartiles", "/ lru f(k)", "quartiles", "/ lru same", "/ d[k]", "cereggii /")
    title = "Hits on one thread: nanoseconds, and ratios in the same round (medians; loop included)"
    return table(title, header, rows)


def _hit_row(hits: Samples, case: Case) -> Sequence[str]:
    time = hits.nanoseconds(case)
    theirs = Case("cereggii ttl" if "ttl" in case.contender else "cereggii", case.shape)
    others = [Case("lru_cache", case.shape), Case("dict", ITEM)]
    ratio = hits.ratio(case, LRU_ONE)
    cells = [
        case.shape,
        case.contender,
        _median(time, ".1f"),
        _quartiles(time, ".1f"),
        _median(ratio),
        _quartiles(ratio),
    ]
    cells += [_median(hits.ratio(case, other)) if other in hits else "" for other in others]
    cells.append(_median(hits.ratio(theirs, case), ".1f") if theirs in hits else "")
    return cells


def thread_table(samples: Samples, build: Build) -> str:
    """Throughput by number of threads: all operations over the time from the first start to the last end."""
    counts = samples.threads()
    header = ["shape", "contender", *(f"M/s on {n}" for n in counts)]
    for n in counts[1:]:
        header += [f"{n} / 1", "quartiles", f"/ lru f(k) on {n}"]
    rows = [_thread_row(samples, case, counts) if case else () for case in _by_shape(samples)]
    title = "Hits on threads, each with its own block of keys, filled by itself: throughput in millions a second"
    return table(title, header, rows) + _disturbance(samples, build)


def _disturbance(samples: Samples, build: Build) -> str:
    """Say so if threads could not run side by side although nothing that they share was in the way."""
    loop, most = Case("-", EMPTY), max(samples.threads())
    scaling = samples.scaling(loop, most).median if loop in samples else most
    if scaling < 0.9 * min(most, build.cpus) and build.is_free_threaded:
        return (
            f"\n\nDISTURBED: even empty loops on {most} threads ran only {scaling:.2f} times as fast: other work was on"
        )
    return ""


def _thread_row(samples: Samples, case: Case, counts: list[int]) -> Sequence[str]:
    cells = [case.shape, case.contender, *(f"{1000 / samples.nanoseconds(case, n).median:.2f}" for n in counts)]
    for n in counts[1:]:
        scaling = samples.scaling(case, n)
        ours = samples.ratio(LRU_ONE, case, n) if LRU_ONE in samples else None
        cells += [_median(scaling), _quartiles(scaling), _median(ours) if ours else ""]
    return cells


def fill_table(fills: Samples) -> str:
    """Fills of cold keys: what one adds to the function, and how many there can be."""
    counts, bare = fills.threads(), Case("no cache", ONE)
    header = ["shape", "contender", "us added", "quartiles", *(f"M/s on {n}" for n in counts)]
    header += [f"{n} / 1" for n in counts[1:]]
    rows: list[Sequence[str]] = []
    for case in _by_shape(fills):
        if case is None:
            rows.append([])
            continue
        added = Spread(*(each / 1000 for each in fills.difference(case, bare)))
        cells = [case.shape, case.contender, _median(added), _quartiles(added)]
        if case == bare:  # over too soon for the threads to start together
            rows.append([*cells, *[""] * (2 * len(counts) - 1)])
            continue
        cells += [f"{1000 / fills.nanoseconds(case, n).median:.2f}" for n in counts]
        rows.append(cells + [_median(fills.scaling(case, n)) for n in counts[1:]])
    title = (
        "Fills of cold keys by a new cache: microseconds beyond the bare function, and throughput in millions a second"
    )
    return table(title, header, rows)


def counting_table(samples: Samples) -> str:
    """What `stats=True` costs a hit, and how counted hits scale."""
    counts = samples.threads()
    header = ["shape", "contender", "ns", "ns counted", "times", "quartiles"]
    for n in counts[1:]:
        header += [f"times on {n}", f"counted, M/s {n} / 1"]
    rows: list[Sequence[str]] = []
    for case, counted in counted_cases(samples):
        off, on, ratio = samples.nanoseconds(case), samples.nanoseconds(counted), samples.ratio(counted, case)
        cells = [case.shape, case.contender, _median(off, ".1f"), _median(on, ".1f"), _median(ratio), _quartiles(ratio)]
        for n in counts[1:]:
            cells += [_median(samples.ratio(counted, case, n)), _median(samples.scaling(counted, n))]
        rows.append(cells)
    return table("Hits that are counted (stats=True), beside the same ones that are not", header, rows)


def cached_table(samples: Samples) -> str:
    """What a hit of a function that is cached in a Storage costs, beside a memoized one's under the same limit."""
    counts = samples.threads()
    header = [
        "shape",
        "policy",
        "ns memoized",
        "ns cached",
        "times",
        "quartiles",
        *(f"times on {n}" for n in counts[1:]),
    ]
    rows: list[Sequence[str]] = []
    for memoized, cached in cached_cases(samples):
        one, other, ratio = samples.nanoseconds(memoized), samples.nanoseconds(cached), samples.ratio(cached, memoized)
        policy = memoized.contender.partition(" ")[2]
        cells = [memoized.shape, policy, _median(one, ".1f"), _median(other, ".1f"), _median(ratio), _quartiles(ratio)]
        rows.append([*cells, *(_median(samples.ratio(cached, memoized, n)) for n in counts[1:])])
    return table("Hits of functions cached in a Storage, beside memoized ones", header, rows)


def memory_table(memory: dict[str, float]) -> str:
    rows = [(name, "", f"{value:.1f}") for name, value in memory.items()]
    return table("Memory beyond keys and values, by tracemalloc", ("what", "", "bytes a key"), rows)


def target_table(targets: list[Target], title: str = "Targets of issues 2 and 8") -> str:
    rows = [(t.what, t.verdict, t.bound_text, f"{t.reached:.2f}{t.unit}") for t in targets]
    return table(title, ("what", "verdict", "target", "reached"), rows)
