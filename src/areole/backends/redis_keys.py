"""Keys, slots, patterns and times as Redis has them."""

from __future__ import annotations

import binascii
import re
from functools import cache
from itertools import count
from typing import Final

__all__ = ["SLOT_COUNT", "escaped", "is_cleared", "ms", "slot_of", "token_of"]

SLOT_COUNT: Final = 16384
END_BYTES: Final = 5
MOST_MS: Final = 10**17
"""Three million years: Redis refuses what does not fit into 63 bits together with the time of day."""


def slot_of(key: bytes) -> int:
    """Return the key's slot in a cluster: that of the part in braces, if there is one and something is in it."""
    _before, opened, rest = key.partition(b"{")
    tag, closed, _after = rest.partition(b"}")
    return binascii.crc_hqx(tag if opened and closed and tag else key, 0) % SLOT_COUNT


def token_of(key: bytes) -> bytes:
    """Return the key's token's key, in the same slot: "k" has "{k}!token". No two keys have the same one.

    A key that has a part in braces itself keeps it; one with a "}" alone, or nothing at all, gets a number.
    """
    name = b"{%b}!token" % key
    if key and b"}" not in key:
        return name
    name = key + b"!!token"
    return name if slot_of(name) == slot_of(key) else _numbered(key)


def _numbered(key: bytes) -> bytes:
    """Return the key with an end that puts it into the same slot.

    CRC16 is linear: that of `key` and an end is that of the end alone, xor that of `key` and as many zero bytes.
    """
    name = key + b"!!token"
    ends = _ends()
    wanted = slot_of(key) ^ binascii.crc_hqx(bytes(END_BYTES), binascii.crc_hqx(name, 0)) % SLOT_COUNT
    return name + ends[wanted]


@cache
def _ends() -> dict[int, bytes]:
    """Return an end for each slot: the least number, of those with END_BYTES digits, that lies there."""
    ends: dict[int, bytes] = {}
    for number in count():
        end = b"%0*x" % (END_BYTES, number)
        ends.setdefault(binascii.crc_hqx(end, 0) % SLOT_COUNT, end)
        if len(ends) == SLOT_COUNT:
            return ends
    raise AssertionError("count() does not end")


def is_cleared(name: bytes, prefix: bytes) -> bool:
    return name.startswith(prefix) or (name.startswith(b"{" + prefix) and name.endswith(b"}!token"))


def escaped(prefix: bytes) -> bytes:
    return re.sub(rb"([*?\[\]\\])", rb"\\\1", prefix)


def ms(seconds: float) -> bytes:
    return b"%d" % (max(1, round(seconds * 1000)) if seconds < MOST_MS / 1000 else MOST_MS)
