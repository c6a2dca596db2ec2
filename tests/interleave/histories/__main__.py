"""python -m tests.interleave.histories: records histories, and checks whether they are linearizable.

Exit status 1 if one is not; if it was scheduled, its schedule is saved, and `python -m tests.interleave --replay FILE`
runs it again. What real threads did cannot be done again; the message shows all of it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ..saved import save
from .record import SUBJECTS
from .search import Outcome, search_free, search_scheduled

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.interleave.histories", description=__doc__)
    parser.add_argument("--count", type=int, default=2_000, help="of histories of real threads, in all (default 2000)")
    parser.add_argument("--scheduled", type=int, default=200, help="of programs under PCT, in all (default 200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--subject", choices=SUBJECTS, action="append", help="(default: all)")
    parser.add_argument("--save", metavar="DIRECTORY", default=".", help="where failed schedules go")
    options = parser.parse_args(arguments)
    subjects = options.subject or list(SUBJECTS)
    status = 0
    for subject in subjects:
        free = sum(search_free(subject, -(-options.count // len(subjects)), options.seed), Outcome())
        chosen = sum(search_scheduled(subject, -(-options.scheduled // len(subjects)), options.seed), Outcome())
        _show(subject, free, chosen)
        for name, bad in chosen.bad:
            print(f"saved: {save(name, bad, options.save)}", file=sys.stderr)
        status |= bool(free.messages or chosen.messages)
    return status


def _show(subject: str, free: Outcome, chosen: Outcome) -> None:
    print(
        f"{subject}: {free.histories} histories of real threads, {free.share:.0%} with overlap;"
        f" {chosen.histories} scheduled, {chosen.share:.0%} with overlap;"
        f" {len(free.messages + chosen.messages)} not linearizable",
        flush=True,
    )
    for message in (free.messages + chosen.messages)[:3]:
        print(message, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
