"""Signed values: bound to their key, version and end; and pickle, which runs only what a holder of a key wrote."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from areole import CACHE_MISS, SharedCache
from areole.backends import MemoryBackend
from areole.serializers import PickleSerializer, SignedPickle
from areole.shared import envelope

SECRET, OTHER = b"a secret of 16 b", b"another of 16 b."


class Shared(MemoryBackend):
    """Stands for a store where others can write."""

    is_shared = True


def make_cache(backend: Any = None, *keys: bytes, **options: Any) -> tuple[SharedCache[Any], MemoryBackend]:
    backend = backend or Shared()
    return SharedCache(backend, namespace="shop", serializer=SignedPickle(keys=keys or [SECRET]), **options), backend


class Evil:
    """Notes that it was unpickled."""

    ran: list[int] = []  # noqa: RUF012

    def __reduce__(self) -> Any:
        return Evil.ran.append, (1,)


def test_any_value_comes_back() -> None:
    cache, _ = make_cache()
    cache["a"] = {1: (2, {3})}
    assert cache["a"] == {1: (2, {3})}


def test_unsigned_pickle_is_refused_where_others_can_write() -> None:
    for serializer in ("pickle", "pickle+zlib", PickleSerializer(), pickle):
        with pytest.raises(ValueError, match="SignedPickle"):
            SharedCache(Shared(), namespace="shop", serializer=serializer)
    cache = SharedCache[Any](MemoryBackend(), namespace="shop", serializer="pickle")
    cache["a"] = {1}
    assert cache["a"] == {1}


def test_a_signature_needs_an_envelope() -> None:
    with pytest.raises(ValueError, match="envelope=True"):
        make_cache(envelope=False)


def test_what_was_signed_for_another_key_or_with_another_secret_is_a_miss_and_is_not_unpickled() -> None:
    cache, backend = make_cache()
    cache["a"] = 1
    raw = backend.get("shop:v1:a")
    assert raw is not None
    backend.set("shop:v1:b", raw)
    assert "b" not in cache
    stranger, _ = make_cache(backend, OTHER)
    stranger["c"] = Evil()
    assert "c" not in cache and not Evil.ran
    assert cache.cache_info().rejected == 2


def test_a_payload_with_a_right_checksum_and_a_wrong_signature_is_not_unpickled() -> None:
    cache, backend = make_cache()
    cache["a"] = 1
    version = backend.get("shop:#v1")
    assert version is not None

    class Unsigned:
        name, is_signed, loads = "signed-pickle", True, None

        def dumps(self, value: Any, context: bytes = b"") -> bytes:
            return bytes(32) + pickle.dumps(value)

    backend.set("shop:v1:a", envelope.Envelope(Unsigned()).pack(Evil(), "shop:v1:a", version, None))
    assert "a" not in cache and not Evil.ran


def test_keys_can_be_replaced() -> None:
    cache, backend = make_cache()
    cache["a"] = 1
    newer, _ = make_cache(backend, OTHER, SECRET)
    assert newer["a"] == 1
    newer["a"] = 2
    assert "a" not in cache and newer["a"] == 2


def test_a_value_that_is_put_back_after_its_end_is_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    cache, backend = make_cache()
    now = [1000.0]
    monkeypatch.setattr(envelope.time, "time", lambda: now[0])
    cache.set("a", 1, 10)
    raw = backend.get("shop:v1:a")
    assert raw is not None and cache["a"] == 1
    now[0] += 11
    backend.set("shop:v1:a", raw)
    assert "a" not in cache


def test_a_new_end_is_signed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cache, _ = make_cache()
    now = [1000.0]
    monkeypatch.setattr(envelope.time, "time", lambda: now[0])
    cache.set("a", 1, 10)
    assert cache.expire_in("a", 100) and not cache.expire_in("b", 100)
    now[0] += 50
    assert cache["a"] == 1
    assert cache.expire_in("a", None) and cache.ttl_of("a") is None
    now[0] += 1e6
    assert cache["a"] == 1
    assert cache.expire_in("a", 0) and cache.ttl_of("a") is CACHE_MISS
