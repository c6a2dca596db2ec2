"""Eviction policies: which entry goes next. One file each, behind one small protocol.

A hit is the only thing that happens to a policy without the store's lock: it writes into the entry, as `touch` does,
and nothing else. All methods but `touch` are called under that lock.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from .._core.entry import Entry
from .lru import LruPolicy
from .s3fifo import S3FifoPolicy

__all__ = ["POLICIES", "Policy", "make_policy"]


class Policy(Protocol):
    """Keeps the stored entries of one store in some order.

    `entry_type` has the slots that it needs, `weight` among them, which is set before an entry is added and does not
    change from then on. `hash` is that of the key; None: nobody needs it.
    """

    entry_type: type[Entry]
    needs_hash: bool
    """Whether an entry's `hash` must be known when it is added."""
    keeps_asking: bool
    """Whether a hit is to be noted, by others, even where the policy has no use for it: then `entry.asks` is False
    there, else None. `touch` need be called only where it is True."""
    touch_source: str
    """What `touch` does, as one statement for generated code, of `{entry}` and perhaps `{tick}`, `touch_with`."""
    touch_with: Any

    def __len__(self) -> int:
        """Count the entries taken in and not let go of."""

    def touch(self, entry: Any) -> None:
        """Note a hit, without a lock. Whether the entry is still there does not matter."""

    def add(self, entry: Any) -> None:
        """Take in an entry that was stored just now."""

    def remove(self, entry: Any) -> None:
        """Let go of an entry that was taken out by somebody else; nothing happens if it is not there."""

    def __iter__(self) -> Iterator[Any]:
        """Go through the entries, in no order; nothing may change meanwhile."""

    def clear(self) -> None:
        """Let go of all entries."""

    def evict(self) -> Any:
        """Choose the entry that is evicted next, release it and return it; there is one. Takes a bounded time."""


POLICIES: dict[str, Any] = {"lru": LruPolicy, "s3fifo": S3FifoPolicy}


def make_policy(name: object) -> Policy:
    """Make the policy called `name`; raise ValueError if there is none."""
    try:
        policy: Policy = POLICIES[name]()  # type: ignore[index]
    except (KeyError, TypeError):
        raise ValueError(f"policy must be one of {', '.join(map(repr, POLICIES))}, not {name!r}") from None
    return policy
