"""What the commands share: which runs are asked for, one run with its progress, and where results go."""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import sys
from collections.abc import Callable, Iterator
from typing import TextIO

from .case import Case, Result
from .frame import run
from .oracle import KINDS
from .report import Progress, print_findings
from .scenarios import SCENARIOS
from .shared.disturbances import ENGINES
from .stranger import OPERATIONS, load
from .subject import INDEXES, POLICIES

__all__ = ["Run", "add_choice_of_runs", "choose_runs", "open_output", "run_one"]

Run = tuple[type[Case], str]
"""A scenario, and the variant that it is to run on."""


def add_choice_of_runs(command: argparse.ArgumentParser) -> None:
    command.add_argument("names", metavar="NAME[/VARIANT]", nargs="*", help="scenarios, or one variant of them")
    command.add_argument("--all", action="store_true", help="all scenarios")
    command.add_argument(
        "--subject", metavar="MODULE:FACTORY", help="a cache of your own (docs/stress.md); all scenarios"
    )
    command.add_argument("--index", choices=(*INDEXES, "both"), default="both")
    command.add_argument("--policy", choices=(*POLICIES, "both"), default="both")
    command.add_argument("--engine", choices=(*ENGINES, "both"), default="both", help="of shared caches")


def choose_runs(options: argparse.Namespace, refuse: Callable[[str], object]) -> list[Run]:
    """Return what is asked for: by name, as far as the index and the policy fit; each once."""
    if options.subject:
        return _runs_of_stranger(options, refuse)
    wanted = list(SCENARIOS) if options.all else options.names
    known = {f"{name}/{variant}" for name in SCENARIOS for variant in SCENARIOS[name].variants} | set(SCENARIOS)
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        refuse(f"name scenarios, or --all; there are: {', '.join(SCENARIOS)}" + f"; not {unknown}" * bool(unknown))
    runs = [
        (SCENARIOS[name], variant)
        for name in SCENARIOS
        for variant in SCENARIOS[name].variants
        if (name in wanted or f"{name}/{variant}" in wanted) and _fits(variant, options)
    ]
    if not runs:
        refuse("nothing that you name runs on that index or policy")
    return runs


def _runs_of_stranger(options: argparse.Namespace, refuse: Callable[[str], object]) -> list[Run]:
    """Return the scenarios that are named, or all, on the cache of `--subject`."""
    try:
        load(options.subject).lacks(OPERATIONS)
    except ValueError as error:
        refuse(str(error))
    unknown = [name for name in options.names if name not in SCENARIOS]
    if unknown:
        refuse(f"with --subject, name scenarios alone; there are: {', '.join(SCENARIOS)}; not {unknown}")
    return [(SCENARIOS[name], options.subject) for name in SCENARIOS if name in (options.names or SCENARIOS)]


def _fits(variant: str, options: argparse.Namespace) -> bool:
    kind = variant.partition("-")[0]
    for kinds, chosen in ((INDEXES, options.index), (POLICIES, options.policy), (ENGINES, options.engine)):
        if kind in kinds and chosen not in (kind, "both"):
            return False
    return True


def run_one(
    scenario: type[Case], variant: str, seconds: float, options: argparse.Namespace, progress: Progress
) -> Result:
    """Run one, showing how it goes, and what it found."""

    def on_progress(result: Result) -> None:
        _watch_main_thread(options.patience)
        progress(result)

    result = run(
        scenario,
        on_progress,
        variant=variant,
        seed=options.seed,
        seconds=seconds,
        threads=options.threads,
        patience=options.patience,
        until_found=KINDS if options.until_found else (),
    )
    progress.finish(result)
    print_findings(result, sys.stderr)
    return result


def _watch_main_thread(patience: float) -> None:
    """If this is not called again for long, no Python code runs: write all stacks from outside it, and exit with 1."""
    if sys.__stderr__ is not None:  # `sys.stderr` may have been replaced by what is no file
        faulthandler.dump_traceback_later(3 * patience + 60, exit=True, file=sys.__stderr__.fileno())


@contextlib.contextmanager
def open_output(name: str) -> Iterator[TextIO]:
    """Open a file for the report; "-" is stdout."""
    if name == "-":
        yield sys.stdout
    else:
        with open(name, "w", encoding="utf-8") as out:
            yield out
