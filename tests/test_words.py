"""Words that are not to be used, since a reader who learned English at school stumbles over them, and old names.

Docstrings, comments, messages, names and documentation use the field's terms: `docs/architecture.md` explains them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

WORDS = {  # a regular expression, and what to write instead
    r"anew": "again; recompute",
    r"at rest": "idle; when no operation is running",
    r"(?:keeps|in) (?:its|the|their) books|the books|books": "accounting",
    r"(?:come|comes|coming|came) upon": "accessed; found",
    r"(?:die|dies|died|dying) of": "is interrupted by; raises",
    r"(?:one|once|examples|line) an? (?:cache|case|entry|key|row|store|test|thread)": "per key, per test",
    r"for so long(?: after)?": "for this long",
    r"from \d+ on": "0 <= x < 1",
    r"in (?:his|its|their) stead": "on behalf of; instead",
    r"in need only": "only as a fallback",
    r"(?:let|lets|letting) (?:\w+ )?go": "release a lock; drop or free an object",
    r"(?:let|lets|letting) (?:the )?others out": "evict",
    r"looks? again later": "retries",
    r"on (?:its|the|their) way": "running; in flight",
    r"(?:put|puts|putting) (?:it |them )?out": "evict; remove",
    r"rather than ask often": "store it: creating one costs",
    r"struck|strikes? (?:out|off)": "subtract; remove",
    r"told": "notified; reported",
    r"under way": "running; in flight",
    r"weighs \d+": "is charged",
    r"who (?:comes next|goes)|whoever": "the caller; the thread; the next operation",
    r"who survives": "comparison with other libraries",
}

OLD_NAMES = (
    "after_fill|_aloft|AsyncSingleFlight|AsyncStayingUp|_caller|came_back|current_caller|_drop_expired|_fail"
    "|Filing|find_results|_finish|_fly|_fly_and_tell|_give_way|_hand_over|has_no_leader|hold_off|is_gone"
    "|is_servable|keeps_asking|_land|_leads_to|let_go|LONG_AGO|look_every|may_be_left|_most_items"
    "|most_weight_each|NOT_YET|_note_replaced|_outcome_of|_Owner|plan_of|_put_out|_reach|_repair|_Results"
    "|_retract|retry_at|_serialised|_served_at_once|_settle|_share_with|SingleFlight|Slip"
    "|staying-up|StayingUp|_strike|_strike_evicted|_strike_out|take_off|_take_out|_take_over|_tell|_tell_later"
    "|Tidier|touch_source|_twin|_under_way|_untold|view_of"
)

FORBIDDEN = [(re.compile(rf"\b(?:{words})\b", re.IGNORECASE), instead) for words, instead in WORDS.items()]
FORBIDDEN_NAMES = re.compile(rf"(?<![\w-])(?:{OLD_NAMES})(?![\w-])")

ALLOWED: dict[str, int] = {}
"""How many there still may be, by file: numbers are lowered and lines removed, and nothing is added."""

TEXTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "Makefile", "pyproject.toml")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "src").rglob("*.py")),
    *sorted((ROOT / "benchmarks").rglob("*.py")),
    *sorted((ROOT / "examples").rglob("*.py")),
    *sorted((ROOT / "stress").rglob("*.py")),
]


def found_in(text: str, with_names: bool = True) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, instead in FORBIDDEN:
            for match in pattern.finditer(line):
                yield f"line {number}: {match.group()!r}; write: {instead}"
        for match in FORBIDDEN_NAMES.finditer(line if with_names else ""):
            yield f"line {number}: {match.group()!r}, a name that has been replaced"


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_word_is_used_that_is_not_to_be_used(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    found = list(found_in(path.read_text(encoding="utf-8"), with_names=not name.startswith(("benchmarks/", "stress/"))))
    assert len(found) <= ALLOWED.get(name, 0), "\n".join(found)


@pytest.mark.parametrize(
    "line",
    [
        "the leader lets go of the latch",
        "a fill on its way",
        "it puts them out",
        "Whoever fills",
        "self._settle(flight)",
    ],
)
def test_finds_such_words(line: str) -> None:
    assert list(found_in(line))


@pytest.mark.parametrize(
    "line",
    ["outlet good", "bookshelf", "a thread who goes_on", "an inputs outlook", "_settled", "unfold", "is let through"],
)
def test_finds_no_others(line: str) -> None:
    assert not list(found_in(line))
