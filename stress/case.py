"""Case: what every scenario has, whether it runs on threads or in processes of its own; and the result of a run."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import ClassVar

from .stranger import is_stranger, load
from .subject import INDEXES

__all__ = ["Case", "Result", "seeded"]


class Case:
    """A scenario is a class, and one of these runs on one variant: an index, an eviction policy, or a stranger's cache.

    The last is none of `variants`: `--subject` names it, as "package.module:factory".
    """

    variants: ClassVar[tuple[str, ...]] = INDEXES
    only_ours: ClassVar[str] = ""
    """Why no stranger's cache can be run; empty if one can that has what `needs` says."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Options that the stranger's factory has to take, and operations that its cache has to have."""

    @classmethod
    def name(cls) -> str:
        """That of its file."""
        return cls.__module__.rpartition(".")[2]

    @classmethod
    def why_skipped(cls) -> str:
        """Say why this cannot be run here, in a few words; empty if it can."""
        return ""

    @classmethod
    def why_variant_skipped(cls, variant: str) -> str:
        """Say why this cannot be run here on that variant."""
        if is_stranger(variant):
            return cls.only_ours or load(variant).lacks(cls.needs)
        return cls.why_skipped()


@dataclass
class Result:
    """What a run has shown so far, or in all."""

    scenario: str
    variant: str
    seed: int
    threads: int
    rounds: int = 0
    seconds: float = 0.0
    operations: int = 0
    hits: int = 0
    fills: int = 0
    wrong: int = 0
    stale: int = 0
    doubled: int = 0
    blocked: int = 0
    memory: float | None = None
    """Megabytes of the process, at the end."""
    also: dict[str, int] = field(default_factory=dict)
    """What else was counted, by name."""
    messages: list[str] = field(default_factory=list)
    stacks: str = ""
    skipped: str = ""
    """Why nothing was run."""

    @property
    def is_clean(self) -> bool:
        return not (self.wrong or self.stale or self.doubled or self.blocked)

    @property
    def command(self) -> str:
        """What makes this run again, with the same choices, if not the same interleaving."""
        on = f" --subject {self.variant}" if is_stranger(self.variant) else f"/{self.variant}"
        return f"python -m stress run {self.scenario}{on} --threads {self.threads} --seed {self.seed}"


def seeded(*parts: object) -> random.Random:
    """Make a source of choices that depends on `parts` alone."""
    return random.Random("/".join(map(str, parts)))
