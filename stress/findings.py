"""Findings: what a run has shown that it should not, by kind; the oracle says what each kind means."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Collection
from typing import Final

__all__ = ["KINDS", "Findings"]

KINDS: Final = ("wrong", "stale", "doubled", "blocked")
_KEPT: Final = 4  # messages of one kind


class Findings:
    """The violations of a run: how many of each kind, and what the first different ones were."""

    def __init__(self, not_promised: Collection[str] = ()) -> None:
        self.not_promised = not_promised  # kinds that are counted, and are no violation
        self.counts: Counter[str] = Counter()
        self._kept: defaultdict[str, list[str]] = defaultdict(list)
        self._lock = threading.Lock()  # makes one step of counting and keeping the message

    def add(self, kind: str, message: str) -> None:
        assert kind in KINDS, kind
        kept = 1 if kind in self.not_promised else _KEPT
        kind += ", not promised" * (kind in self.not_promised)
        with self._lock:
            self.counts[kind] += 1
            if message not in self._kept[kind] and len(self._kept[kind]) < kept:
                self._kept[kind].append(message)

    def note(self, message: str) -> None:
        """Keep a message that is no violation."""
        with self._lock:
            self._kept["note"].append(message)

    def so_far(self) -> tuple[Counter[str], list[str]]:
        with self._lock:
            messages = [f"{kind}: {message}" for kind, kept in self._kept.items() for message in kept]
            return self.counts.copy(), messages

    def __bool__(self) -> bool:
        return bool(self.counts)
