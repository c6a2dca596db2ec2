"""Pickle: unsigned, for bytes that nobody else can write; and signed, for a store that others can reach."""

from __future__ import annotations

import hmac
import pickle
from collections.abc import Iterable
from typing import Any, Final

from ..errors import SerializationError

__all__ = ["PickleSerializer", "SignedPickle", "pickle_deserializer", "pickle_serializer"]

_DIGEST_BYTES: Final = 32
_PURPOSE: Final = b"areole signed pickle 1:"
_SHORTEST_KEY: Final = 16


def pickle_serializer(value: Any, /) -> bytes:
    """Pickle. Its output is for this process: anybody who can write pickles that you load can run code as you."""
    return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)


def pickle_deserializer(data: bytes, /) -> Any:
    return pickle.loads(data)


class PickleSerializer:
    """Pickles values, for a store in this process only: anybody who can write pickles that you load runs code as you.

    Args:
        protocol: the version of the format; by default the newest that this Python has.

    Raises:
        SerializationError: from `dumps` and `loads`, chained to what pickle raised.
    """

    __slots__ = ("_protocol",)
    name = "pickle"
    runs_code = True
    is_signed = False

    def __init__(self, protocol: int = pickle.HIGHEST_PROTOCOL) -> None:
        self._protocol = _checked_protocol(type(self).__name__, protocol)

    def dumps(self, value: Any, context: bytes = b"") -> bytes:
        """Return the pickle of `value`."""
        try:
            return pickle.dumps(value, self._protocol)
        except Exception as error:
            text = f"a value of type {type(value).__name__} cannot be pickled: pickle raised {type(error).__name__}"
            raise SerializationError(text) from error

    def loads(self, data: bytes, context: bytes = b"") -> Any:
        """Return the value of `data`, which must come from this process."""
        try:
            return pickle.loads(data)
        except Exception as error:
            text = f"{len(data)} bytes cannot be unpickled: pickle raised {type(error).__name__}"
            raise SerializationError(text) from error

    def __repr__(self) -> str:
        return f"{type(self).__name__}(protocol={self._protocol})"


class SignedPickle(PickleSerializer):
    """Pickles values and signs them, so that nothing is unpickled but what a holder of a key has written.

    The signature (HMAC-SHA256) is bound to the `context`: in a SharedCache that is the key, the namespace's version and
    an upper bound of the ttl, so that a value is accepted nowhere else and no later.

    Args:
        keys: secrets of at least 16 bytes each. The first one signs, all of them verify: to replace a key, put the new
            one first, and remove the old one when what it has signed has expired. `secrets.token_bytes(32)` makes one.
        protocol: as for `PickleSerializer`.

    Raises:
        SerializationError: from `loads`, before anything is unpickled, if the signature is by no key or for another
            context.
    """

    __slots__ = ("_keys",)
    name = "signed-pickle"
    runs_code = False
    is_signed = True

    def __init__(self, keys: Iterable[bytes | str], protocol: int = pickle.HIGHEST_PROTOCOL) -> None:
        super().__init__(protocol)
        self._keys = _checked_keys(keys)

    def dumps(self, value: Any, context: bytes = b"") -> bytes:
        """Return a signature of `value` under `context`, and its pickle."""
        data = super().dumps(value)
        return _sign(self._keys[0], data, context) + data

    def loads(self, data: bytes, context: bytes = b"") -> Any:
        """Return the value of `data` if its signature is by one of the keys, under the same `context`."""
        signature, pickled = bytes(data[:_DIGEST_BYTES]), data[_DIGEST_BYTES:]
        if not any(hmac.compare_digest(_sign(key, pickled, context), signature) for key in self._keys):
            raise SerializationError(
                f"the signature of {len(data)} bytes is not by one of the {len(self._keys)} keys for this context: "
                "the bytes were changed, belong to another key of the cache, or were signed with another secret"
            )
        return super().loads(pickled)

    def __repr__(self) -> str:
        return f"SignedPickle(keys=<{len(self._keys)}>, protocol={self._protocol})"

    def __reduce__(self) -> Any:
        raise TypeError("a SignedPickle cannot be pickled: it has secrets. Make one in each process")


def _sign(key: bytes, data: bytes, context: bytes) -> bytes:
    return hmac.digest(key, b"".join((_PURPOSE, len(context).to_bytes(8, "big"), context, data)), "sha256")


def _checked_protocol(called: str, protocol: int) -> int:
    if isinstance(protocol, bool) or not isinstance(protocol, int):
        raise TypeError(f"{called}: protocol must be an int, not {type(protocol).__name__}")
    if not 0 <= protocol <= pickle.HIGHEST_PROTOCOL:
        raise ValueError(f"{called}: protocol must be 0 to {pickle.HIGHEST_PROTOCOL}, not {protocol}")
    return protocol


def _checked_keys(keys: Iterable[bytes | str]) -> tuple[bytes, ...]:
    """Return the keys as bytes. The messages show none of them."""
    if isinstance(keys, str | bytes | bytearray) or not isinstance(keys, Iterable):
        raise TypeError("SignedPickle: keys must be a sequence of secrets, such as [secret]; the first one signs")
    found = tuple(keys)
    if not found:
        raise ValueError("SignedPickle: keys must have at least one secret: secrets.token_bytes(32) makes one")
    for each in found:
        if not isinstance(each, str | bytes):
            raise TypeError(f"SignedPickle: keys must be bytes or str, not {type(each).__name__}")
    secrets = tuple(each.encode(errors="surrogatepass") if isinstance(each, str) else bytes(each) for each in found)
    if min(map(len, secrets)) < _SHORTEST_KEY:
        raise ValueError(
            f"SignedPickle: keys must have at least {_SHORTEST_KEY} bytes each: secrets.token_bytes(32) makes one"
        )
    return secrets
