"""What is stored is accepted whole, under its own key and version, from its own serializer; else it is a miss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from areole import SharedCache
from areole._core.entry import Empty
from areole.backends import MemoryBackend
from areole.backends.protocol import HEAD_BYTES
from areole.errors import SerializationError
from areole.serializers import SignedPickle, as_serializer
from areole.shared.envelope import Envelope

NAME = "shop:v1:a"


def stored(value: Any = "value") -> tuple[SharedCache[Any], MemoryBackend, bytes]:
    backend = MemoryBackend()
    cache = SharedCache[Any](backend, namespace="shop")
    cache["a"] = value
    raw = backend.get(NAME)
    assert raw is not None
    return cache, backend, raw


def is_rejected(cache: SharedCache[Any], key: str = "a") -> bool:
    before = cache.cache_info()
    value = cache.get(key, "none")
    after = cache.cache_info()
    assert after.misses - before.misses == (value == "none")
    return value == "none" and after.rejected - before.rejected in (0, 1)


@given(st.data())
def test_no_byte_can_be_changed(data: st.DataObject) -> None:
    cache, backend, raw = stored()
    at = data.draw(st.integers(0, len(raw) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != raw[at]))
    backend.set(NAME, raw[:at] + bytes([other]) + raw[at + 1 :])
    assert is_rejected(cache)


def test_tags_and_a_stale_time_come_back_and_are_in_the_checksum() -> None:
    envelope, version = Envelope(as_serializer("json")), b"version."
    tags = [("home", b"12345678"), ("käse:" + "x" * 200, b"\0" * 8)]
    raw = envelope.pack([1], NAME, version, 60, tags, 2.5)
    assert envelope.open(raw, NAME, version) == [1]
    assert envelope.tags_of(raw) == tags and envelope.stale_of(raw) == 2.5
    plain = envelope.pack([1], NAME, version, 60)
    assert envelope.tags_of(plain) == [] and envelope.stale_of(plain) == 0
    for at in (33, 37, 40 + len(NAME) + 2, 40 + len(NAME) + 7):
        with pytest.raises(SerializationError):
            envelope.open(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :], NAME, version)


def test_a_plain_value_is_opened_at_once_and_no_other() -> None:
    plain, signed = Envelope(as_serializer("json")), Envelope(SignedPickle(keys=["x" * 32]))
    versions = [b"version1", b"version2", b"version1"]
    for version in versions:  # it remembers those of the last one alone
        raw = plain.pack([1], NAME, version, 60)
        assert plain.open_plain(raw, NAME, version) == [1]
        assert plain.open_plain(plain.pack(2, NAME + "longer", version, None), NAME + "longer", version) == 2
        others = [
            (raw, NAME, None),
            (raw, NAME, b"version3"),
            (raw, NAME + "b", version),
            (raw, NAME[:-1] + "b", version),
            (raw + b" ", NAME, version),
            (raw[:-1], NAME, version),
            (raw[:-1] + b" ", NAME, version),
            (b"", NAME, version),
            (plain.pack([1], NAME, version, 60, stale=1.0), NAME, version),
            (plain.pack([1], NAME, version, 60, [("a", b"12345678")]), NAME, version),
            (Envelope(as_serializer("noop")).pack(b"[1]", NAME, version, 60), NAME, version),
        ]
        assert all(plain.open_plain(*other) is Empty for other in others)
        for seconds in (60, None):
            assert signed.open_plain(signed.pack(1, NAME, version, seconds), NAME, version) is Empty


def test_many_are_found_as_each_alone_whatever_is_stored() -> None:
    backend = MemoryBackend()
    cache = SharedCache[Any](backend, namespace="shop")
    cache.set_many({"plain": 1, "deleted": 2, "cut": 3, "none": None})
    for tag, key in (("one", "tagged"), ("two", "old tag")):
        cache.set(key, key, tags=[tag])
    cache.delete("deleted")
    cache.invalidate_tags("two")
    raw, version = backend.get_many(["shop:v1:cut", "shop:#v1"])
    assert raw is not None and version is not None
    backend.set("shop:v1:cut", raw[:-1])
    for key, stale in (("fresh", 30.0), ("stale", 90.0)):
        name = "shop:v1:" + key
        backend.set(name, Envelope(as_serializer("json")).pack(key, name, version, 60, stale=stale), 60)
    keys = ["stale", "absent", "plain", "cut", "tagged", "old tag", "fresh", "deleted", "none"]
    many = cache.get_many(keys)
    assert many == {"plain": 1, "tagged": "tagged", "fresh": "fresh", "none": None}
    assert {key: value for key in keys if (value := cache.get(key, "?")) != "?"} == many
    info = cache.cache_info()
    assert (info.hits, info.misses, info.rejected) == (8, 10, 2)


def test_tags_have_to_fit_into_what_a_kill_gives_back() -> None:
    envelope, long = Envelope(as_serializer("json")), f"{'n' * 100}:v1:{'k' * 200}"
    tags = [(f"{i:0>100}", b"12345678") for i in range(32)]
    raw = envelope.pack([1], long, b"version.", None, tags)
    assert envelope.tags_of(raw[:HEAD_BYTES]) == tags
    with pytest.raises(ValueError, match="fewer tags"):
        envelope.pack([1], long, b"version.", None, [*tags, ("x" * 100, b"12345678")])


@pytest.mark.parametrize(
    "change",
    [lambda raw: raw[:-1], lambda raw: raw + b" ", lambda raw: raw[:20], lambda raw: b"", lambda raw: b'"value"'],
)
def test_what_is_cut_or_prolonged_or_bare_is_a_miss(change: Callable[[bytes], bytes]) -> None:
    cache, backend, raw = stored()
    backend.set(NAME, change(raw))
    assert is_rejected(cache)
    assert cache.get_or_fill("a", lambda key: "new") == "new" == cache["a"]


def test_what_was_stored_for_another_key_is_a_miss() -> None:
    cache, backend, raw = stored()
    backend.set("shop:v1:b", raw)
    assert is_rejected(cache, "b") and cache.cache_info().rejected == 1
    other = SharedCache[Any](backend, namespace="other")
    other["x"] = 1
    backend.set("other:v1:a", raw)
    assert is_rejected(other)


def test_what_another_serializer_wrote_is_a_miss() -> None:
    cache, *_ = stored()
    other = cache._view("json+zlib")
    assert is_rejected(other)
    other["a"] = "x" * 1000
    assert is_rejected(cache)


def test_what_was_stored_before_a_clear_is_a_miss_if_it_comes_back() -> None:
    cache, backend, raw = stored()
    cache.clear()
    backend.set(NAME, raw)
    assert is_rejected(cache)


def test_a_namespace_whose_version_was_evicted_is_empty() -> None:
    cache, backend, _ = stored()
    assert backend.delete("shop:#v1")
    assert "a" not in cache and cache.get_many(["a"]) == {}
    cache["b"] = 1
    assert "a" not in cache and cache["b"] == 1
