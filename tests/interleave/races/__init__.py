"""The races, by the step of the protocol that they are about; to add one, write it under `@race` in its file."""

from ..race import RACES
from . import batches, claims, errors, evictions, expiries, refreshes, removals, stores, tags, under_lock

__all__ = [
    "RACES",
    "batches",
    "claims",
    "errors",
    "evictions",
    "expiries",
    "refreshes",
    "removals",
    "stores",
    "tags",
    "under_lock",
]
