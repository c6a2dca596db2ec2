"""Compression: only what pays is compressed, and what comes back is bounded and whole."""

from __future__ import annotations

import contextlib
import os
import random
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from areole.errors import SerializationError
from areole.serializers import (
    Chain,
    Compression,
    JsonSerializer,
    RawSerializer,
    ZlibCompression,
    ZstdCompression,
)

from ..kit import repr_without_address, run_threads
from .serializers import COMPRESSIONS, each, needed, package_zstd, standard_zstd, typed, without

pytest.importorskip("hypothesis")

from hypothesis import given
from hypothesis import strategies as st

MIB = 1024 * 1024


class Reversed:
    """A compression of somebody's own."""

    name, min_size, max_size = "reversed", 0, 100

    def compress(self, data: bytes) -> bytes:
        return data[: len(data) // 2]

    def decompress(self, data: bytes) -> bytes:
        return data * 2


def raw(make: Callable[..., Any], **options: Any) -> Chain:
    """Make a chain of bytes, to see what a compression does to them."""
    return Chain(RawSerializer(), make(**options))


# ---- what comes back


@each(COMPRESSIONS)
@given(value=st.binary(max_size=300).map(lambda data: data * 20) | st.binary(max_size=3000))
def test_everything_comes_back_whatever_its_size(make: Callable[..., Any], value: bytes) -> None:
    chain = raw(make, min_size=0)
    data = chain.dumps(value)
    assert chain.loads(data) == value and len(data) <= len(value) + 1


@each(COMPRESSIONS)
@given(value=st.recursive(st.none() | st.integers(0, 9) | st.text(), st.lists))
def test_a_chain_gives_back_what_its_serializer_does(make: Callable[..., Any], value: Any) -> None:
    chain = Chain(JsonSerializer(), make(min_size=10))
    assert typed(chain.loads(chain.dumps(value, b"context"), b"context")) == typed(value)


@each(COMPRESSIONS)
def test_only_what_is_larger_than_min_size_and_shrinks_is_compressed(make: Callable[..., Any]) -> None:
    chain, noise = raw(make, min_size=100), random.Random(1).randbytes(2000)
    assert chain.dumps(b"a" * 100) == b"\x00" + b"a" * 100
    assert chain.dumps(b"a" * 101)[:1] == b"\x01" and len(chain.dumps(b"a" * 101)) < 101
    assert chain.dumps(noise) == b"\x00" + noise
    assert raw(make).dumps(b"a" * 1024)[:1] == b"\x00" and raw(make).dumps(b"a" * 1025)[:1] == b"\x01"
    assert raw(make, min_size=0).dumps(b"") == b"\x00"


def test_chain_dumps_is_bare() -> None:
    assert Chain(JsonSerializer(), ZlibCompression()).dumps({"a": 1}) == b'\x00{"a":1}'
    data = Chain(JsonSerializer(), ZlibCompression(min_size=0)).dumps("a" * 99)
    assert zlib.decompress(data[1:]) == b'"' + b"a" * 99 + b'"'


def test_a_chain_has_the_name_and_the_properties_of_its_parts() -> None:
    chain = Chain(JsonSerializer(), ZlibCompression(9, 5, 6))
    assert (chain.name, chain.runs_code, chain.is_signed) == ("json+zlib", False, False)
    assert repr(chain) == "Chain(JsonSerializer(), ZlibCompression(level=9, min_size=5, max_size=6))"
    assert isinstance(chain.compression, Compression)


def test_a_chain_takes_compressions_and_serializers_of_others() -> None:
    chain = Chain((bytes, bytes), Reversed())
    assert chain.loads(chain.dumps(b"abab")) == b"abab" and chain.dumps(b"abab") == b"\x01ab"


@pytest.mark.parametrize(
    "compression", [None, "zlib", zlib, ZlibCompression, JsonSerializer(), object()], ids=repr_without_address
)
def test_a_chain_takes_nothing_else_for_a_compression(compression: Any) -> None:
    with pytest.raises(TypeError, match=r"Chain: compression must be a compression such as ZlibCompression\(\), not"):
        Chain(JsonSerializer(), compression)
    with pytest.raises(TypeError, match="Chain: serializer must be"):
        Chain(JsonSerializer, ZlibCompression())


@each(COMPRESSIONS)
def test_threads_share_a_compression(make: Callable[..., Any]) -> None:
    chain = raw(make, min_size=0)

    def work(number: int) -> None:
        for i in range(50):
            value = f"{number} {i} ".encode() * 500
            assert chain.loads(chain.dumps(value)) == value

    assert run_threads(*[lambda n=n: work(n) for n in range(4)]) == [None] * 4


# ---- what is damaged


@each(COMPRESSIONS)
def test_what_was_cut_changed_or_added_to_is_an_error(make: Callable[..., Any]) -> None:
    chain = raw(make, min_size=0)
    value = os.urandom(20) * 10
    data = chain.dumps(value)
    assert data[:1] == b"\x01"
    for cut in range(1, len(data)):
        with pytest.raises(SerializationError, match="were cut or changed"):
            chain.loads(data[:cut])
    for end in (b"\0", b"garbage", data[1:], data):
        with pytest.raises(SerializationError, match="were cut or changed"):
            chain.loads(data + end)
    for place in range(1, len(data)):
        for bit in range(8):
            changed = data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]
            with contextlib.suppress(SerializationError):
                assert chain.loads(changed) == value  # a bit that means nothing


