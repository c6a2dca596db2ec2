"""The limit in bytes holds, keys and newest value included.

Asks: 200 entries go into a cache of 16 KiB: values of 1 KiB under short keys, then short values under keys of 1 KiB
(unless weighing is left to a function that is not shown the key). Then a value is replaced by one over the limit.
Survives: what can be read never adds up to more than the limit; the size reported is never over it; the replaced
value is gone, or the replacement was refused by an error.
"""

from __future__ import annotations

from typing import Any

from ..contender import Cached, Contender
from ..outcome import NotOffered, Wrong
from ..tools import Effort

LIMIT = 16 * 1024


def run(contender: Contender, effort: Effort) -> str:
    reported = [_fill(contender, "values", lambda i: f"k{i}", 1024)]
    if not contender.name.startswith("cachetools"):
        reported.append(_fill(contender, "keys", lambda i: f"{i:01024}", 10))
    return ", ".join(filter(None, [*reported, _replace(contender)]))


def _fill(contender: Contender, what: str, key_of: Any, size: int) -> str:
    cached = contender.cached(lambda key: bytes(size), max_bytes=LIMIT)
    for i in range(200):
        cached.call(key_of(i))
        _check_size(cached)
    kept = [key for key in map(key_of, range(200)) if cached.contains(key)]
    total = sum(len(key) + size for key in kept)
    if total > LIMIT + len(kept) * 8:
        raise Wrong(f"{total:,} bytes of long {what} in a cache of {LIMIT:,}")
    return ""


def _check_size(cached: Cached) -> None:
    if cached.offers("size") and cached.size() > LIMIT:
        raise Wrong(f"it reports {cached.size():,} bytes itself, of {LIMIT:,}")


def _replace(contender: Contender) -> str:
    cached = contender.cached(lambda key: b"old", max_bytes=LIMIT)
    try:
        cached.call("k")
        cached.store("k", bytes(2 * LIMIT))
    except NotOffered:
        return ""
    except Exception as error:
        return f"too large a value is refused by a {type(error).__name__}"
    if cached.contains("k") and cached.call("k") == b"old":
        raise Wrong("too large a value is dropped in silence, and the old one stays")
    return ""
