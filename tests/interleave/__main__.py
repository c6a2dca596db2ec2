"""python -m tests.interleave: runs races under every schedule with up to two preemptions, and under random ones.

Exit status 1 if one failed; its schedule is saved, and `--replay FILE` runs it again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from . import BadSchedule, explore, sample
from .race import Race
from .races import RACES
from .saved import replay_file, save

__all__ = ["main", "run_race"]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.interleave", description=__doc__)
    parser.add_argument("--list", action="store_true", help="the races, with their headers")
    parser.add_argument("--scenario", metavar="TEXT", default="", help="only those with TEXT in their names")
    parser.add_argument("--preemptions", type=int, metavar="N", help="at most so many (default: as the race says)")
    parser.add_argument("--runs", type=int, metavar="N", default=50, help="of PCT, of each race (default 50)")
    parser.add_argument("--seed", type=int, default=0, help="of PCT")
    parser.add_argument("--depth", type=int, default=3, help="of PCT: one more than it changes priorities (default 3)")
    parser.add_argument("--save", metavar="DIRECTORY", default=".", help="where failed schedules go")
    parser.add_argument("--replay", metavar="FILE", help="run the schedule in FILE, and nothing else")
    options = parser.parse_args(arguments)
    if options.replay:
        return _replay(options.replay)
    races = [race for race in RACES.values() if options.scenario in race.name]
    if not races:
        parser.error(f"no race has {options.scenario!r} in its name; --list shows them")
    if options.list:
        for race in races:
            print(f"{race.name}\n    {race.header.strip()}\n")
        return 0
    return max([_run(race, options) for race in races])


def _replay(path: str) -> int:
    try:
        replay_file(path)
    except BadSchedule as error:
        print(error)
        return 1
    print(f"{path}: no fault shows")
    return 0


def run_race(race: Race, preemptions: int, runs: int, seed: int, depth: int = 3) -> int:
    """Run a race under all its schedules and so many random ones; return how many, or raise BadSchedule."""
    ran = explore(race.scenario, preemptions, symmetric=race.symmetric, at_least=2, stops_early=True)
    if runs:
        sample(race.scenario, runs, seed, depth)
    return ran + runs


def _run(race: Race, options: argparse.Namespace) -> int:
    preemptions = race.preemptions if options.preemptions is None else options.preemptions
    try:
        ran = run_race(race, preemptions, options.runs, options.seed, options.depth)
    except BadSchedule as error:
        print(f"{race.name}: {error}\nsaved: {save(race.name, error.bad, options.save)}", flush=True)
        return 1
    most = f"schedules with up to {preemptions} preemptions"
    print(f"{race.name}: {ran - options.runs} {most}, {options.runs} random ones", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
