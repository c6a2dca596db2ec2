"""Runs one program on one contender: `python -m stress.contenders.child ROW CONTENDER SECONDS SCALE PATIENCE`.

The last line that it writes is the outcome, as JSON. It leaves without waiting for threads, which may hang.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import warnings
from dataclasses import asdict, replace
from time import perf_counter  # kept, as a program may replace that of `time`

from .catalogue import contender_called
from .outcome import NOT_INSTALLED, SURVIVES, Outcome
from .rows import run_row
from .tools import Effort

__all__ = ["MARK", "main"]

MARK = "outcome: "


def main(arguments: list[str]) -> None:
    row, name, *numbers = arguments
    faulthandler.enable()
    warnings.simplefilter("ignore")  # what others warn of is not in question
    began = perf_counter()
    outcome = replace(_run_and_judge(row, name, Effort(*map(float, numbers))), seconds=perf_counter() - began)
    print(f"\n{MARK}{json.dumps(asdict(outcome))}", flush=True)
    os._exit(0)


def _run_and_judge(row: str, name: str, effort: Effort) -> Outcome:
    contender = contender_called(name)
    if (why := contender.missing()) is not None:
        return Outcome(row, name, NOT_INSTALLED, why)
    try:
        return Outcome(row, name, SURVIVES, run_row(row, contender, effort))
    except BaseException as error:
        return Outcome.of_error(row, name, error)


if __name__ == "__main__":
    main(sys.argv[1:])
