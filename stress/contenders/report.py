"""The tables, and the JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

from benchmarks.build import Build, this_build

from .catalogue import contender_called
from .outcome import CRASHES, HANGS, NOT_INSTALLED, NOT_OFFERED, RAISES, SURVIVES, WRONG, Outcome
from .rows import LOOP_ROWS, THREAD_ROWS, question_of

__all__ = ["as_json", "as_markdown", "build_of", "compact_markdown"]

Outcomes = list[Outcome]

_SYMBOLS: Final = {
    SURVIVES: "survives",
    WRONG: "**wrong**",
    HANGS: "**hangs**",
    RAISES: "**raises**",
    CRASHES: "**crashes**",
    NOT_OFFERED: "not offered",
    NOT_INSTALLED: "not installed",
}

_WORSE: Final = (NOT_INSTALLED, NOT_OFFERED, SURVIVES, WRONG, RAISES, HANGS, CRASHES)


def build_of(outcomes: Outcomes) -> Build:
    """Describe the interpreter and the machine, with the versions of those who took part."""
    names = dict.fromkeys(outcome.contender for outcome in outcomes)
    versions = {}
    for contender in map(contender_called, names):
        if contender.distribution is not None:
            versions[contender.distribution] = contender.version() or "not installed"
    return this_build(versions)


def as_json(outcomes: Outcomes, build: Build) -> dict[str, Any]:
    return {
        "build": build.as_json(),
        "questions": {row: question_of(row) for row in dict.fromkeys(outcome.row for outcome in outcomes)},
        "outcomes": [asdict(outcome) | {"seconds": round(outcome.seconds, 2)} for outcome in outcomes],
    }


def as_markdown(outcomes: Outcomes, build: Build) -> str:
    """Lay out two tables, of threads and of event loops, with the details below and what they come from at the foot."""
    parts = [
        f"# Comparison with other libraries: {build.label}",
        "Made by `python -m stress.contenders`, not by hand. A row is a small program, in a process of its own, of "
        "`stress/contenders/rows`, whose header says what it asks and what counts as surviving.",
    ]
    for title, rows in (("Threads", THREAD_ROWS), ("Event loops", LOOP_ROWS)):
        some = [outcome for outcome in outcomes if outcome.row in rows]
        if some:
            parts += [f"## {title}", _table({(each.row, each.contender): each for each in some}, _cell), _details(some)]
    parts += ["## Where", "\n".join(f"- {line}" for line in build.lines())]
    return "\n\n".join(parts) + "\n"


def compact_markdown(outcomes: Outcomes, build: Build) -> str:
    """Lay out the tables of docs/comparison.md: in one column a library's forms, of which the worst outcome is shown.

    Left out are those that are not installed, and questions that nobody's features raise.
    """
    there = [outcome for outcome in outcomes if outcome.kind != NOT_INSTALLED]
    asked = {outcome.row for outcome in there if outcome.kind != NOT_OFFERED}
    parts = []
    for rows in (THREAD_ROWS, LOOP_ROWS):
        worst: dict[tuple[str, str], Outcome] = {}
        for outcome in there:
            if outcome.row in rows and outcome.row in asked:
                place = outcome.row, contender_called(outcome.contender).column or outcome.contender
                worst[place] = max(worst.get(place, outcome), outcome, key=lambda each: _WORSE.index(each.kind))
        if worst:
            parts.append(_table(worst, _compact_cell))
    return "\n\n".join([*parts, "; ".join(build.lines())]) + "\n"


def _compact_cell(outcome: Outcome) -> str:
    return {SURVIVES: "yes", NOT_OFFERED: "-"}.get(outcome.kind, _cell(outcome))


def _cell(outcome: Outcome) -> str:
    if outcome.kind == NOT_INSTALLED:
        return outcome.detail
    if outcome.kind in (RAISES, CRASHES):
        return f"{_SYMBOLS[outcome.kind]} {outcome.detail.partition(':')[0]}"
    return _SYMBOLS[outcome.kind]


def _table(by_place: dict[tuple[str, str], Outcome], cell: Callable[[Outcome], str]) -> str:
    """Lay out what is at each place, a row and a column."""
    columns = list(dict.fromkeys(column for _, column in by_place))
    lines = [["", *columns], ["---"] * (1 + len(columns))]
    for row in dict.fromkeys(row for row, _ in by_place):
        found = [by_place.get((row, column)) for column in columns]
        lines.append([question_of(row), *(cell(each) if each else "" for each in found)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _details(outcomes: Outcomes) -> str:
    lines = []
    for row in dict.fromkeys(outcome.row for outcome in outcomes):
        some = [o for o in outcomes if o.row == row and o.kind != NOT_INSTALLED and o.detail]
        if some:
            lines.append(f"### {question_of(row)} (`{row}`)\n")
            lines += [f"- {o.contender}: {o.kind}{f', {o.detail}' if o.detail else ''}" for o in some]
            lines.append("")
    return "\n".join(lines).rstrip()
