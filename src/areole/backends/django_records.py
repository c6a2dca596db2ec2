"""The records of a DjangoBackend: their names, their frames, and how long Django is to keep them."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from hashlib import sha256
from struct import Struct
from typing import Any, Final

__all__ = ["STAMP_BYTES", "content_of", "frame", "name_of", "timeout_of", "value_in"]

HEADER: Final = Struct(">16sd")
STAMP_BYTES: Final = 16
LONGEST_NAME: Final = 200
LONGEST_TTL: Final = 1e9
SURPLUS_SECONDS: Final = 3.0
"""An engine keeps a record for less than this after its end: some count in whole seconds, so they are given more."""


def name_of(key: str) -> str:
    """Return what stands for `key` in names of records: itself where every cache takes it, else a digest."""
    if len(key) <= LONGEST_NAME and key.isascii() and key.isprintable() and " " not in key and key[:1] not in ("", "#"):
        return key
    return "#" + sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def timeout_of(ttl: float | None) -> int | None:
    """Return Django's timeout for `ttl`: whole seconds, never too few; the end itself is in the frame."""
    return None if ttl is None or ttl > LONGEST_TTL else math.ceil(ttl) + 1


def frame(stamp: bytes, ttl: float | None, content: bytes) -> bytes:
    return HEADER.pack(stamp, math.inf if ttl is None else time.time() + max(ttl, 0.001)) + content


def value_in(found: Mapping[str, Any], name: str) -> tuple[bytes | None, float]:
    return content_of(found.get(f"v:{name}"), found.get(f"s:{name}"))


def content_of(frame: Any, stamp: Any) -> tuple[bytes | None, float]:
    """Return what is in a frame, and when it ends; None if it does not stand under `stamp`, or has ended.

    What the engine still has `SURPLUS_SECONDS` after its end has not ended: our clock is wrong.
    """
    if not (isinstance(frame, bytes) and isinstance(stamp, bytes) and len(frame) >= HEADER.size):
        return None, 0.0
    written, ends = HEADER.unpack_from(frame)
    if written != stamp or 0 <= time.time() - ends < SURPLUS_SECONDS:
        return None, 0.0
    return frame[HEADER.size :], ends
