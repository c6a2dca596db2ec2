"""python -m stress: lists the scenarios.

python -m stress run runs them, python -m stress soak looks for what piles up, python -m stress faults plants faults and
sees who finds them. Exit status: 0, nothing was found; 1, something was; 2, the arguments make no sense.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import random
import sys
from collections.abc import Callable, Sequence

from . import planted, soak
from .command import Run, add_choice_of_runs, choose_runs, open_output, run_one
from .frame import PATIENCE
from .report import Progress, describe_interpreter, print_json, print_table
from .scenarios import SCENARIOS, describe

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _make_parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        _list_scenarios()
        return 0
    if options.command == "faults":
        return planted.main(options, parser.error)
    runs = choose_runs(options, parser.error)
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1_000_000)
    header = f"{describe_interpreter()}, {os.cpu_count()} CPUs; {options.threads} threads, seed {options.seed}"
    print(header, file=sys.stderr)
    try:
        return soak.main(runs, options) if options.command == "soak" else _run_all(runs, options)
    finally:
        faulthandler.cancel_dump_traceback_later()


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stress", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command")
    run_command = commands.add_parser("run", help="run scenarios")
    run_command.add_argument("--seconds", type=_positive(float), default=30.0, help="in all, shared out (default 30)")
    soak_command = commands.add_parser("soak", help="run all, again and again: does anything pile up?")
    soak_command.add_argument("--minutes", type=_positive(float), default=10.0, help="in all (default 10)")
    for command in (run_command, soak_command):
        add_choice_of_runs(command)
        command.add_argument("--until-found", action="store_true", help="end each run once something was found")
        command.add_argument("--threads", type=_positive(int), default=4, help="of each scenario (default 4)")
        command.add_argument("--seed", type=int, help="for the same choices again (default: a new one)")
        command.add_argument(
            "--patience",
            type=_positive(float),
            default=PATIENCE,
            help=f"seconds without any progress until somebody is blocked (default {PATIENCE:.0f})",
        )
    faults_command = commands.add_parser("faults", help="plant faults in a copy of the library: who finds them?")
    planted.add_arguments(faults_command)
    for command in (run_command, soak_command, faults_command):
        command.add_argument(
            "--json", nargs="?", const="-", metavar="FILE", help="results as JSON; alone or as -, in place of the table"
        )
    return parser


def _positive(parse: type[int] | type[float]) -> Callable[[str], int | float]:
    """Make the parser of an argument that must be more than nothing."""

    def parse_positive(text: str) -> int | float:
        value = parse(text)
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"must be more than 0, and finite, not {text}")
        return value

    return parse_positive


def _list_scenarios() -> None:
    for name in SCENARIOS:
        print(f"{name:<20}{describe(name)}")
    options = "[--seconds S] [--threads N] [--seed N] [--index I] [--policy P] [--subject S] [--json [FILE]]"
    print(f"\npython -m stress run --all | NAME[/VARIANT]... {options}")
    print("python -m stress soak --minutes M        python -m stress faults        --help says more")


def _run_all(runs: list[Run], options: argparse.Namespace) -> int:
    results, status = [], 0
    seconds = options.seconds / max(1, sum(not scenario.why_variant_skipped(variant) for scenario, variant in runs))
    try:
        for number, (scenario, variant) in enumerate(runs, 1):
            progress = Progress(sys.stderr, f"{number}/{len(runs)}")
            results.append(run_one(scenario, variant, seconds, options, progress))
            status |= not results[-1].is_clean
    except KeyboardInterrupt:
        print("interrupted; this is of the runs that had ended:", file=sys.stderr)
        status = 130
    if options.json != "-":
        print_table(results, sys.stdout)
    if options.json:
        with open_output(options.json) as out:
            print_json(results, status == 0, out)
    return status


if __name__ == "__main__":
    sys.exit(main())
