"""Eviction policies: which entry is evicted next. One file each, behind one small protocol.

A hit is the only thing that a policy learns without the store's lock: it writes into the entry, as `record_access`
does, and nothing else. All other methods are called under that lock.
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
    change after that. `hash` is that of the key; None: nobody needs it.
    """

    entry_type: type[Entry]
    needs_hash: bool
    """Whether an entry's `hash` must be known when it is added."""
    always_records: bool
    """Whether others count hits, also those that the policy has no use for: `entry.needs_access` is False there, else
    None. `record_access` need only be called where it is True."""
    record_source: str
    """`record_access` as one statement for generated code, of `{entry}` and perhaps `{tick}`, `record_with`."""
    record_with: Any
    noted_in: str
    """The slot that it writes, for `hit.c`."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the entries, in no order; nothing may change meanwhile."""

    def record_access(self, entry: Any) -> None:
        """Note a hit, without a lock. Whether the entry is still there does not matter."""

    def add(self, entry: Any) -> None:
        """Add an entry that was just stored."""

    def remove(self, entry: Any) -> None:
        """Forget an entry that was removed by somebody else; nothing happens if it is not there."""

    def clear(self) -> None:
        """Forget all entries."""

    def evict(self) -> Any:
        """Choose the entry to evict next, forget it and return it; there is one. Takes a bounded time."""


POLICIES: dict[str, Any] = {"lru": LruPolicy, "s3fifo": S3FifoPolicy}


def make_policy(name: object) -> Policy:
    """Make the policy called `name`; raise ValueError if there is none."""
    try:
        policy: Policy = POLICIES[name]()  # type: ignore[index]
    except (KeyError, TypeError):
        raise ValueError(f"policy must be one of {', '.join(map(repr, POLICIES))}, not {name!r}") from None
    return policy
