"""python -m stress.contenders: asks areole and other caches the same questions, and compares the answers."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from .catalogue import all_contenders, contender_called, rows_for
from .frame import DEADLINE, run_all
from .outcome import NOT_INSTALLED, NOT_OFFERED, SURVIVES, Outcome
from .report import as_json, as_markdown, build_of, compact_markdown
from .rows import LOOP_ROWS, THREAD_ROWS, question_of
from .tools import Effort

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 1 if areole did not survive something that it offers."""
    parser = _make_parser()
    options = parser.parse_args(arguments)
    if options.list:
        _list()
        return 0
    try:
        contenders = [contender_called(options.subject)] if options.subject else all_contenders()
    except ValueError as error:
        parser.error(str(error))
    pairs = [
        (row, contender.name)
        for row in (*THREAD_ROWS, *LOOP_ROWS)
        for contender in contenders
        if row in rows_for(contender)
        and (not options.only or row in options.only)
        and _is_wanted(contender.name, options.contender)
    ]
    effort = Effort(options.seconds, options.scale, options.patience)
    outcomes = run_all(pairs, effort, _show, jobs=options.jobs, deadline=options.deadline)
    _write(outcomes, options)
    return int(any(not _is_well(outcome) for outcome in outcomes if outcome.contender.startswith("areole")))


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stress.contenders", description=__doc__)
    names = ", ".join(contender.name for contender in all_contenders())
    parser.add_argument("--only", metavar="ROW", action="append", choices=(*THREAD_ROWS, *LOOP_ROWS))
    parser.add_argument("--contender", metavar="NAME", action="append", help=f"part of a name of: {names}")
    parser.add_argument("--subject", metavar="MODULE:FACTORY", help="a cache of your own (docs/stress.md)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each program that races (default 1)")
    parser.add_argument("--scale", type=float, default=1.0, help="of the counts, such as those of keys (default 1)")
    parser.add_argument("--patience", type=float, default=4.0, help="seconds until a thread hangs (default 4)")
    parser.add_argument("--deadline", type=float, default=DEADLINE, help=f"of a process (default {DEADLINE:.0f} s)")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time (default 2)")
    parser.add_argument("--json", metavar="FILE", type=Path)
    parser.add_argument("--markdown", metavar="FILE", type=Path)
    parser.add_argument("--compact", metavar="FILE", type=Path, help="the tables of docs/comparison.md")
    parser.add_argument("--list", action="store_true", help="the rows and the contenders")
    return parser


def _is_wanted(name: str, wanted: list[str] | None) -> bool:
    return wanted is None or any(each in name for each in wanted)


def _is_well(outcome: Outcome) -> bool:
    return outcome.kind in (SURVIVES, NOT_OFFERED, NOT_INSTALLED)


def _show(outcome: Outcome) -> None:
    detail = f": {outcome.detail}" if outcome.detail else ""
    where = f"{outcome.row:<26}{outcome.contender:<22} "
    print(f"{outcome.seconds:6.1f} s  {where}{outcome.kind}{detail}", file=sys.stderr, flush=True)


def _write(outcomes: list[Outcome], options: argparse.Namespace) -> None:
    build = build_of(outcomes)
    markdown = as_markdown(outcomes, build)
    if options.json:
        options.json.write_text(json.dumps(as_json(outcomes, build), indent=1) + "\n", encoding="utf-8")
    if options.compact:
        options.compact.write_text(compact_markdown(outcomes, build), encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(markdown, encoding="utf-8")
    else:
        print(markdown)


def _list() -> None:
    for row in (*THREAD_ROWS, *LOOP_ROWS):
        print(f"{row:<28}{question_of(row)}")
    print()
    for contender in all_contenders():
        print(f"{contender.name:<28}{contender.missing() or contender.version() or 'of this Python'}")


if __name__ == "__main__":
    sys.exit(main())
