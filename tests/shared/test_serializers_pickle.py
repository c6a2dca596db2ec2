"""Pickle: what is signed is unpickled only if a key says so, for the context that it was written for."""

from __future__ import annotations

import copy
import hmac
import pickle
import traceback
from typing import Any

import pytest

from areole.errors import SerializationError
from areole.serializers import Chain, PickleSerializer, SignedPickle, ZlibCompression

from .serializers import EXACT, KEY, NOT_PLAIN, OTHER_KEY, Point, typed

pytest.importorskip("hypothesis")

from hypothesis import given
from hypothesis import strategies as st

PICKLED = [
    value for name, (value, _) in NOT_PLAIN.items() if name not in ("memoryview", "surrogate", "surrogate key")
] + EXACT


UNPICKLED: list[int] = []


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __reduce__(self) -> Any:
        return leave_mark, ()


def leave_mark() -> None:
    UNPICKLED.append(1)


class Hostile:
    def __reduce__(self) -> Any:
        raise ZeroDivisionError


@pytest.mark.parametrize("value", PICKLED, ids=repr)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_value_comes_back_as_it_was_whatever_the_protocol(value: Any, protocol: int) -> None:
    for serializer in (PickleSerializer(protocol), SignedPickle([KEY], protocol)):
        if protocol < 2 and type(value).__name__ in ("UUID", "Name", "Text", "ellipsis"):
            continue  # the protocol's own limits
        data = serializer.dumps(value, b"context")
        assert typed(serializer.loads(data, b"context")) == typed(value)


def test_the_newest_protocol_is_the_default_and_others_are_readable() -> None:
    assert PickleSerializer().dumps(1) == pickle.dumps(1, pickle.HIGHEST_PROTOCOL)
    assert PickleSerializer(2).dumps(1)[:2] == b"\x80\x02" and PickleSerializer().loads(pickle.dumps([1], 2)) == [1]
    assert (PickleSerializer(2).name, PickleSerializer.runs_code, PickleSerializer.is_signed) == ("pickle", True, False)
    assert (SignedPickle.name, SignedPickle.runs_code, SignedPickle.is_signed) == ("signed-pickle", False, True)


@pytest.mark.parametrize("make", [PickleSerializer, lambda **options: SignedPickle([KEY], **options)])
def test_a_protocol_that_there_is_not_is_refused(make: Any) -> None:
    with pytest.raises(ValueError, match=f"protocol must be 0 to {pickle.HIGHEST_PROTOCOL}, not 99"):
        make(protocol=99)
    with pytest.raises(TypeError, match="protocol must be an int, not bool"):
        make(protocol=True)


@pytest.mark.parametrize("serializer", [PickleSerializer(), SignedPickle([KEY])], ids=["pickle", "signed"])
def test_what_cannot_be_pickled_or_unpickled_is_an_error_that_is_chained(serializer: Any) -> None:
    for value, name in ((lambda: 1, "function"), (Hostile(), "Hostile")):
        with pytest.raises(SerializationError, match=f"a value of type {name} cannot be pickled") as caught:
            serializer.dumps(value)
        assert isinstance(caught.value.__cause__, Exception)
    for data in (b"", b"\x80\x05", b"cos\nnothing\n.", pickle.dumps([1])[:-2]):
        signed = _sign(data) if serializer.is_signed else data
        with pytest.raises(SerializationError, match=f"{len(data)} bytes cannot be unpickled") as caught:
            serializer.loads(signed)
        assert isinstance(caught.value.__cause__, Exception)


def _sign(data: bytes, key: bytes = KEY) -> bytes:
    bound = b"areole signed pickle 1:" + (0).to_bytes(8, "big") + data
    return hmac.digest(key, bound, "sha256") + data


def test_the_signature_is_hmac_sha256_over_purpose_context_and_pickle() -> None:
    """The format does not change: other processes have written it."""
    data = pickle.dumps([1], 4)
    assert SignedPickle([KEY], 4).dumps([1]) == _sign(data)
    bound = b"areole signed pickle 1:\0\0\0\0\0\0\0\x01c" + data
    assert SignedPickle([KEY], 4).dumps([1], b"c") == hmac.digest(KEY, bound, "sha256") + data


@pytest.mark.parametrize("key", [OTHER_KEY, b"k" * 17, b"K" * 16])
def test_nothing_that_another_key_has_signed_is_unpickled(key: bytes) -> None:
    UNPICKLED.clear()
    data = SignedPickle([key]).dumps(Bomb())
    with pytest.raises(SerializationError, match=r"the signature of .* bytes is not by one of the 1 keys"):
        SignedPickle([KEY]).loads(data)
    with pytest.raises(SerializationError):
        SignedPickle([KEY]).loads(pickle.dumps(Bomb()))
    assert UNPICKLED == []
    SignedPickle([key]).loads(data)
    assert UNPICKLED == [1]


