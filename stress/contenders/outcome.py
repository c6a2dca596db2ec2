"""What can come of one program on one contender."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

__all__ = [
    "CRASHES",
    "HANGS",
    "KINDS",
    "NOT_INSTALLED",
    "NOT_OFFERED",
    "RAISES",
    "SURVIVES",
    "WRONG",
    "Hangs",
    "NotOffered",
    "Outcome",
    "Wrong",
]

SURVIVES: Final = "survives"
WRONG: Final = "wrong"
HANGS: Final = "hangs"
RAISES: Final = "raises"
CRASHES: Final = "crashes"
NOT_OFFERED: Final = "not offered"
NOT_INSTALLED: Final = "not installed"
KINDS: Final = (SURVIVES, WRONG, HANGS, RAISES, CRASHES, NOT_OFFERED, NOT_INSTALLED)


class Wrong(Exception):
    """The contender did what it must not; the message says what."""


class Hangs(Exception):
    """A thread of the program did not come back; the message says from what."""


class NotOffered(Exception):
    """The contender has no such feature, so that the question does not arise; the message names it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    row: str
    contender: str
    kind: str
    detail: str = ""
    seconds: float = 0.0

    @classmethod
    def of_error(cls, row: str, contender: str, error: BaseException) -> Outcome:
        """Say what an exception that ended a program means."""
        kinds = {Wrong: WRONG, Hangs: HANGS, NotOffered: NOT_OFFERED}
        for error_type, kind in kinds.items():
            if isinstance(error, error_type):
                return cls(row, contender, kind, str(error))
        text = _without_objects(" ".join(str(error).split()))[:100]
        return cls(row, contender, RAISES, type(error).__name__ + (f": {text}" if text else ""))

    @classmethod
    def of_json(cls, reported: dict[str, Any]) -> Outcome:
        outcome = cls(**reported)
        if outcome.kind not in KINDS:
            raise ValueError(f"an outcome is one of {', '.join(KINDS)}, not {outcome.kind!r}")
        return outcome


def _without_objects(text: str) -> str:
    """Leave out what is between the first `<` and the last `>`: addresses and paths, which say nothing."""
    head, start, rest = text.partition("<")
    _, end, tail = rest.rpartition(">")
    return f"{head}…{tail}" if start and end else text