@each(COMPRESSIONS)
@given(data=st.binary(max_size=60))
def test_no_bytes_raise_anything_else(make: Callable[..., Any], data: bytes) -> None:
    chain = raw(make)
    for start in (b"", b"\x01", b"\x01" + chain.compression.compress(b"")[:4]):
        with contextlib.suppress(SerializationError):
            assert type(chain.loads(start + data)) is bytes


@pytest.mark.parametrize("data", [b"", b"\x02abc", b'{"a":1}', b"\xff"])
def test_what_no_chain_has_written_is_an_error(data: bytes) -> None:
    with pytest.raises(SerializationError, match=rf"json\+zlib: {len(data)} bytes were not written by a Chain"):
        Chain(JsonSerializer(), ZlibCompression()).loads(data)


def test_the_bytes_of_another_compression_are_an_error() -> None:
    one, other = raw(ZlibCompression, min_size=0), raw(package_zstd, min_size=0)
    for writer, reader in ((one, other), (other, one)):
        with pytest.raises(SerializationError, match="were cut or changed, or are of something else"):
            reader.loads(writer.dumps(b"a" * 99))


# ---- what is too large


@each(COMPRESSIONS)
def test_nothing_larger_than_max_size_is_written_or_comes_back(make: Callable[..., Any]) -> None:
    small, large = raw(make, min_size=0, max_size=1000), raw(make, min_size=0)
    exact, one_more = b"a" * 1000, b"a" * 1001
    assert small.loads(small.dumps(exact)) == exact == small.loads(b"\x00" + exact)
    with pytest.raises(SerializationError, match="more than max_size=1000"):
        small.dumps(one_more)
    for data in (large.dumps(one_more), b"\x00" + one_more):
        with pytest.raises(SerializationError, match="more than max_size=1000"):
            small.loads(data)


@each(COMPRESSIONS)
def test_a_bomb_is_refused_before_it_takes_its_memory(make: Callable[..., Any]) -> None:
    bomb = raw(make, max_size=2**30).dumps(bytes(64 * MIB))
    assert len(bomb) < MIB // 10
    chain = raw(make, max_size=MIB)
    tracemalloc.start()
    try:
        with pytest.raises(SerializationError, match=f"more than max_size={MIB}"):
            chain.loads(bomb)
        assert tracemalloc.get_traced_memory()[1] < 3 * MIB
    finally:
        tracemalloc.stop()


def test_a_frame_of_zstd_that_does_not_say_its_size_is_refused() -> None:
    zstandard = needed("zstandard")
    bomb = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(MIB))
    for make in (package_zstd, standard_zstd):
        with pytest.raises(SerializationError, match="were cut or changed"):
            make().decompress(bomb)


def test_both_engines_of_zstd_read_each_other() -> None:
    one, other = raw(package_zstd, min_size=0, level=9), raw(standard_zstd, min_size=0, level=9, threads=2)
    value = os.urandom(100) * 1000
    assert one.loads(other.dumps(value)) == value == other.loads(one.dumps(value))
    assert one.name == other.name == "noop+zstd"


# ---- settings


@each(COMPRESSIONS)
def test_a_level_is_used(make: Callable[..., Any]) -> None:
    text = " ".join(f"{i * i % 977} {i}" for i in range(3000)).encode()
    sizes = [len(make(level=level).compress(text)) for level in (1, 9)]
    assert sizes[0] != sizes[1]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"level": 10}, ValueError, "level must be -1 to 9, not 10"),
        ({"level": "9"}, TypeError, "level must be an int, not str"),
        ({"level": True}, TypeError, "level must be an int, not bool"),
        ({"min_size": -1}, ValueError, "min_size must be 0 to"),
        ({"min_size": 1.5}, TypeError, "min_size must be an int, not float"),
        ({"max_size": 0}, ValueError, "max_size must be 1 to"),
        ({"max_size": None}, TypeError, "max_size must be an int, not NoneType"),
    ],
)
def test_a_wrong_setting_is_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"ZlibCompression: {message}"):
        ZlibCompression(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": 23}, "level must be -131072 to 22, not 23"),
        ({"threads": -1}, "threads must be 0 to 256, not -1"),
    ],
)
def test_a_wrong_setting_of_zstd_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"ZstdCompression: {message}"):
        ZstdCompression(**options)


def test_without_a_package_for_zstd_the_error_says_what_to_install() -> None:
    with pytest.raises(ImportError, match=r"needs Python 3.14, .*pip install 'areole\[zstd\]'"):
        without("zstandard", lambda: without("compression", ZstdCompression))
