"""Runs what should find a planted fault on a copy of the library that has it, and tells which finds which.

Each try is a process of its own, with that copy in front of its path, and has so many seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from .command import open_output
from .faults import Fault, FaultMustBeRewritten, load_faults, plant
from .oracle import KINDS
from .report import describe_interpreter, format_table
from .scenarios import SCENARIOS

__all__ = ["OTHERS", "Try", "add_arguments", "main", "try_to_catch", "why_not_here"]

OTHERS: Final = {"hunt": "tests.interleave.hunt"}
"""What can find a fault besides the scenarios, and is tried on every one: by name, the module. Exit status 1: found.

`hunt` looks through interleavings and histories.
"""

_PATIENCE: Final = 3.0  # seconds: here a thread that is blocked is what is looked for, and a false alarm does no harm
_GRACE: Final = 60.0  # seconds that a try may take besides those that it has, to start and to end


@dataclass(frozen=True, slots=True)
class Try:
    """`kinds`: what was found; empty, where nothing was. `seconds` are those of the whole process."""

    fault: str
    by: str
    kinds: tuple[str, ...]
    seconds: float

    @property
    def summary(self) -> str:
        what = f"{', '.join(self.kinds)}, {self.seconds:.1f} s" if self.kinds else f"no, {self.seconds:.0f} s"
        return f"{self.by} ({what})"


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--only", metavar="NAME", action="append", help="this fault; may be given more than once")
    command.add_argument("--seconds", type=float, default=60.0, help="of each try (default 60)")
    command.add_argument("--scenarios-only", action="store_true", help="no interleavings, no histories")
    command.add_argument("--quick", action="store_true", help="end with the first that finds a fault")
    command.add_argument("--check", action="store_true", help="run nothing; say which patches do not fit any more")
    command.add_argument("--markdown", metavar="FILE", help="write the table there: stress/results/faults.md")


def main(options: argparse.Namespace, refuse: Callable[[str], object]) -> int:
    """Plant each fault, have it looked for, tell; return 1 if one is found by nobody, or does not fit."""
    faults = load_faults()
    unknown = [name for name in options.only or () if name not in faults]
    if unknown:
        refuse(f"there is no fault {', '.join(unknown)}; there are: {', '.join(faults)}")
    chosen = [faults[name] for name in options.only or faults]
    unfit = [complaint for fault in chosen if (complaint := _does_not_fit(fault))]
    for complaint in unfit:
        print(complaint, file=sys.stderr)
    if options.check or unfit:
        print(f"{len(chosen) - len(unfit)} of {len(chosen)} faults fit")
        return int(bool(unfit))
    chosen = [fault for fault in chosen if fault.is_one_here]
    tries = [each for fault in chosen for each in _look_for(fault, options)]
    missed = [fault.name for fault in chosen if not any(each.kinds for each in tries if each.fault == fault.name)]
    _report(chosen, tries, missed, options)
    return int(bool(missed))


def _does_not_fit(fault: Fault) -> str:
    with tempfile.TemporaryDirectory() as place:
        try:
            plant(fault, Path(place))
        except FaultMustBeRewritten as error:
            return str(error)
    return ""


def _look_for(fault: Fault, options: argparse.Namespace) -> Iterable[Try]:
    for by in (*fault.caught_by, *_others(options)):
        if why := why_not_here(by):
            print(f"{fault.name}: {by} is left out: {why}", file=sys.stderr, flush=True)
            continue
        tried = try_to_catch(fault, by, options.seconds)
        print(f"{fault.name}: {tried.summary}", file=sys.stderr, flush=True)
        yield tried
        if options.quick and tried.kinds:
            return


def why_not_here(by: str) -> str:
    """Say why a scenario cannot look for a fault here; empty if it can."""
    name, _, variant = by.partition("/")
    return "" if by in OTHERS else SCENARIOS[name].why_variant_skipped(variant)


def _others(options: argparse.Namespace) -> list[str]:
    if options.scenarios_only:
        return []
    return list(OTHERS)


def try_to_catch(fault: Fault, by: str, seconds: float) -> Try:
    """Look for a planted fault by one means, for this long at most."""
    with tempfile.TemporaryDirectory() as place:
        plant(fault, Path(place))
        began = time.monotonic()
        kinds = _run(by, place, seconds)
        return Try(fault.name, by, kinds, round(time.monotonic() - began, 1))


def _run(by: str, place: str, seconds: float) -> tuple[str, ...]:
    is_scenario = by not in OTHERS
    arguments = _scenario_command(by, seconds) if is_scenario else [OTHERS[by], "--seconds", str(seconds)]
    command = [sys.executable, "-m", *arguments]
    checkout = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    # a fault is one of the Python code: that has to run, also where an accelerator was built
    environment = dict(os.environ) | {"PYTHONPATH": os.pathsep.join((place, checkout)), "AREOLE_PURE": "1"}
    try:
        ran = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=seconds + _GRACE, cwd=place
        )
    except subprocess.TimeoutExpired:
        return ("blocked",)
    if ran.returncode not in (0, 1):
        raise RuntimeError(f"{' '.join(command)} ended with status {ran.returncode}:\n{ran.stderr}")
    if not is_scenario:
        return ("found",) if ran.returncode else ()
    return _kinds_in(ran.stdout) if ran.returncode else ()


def _scenario_command(by: str, seconds: float) -> list[str]:
    options = {"--seconds": seconds, "--seed": 1, "--patience": _PATIENCE, "--json": "-"}
    return ["stress", "run", by, "--until-found", *(str(each) for pair in options.items() for each in pair)]


def _kinds_in(out: str) -> tuple[str, ...]:
    try:
        results: list[dict[str, Any]] = json.loads(out)["results"]
    except ValueError:  # nothing ran any more, and faulthandler ended it
        return ("blocked",)
    return tuple(kind for kind in KINDS if any(result[kind] for result in results))


def _report(chosen: list[Fault], tries: list[Try], missed: list[str], options: argparse.Namespace) -> None:
    by_fault = {fault.name: [each for each in tries if each.fault == fault.name] for fault in chosen}
    if options.json != "-":
        rows = [(fault.name, "; ".join(each.summary for each in by_fault[fault.name])) for fault in chosen]
        print(format_table(("fault", "who finds it"), rows, left=2))
        print(f"found by nobody: {', '.join(missed)}" if missed else f"all {len(chosen)} were found")
    if options.json:
        result = {"interpreter": describe_interpreter(), "clean": not missed, "missed": missed}
        with open_output(options.json) as out:
            json.dump(result | {"tries": [asdict(each) for each in tries]}, out, indent=2)
            print(file=out)
    if options.markdown:
        Path(options.markdown).write_text(_as_markdown(chosen, by_fault), encoding="utf-8")


def _as_markdown(chosen: list[Fault], by_fault: dict[str, list[Try]]) -> str:
    lines = [
        "# Planted faults, and who finds them",
        "",
        f"{describe_interpreter()}, {os.cpu_count()} CPUs. In parentheses: what was found, and after how many seconds,",
        'with those that it takes to start a process; "no": nothing, in so many. A number is an invariant\'s in the',
        "design. Made by `python -m stress faults --markdown stress/results/faults.md`.",
        "",
        "| fault | what it breaks | who finds it |",
        "|---|---|---|",
    ]
    for fault in chosen:
        found = "<br>".join(each.summary for each in by_fault[fault.name])
        lines.append(f"| `{fault.name}` | {fault.breaks} | {found} |")
    return "\n".join(lines) + "\n"