def test_every_bit_and_every_cut_and_what_is_behind_it_counts() -> None:
    UNPICKLED.clear()
    signed = SignedPickle([KEY])
    data = signed.dumps(Bomb(), b"context")
    changed = [data[:i] + bytes([data[i] ^ 1 << bit]) + data[i + 1 :] for i in range(len(data)) for bit in range(8)]
    for each in [*changed, *(data[:i] for i in range(len(data))), data + b"\0", b"\0" + data, data + data]:
        with pytest.raises(SerializationError, match="signature"):
            signed.loads(each, b"context")
    assert UNPICKLED == []


@given(contexts=st.lists(st.binary(max_size=6), min_size=2, max_size=2, unique=True), value=st.binary(max_size=8))
def test_what_was_signed_for_one_context_is_refused_in_every_other(contexts: list[bytes], value: bytes) -> None:
    signed = SignedPickle([KEY])
    data = signed.dumps(value, contexts[0])
    assert signed.loads(data, contexts[0]) == value
    with pytest.raises(SerializationError, match="signature"):
        signed.loads(data, contexts[1])


def test_bytes_do_not_move_between_context_and_value() -> None:
    """If only context + pickle were signed, what is signed for "a" + X would be good for "aX" too."""
    signed = SignedPickle([KEY], 0)
    data = signed.dumps(1, b"a")
    signature, pickled = data[:32], data[32:]
    for moved in range(1, len(pickled)):
        with pytest.raises(SerializationError, match="signature"):
            signed.loads(signature + pickled[moved:], b"a" + pickled[:moved])
    with pytest.raises(SerializationError, match="signature"):
        signed.loads(signature + b"a" + pickled, b"")


def test_the_first_key_signs_and_all_verify() -> None:
    old, new = SignedPickle([KEY]), SignedPickle([OTHER_KEY, KEY])
    assert new.loads(old.dumps("old")) == "old" and new.loads(new.dumps("new")) == "new"
    with pytest.raises(SerializationError):
        old.loads(new.dumps("new"))
    assert SignedPickle([OTHER_KEY]).loads(new.dumps("new")) == "new"


def test_a_secret_may_be_text() -> None:
    assert SignedPickle([KEY.decode()]).loads(SignedPickle([KEY]).dumps(1)) == 1
    assert SignedPickle(["é" * 8]).loads(SignedPickle(("é" * 8).encode() for _ in range(1)).dumps(1)) == 1


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        ([], ValueError, "at least one secret"),
        ([b"k" * 15], ValueError, "at least 16 bytes each"),
        ([KEY, b"short"], ValueError, "at least 16 bytes each"),
        (["x" * 15], ValueError, "at least 16 bytes each"),
        (KEY, TypeError, "a sequence of secrets, such as"),
        (KEY.decode(), TypeError, "a sequence of secrets, such as"),
        (None, TypeError, "a sequence of secrets, such as"),
        ([16], TypeError, "bytes or str, not int"),
        ([bytearray(KEY)], TypeError, "bytes or str, not bytearray"),
    ],
)
def test_bad_secrets_are_refused_and_not_shown(keys: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        SignedPickle(keys)
    for secret in (KEY, b"k" * 15, b"short"):
        assert secret.decode() not in str(caught.value)


def test_no_secret_is_in_what_is_shown() -> None:
    signed = SignedPickle([b"secret secret secret", OTHER_KEY])
    texts = [repr(signed), str(signed), repr(Chain(signed, ZlibCompression()))]
    for data in (b"", b"x" * 50, SignedPickle([KEY]).dumps(1)):
        with pytest.raises(SerializationError) as caught:
            signed.loads(data)
        texts += traceback.format_exception(caught.value)
    assert not [text for text in texts if "secret secret" in text or OTHER_KEY.decode() in text]
    for duplicate in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="a SignedPickle cannot be pickled"):
            duplicate(signed)


def test_a_chain_passes_the_context_on() -> None:
    chain = Chain(SignedPickle([KEY]), ZlibCompression(min_size=0))
    data = chain.dumps([Point(3)] * 100, b"one")
    assert chain.loads(data, b"one") == [Point(3)] * 100 and chain.is_signed and not chain.runs_code
    with pytest.raises(SerializationError, match="signature"):
        chain.loads(data, b"other")
    assert Chain(PickleSerializer(), ZlibCompression()).runs_code
