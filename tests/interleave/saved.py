"""Schedules that failed, as files: saved as JSON when found, and replayed by `python -m tests.interleave`.

A file names its scenario: a race of `tests.interleave.races`, or "history/SUBJECT/SEED" for the program of that seed.
It replays on the interpreter and the library that it names; on others the same choices may not be possible.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import Scenario, replay
from .explore import Bad
from .histories.record import SUBJECTS, scheduled
from .races import RACES

__all__ = ["load", "replay_file", "save", "scenario_called"]


def scenario_called(name: str) -> Scenario:
    """Return the scenario of that name; raise KeyError, with what there is, if there is none."""
    kind, _, rest = name.partition("/")
    subject, _, seed = rest.partition("/")
    if kind == "history" and subject in SUBJECTS and seed:
        return scheduled(subject, seed)
    if name not in RACES:
        raise KeyError(f"no scenario is called {name!r}; there are {', '.join(RACES)}, and history/SUBJECT/SEED")
    return RACES[name].scenario


def save(name: str, bad: Bad, directory: str | Path = ".") -> Path:
    """Write a schedule of the scenario called `name` to a new file, and return its path."""
    Path(directory).mkdir(parents=True, exist_ok=True)
    path = Path(directory) / f"{name.replace('/', '-')}.json"
    path.write_text(json.dumps({"scenario": name} | asdict(bad), indent=1) + "\n")
    return path


def load(path: str | Path) -> tuple[str, dict[str, Any]]:
    """Read the name of a scenario, and all that is known of one schedule of it."""
    saved: dict[str, Any] = json.loads(Path(path).read_text())
    return saved.pop("scenario"), saved


def replay_file(path: str | Path) -> None:
    """Run the schedule in a file; raise BadSchedule if it fails, ValueError if it does not fit this library."""
    name, saved = load(path)
    choices = [(decision, thread) for decision, thread in saved["choices"]]
    replay(scenario_called(name), choices, saved["steps"])
