"""Serializers by name, and those of others: objects with two methods, and pairs of callables."""

from __future__ import annotations

import functools
import json
import marshal
import pickle
import types
from collections.abc import Callable
from typing import Any

import pytest

from areole.errors import SerializationError, SettingsError
from areole.serializers import (
    Chain,
    JsonSerializer,
    PickleSerializer,
    RawSerializer,
    SignedPickle,
    ValueSerializer,
    ZlibCompression,
    as_serializer,
    pickle_deserializer,
    pickle_serializer,
    serializer_from_url,
)

from ..kit import repr_without_address
from .serializers import KEY, NOT_PLAIN, needed

# ---- by name


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("json", "JsonSerializer()"),
        ("json://", "JsonSerializer()"),
        ("JSON://", "JsonSerializer()"),
        ("json?", "JsonSerializer()"),
        ("noop://", "RawSerializer()"),
        ("raw", "RawSerializer()"),
        ("pickle", f"PickleSerializer(protocol={pickle.HIGHEST_PROTOCOL})"),
        ("pickle://?pickle-protocol=4", "PickleSerializer(protocol=4)"),
        ("json+zlib", "Chain(JsonSerializer(), ZlibCompression(level=-1, min_size=1024, max_size=67108864))"),
        (
            "json+zlib://?compression-level=9&min-size=0&max-size=1000",
            "Chain(JsonSerializer(), ZlibCompression(level=9, min_size=0, max_size=1000))",
        ),
        (
            "pickle+zlib?pickle-protocol=4&compression-level=0",
            "Chain(PickleSerializer(protocol=4), ZlibCompression(level=0, min_size=1024, max_size=67108864))",
        ),
    ],
)
def test_a_url_names_a_serializer_and_its_settings(url: str, shown: str) -> None:
    assert repr(serializer_from_url(url)) == repr(as_serializer(url)) == shown


def test_a_url_names_those_that_need_a_package() -> None:
    needed("zstandard")
    chain = serializer_from_url("json+zstd://?compression-level=-3&compression-threads=2")
    assert isinstance(chain, Chain) and chain.name == "json+zstd"
    assert (chain.compression.level, chain.compression.threads) == (-3, 2)  # type: ignore[attr-defined]
    needed("ormsgpack")
    assert serializer_from_url("msgpack+zlib").loads(serializer_from_url("msgpack+zlib").dumps(b"a")) == b"a"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "'' is no serializer: there are json, msgpack, noop, pickle, raw"),
        ("jsn", "'jsn' is no serializer: did you mean 'json'?"),
        ("orjson://", "'orjson' is no serializer: did you mean 'json'?"),
        ("yaml", "'yaml' is no serializer: there are json,"),
        ("zstd", "'zstd' is no serializer: there are json,"),
        ("json+gzip", "'gzip' is no compression: "),
        ("json+zst", "'zst' is no compression: did you mean 'zstd'?"),
        ("zstd+json", "'zstd' is no serializer"),
        ("json+", "'' is no compression: there are zlib, zstd"),
        ("json+pickle", "'pickle' is no compression"),
        ("json+zlib+zlib", "'json+zlib+zlib' has more than one compression: leave 'zlib' out"),
        ("json://host", "'json://host' is no serializer"),
        ("json:///", "'json:///' is no serializer"),
        ("json ", "'json ' is no serializer"),
        ("signed-pickle", "'signed-pickle' needs keys, which are not to be in a URL: use SignedPickle(keys=[...])"),
        ("pydantic", "'pydantic' needs a type: use PydanticSerializer(type)"),
        ("json?compression-level=3", "'json' has no parameter 'compression-level': it takes none"),
        ("json+zlib?compression-levl=3", "has no parameter 'compression-levl': did you mean 'compression-level'?"),
        ("json+zlib?compression-threads=3", "'json+zlib' has no parameter 'compression-threads': "),
        ("json+zlib?pickle-protocol=3", "'json+zlib' has no parameter 'pickle-protocol': it takes compression-level,"),
        ("json+zlib?x", "'json+zlib' has no parameter 'x': it takes compression-level, min-size, max-size"),
        ("json+zlib?min-size=1&&max-size=2", "'json+zlib' has no parameter ''"),
        ("json+zlib?min-size=1&min-size=2", "min-size is there twice"),
        ("json+zlib?min-size", "min-size must be a whole number, not ''"),
        ("json+zlib?min-size=1k", "min-size must be a whole number, not '1k'"),
        ("json+zlib?min-size=1_0", "min-size must be a whole number, not '1_0'"),
        ("json+zlib?min-size=%31", "min-size must be a whole number, not '%31'"),
        ("json+zlib?min-size=1#x", "min-size must be a whole number, not '1#x'"),
        ("json+zlib?min-size=" + "9" * 5000, "min-size must be a whole number, not "),
        ("json+zlib?min-size=-1", "ZlibCompression: min_size must be 0 to"),
        ("json+zlib?compression-level=10", "ZlibCompression: level must be -1 to 9, not 10"),
        ("json+zlib?max-size=0", "ZlibCompression: max_size must be 1 to"),
        ("pickle?pickle-protocol=9", "PickleSerializer: protocol must be 0 to"),
    ],
)
def test_what_names_no_serializer_is_refused_and_named(url: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        as_serializer(url)
    assert message in str(caught.value) and str(caught.value).startswith("serializer_from_url: ")


@pytest.mark.parametrize("url", [None, b"json", JsonSerializer()], ids=repr_without_address)
def test_a_url_is_a_text(url: Any) -> None:
    with pytest.raises(TypeError, match='url must be a str such as "json'):
        serializer_from_url(url)


# ---- those of others


class Dumps:
    def dumps(self, value: Any) -> bytes:
        return repr(value).encode()

    def loads(self, data: bytes) -> Any:
        return int(data)


class Serializes:
    def serialize(self, value: Any) -> bytes:
        return repr(value).encode()

    def deserialize(self, data: bytes) -> Any:
        return int(data)


class Slots(Serializes):
    """A class whose objects say themselves what they are."""

    __slots__ = ()
    runs_code = True


class PickleSerialiser(Dumps):
    """As the libraries call theirs."""


class SafePickleSerialiser(Dumps):
    runs_code = False


class Late:
    async def dumps(self, value: Any) -> bytes:
        return b""

    async def loads(self, data: bytes) -> Any:
        return None


def to_bytes(value: Any) -> bytes:
    return repr(value).encode()


def module_named(name: str) -> types.ModuleType:
    """Make what `import name` would give if it were installed."""
    module, function = types.ModuleType(name), types.FunctionType(to_bytes.__code__, {}, "dumps")
    function.__module__, function.__qualname__ = f"{name}.{name}", "dumps"
    module.dumps = module.loads = function  # type: ignore[attr-defined]
    return module


HERE = __name__


@pytest.mark.parametrize(
    ("thing", "name", "runs_code"),
    [
        (Dumps(), f"{HERE}.Dumps", False),
        (Serializes(), f"{HERE}.Serializes", False),
        (Slots(), f"{HERE}.Slots", True),
        (PickleSerialiser(), f"{HERE}.PickleSerialiser", True),
        (SafePickleSerialiser(), f"{HERE}.SafePickleSerialiser", False),
        ((to_bytes, int), f"{HERE}.to_bytes", False),
        ([to_bytes, int], f"{HERE}.to_bytes", False),
        (json, "json", False),
        ((json.dumps, json.loads), "json.dumps", False),
        (pickle, "pickle", True),
        (marshal, "marshal", True),
        (module_named("dill"), "dill", True),
        (module_named("cloudpickle"), "cloudpickle", True),
        ((pickle.dumps, pickle.loads), "_pickle.dumps", True),
        ((functools.partial(pickle.dumps, protocol=4), lambda data: 1), "_pickle.dumps", True),
        ((to_bytes, functools.partial(pickle.loads)), f"{HERE}.to_bytes", True),
        ((marshal.dumps, marshal.loads), "marshal.dumps", True),
        ((pickle_serializer, pickle_deserializer), "areole.serializers.pickle.pickle_serializer", True),
        ((PickleSerializer().dumps, PickleSerializer().loads), None, True),
    ],
    ids=lambda each: None if isinstance(each, str | bool | None) else repr_without_address(each)[:30],
)
def test_those_of_others_have_a_name_and_run_code_only_if_they_are_known_to(
    thing: Any, name: str | None, runs_code: bool
) -> None:
    serializer = as_serializer(thing)
    assert isinstance(serializer, ValueSerializer) and not serializer.is_signed
    assert serializer.runs_code is runs_code and name in (None, serializer.name)
    assert serializer.name in repr(serializer)


@pytest.mark.parametrize("thing", [Dumps(), Serializes(), (to_bytes, int), [to_bytes, int], json, pickle, marshal])
def test_those_of_others_give_back_what_they_took_whatever_the_context(thing: Any) -> None:
    serializer = as_serializer(thing)
    data = serializer.dumps(7, b"one")
    assert type(data) is bytes and serializer.loads(data, b"other") == 7


@pytest.mark.parametrize(
    "serializer", [JsonSerializer(), RawSerializer(), SignedPickle([KEY]), Chain(JsonSerializer(), ZlibCompression())]
)
def test_one_of_ours_is_taken_as_it_is(serializer: Any) -> None:
    assert as_serializer(serializer) is serializer


def test_a_text_that_one_makes_is_stored_as_utf_8() -> None:
    class AsText:
        def dumps(self, value: Any) -> str:
            return str(value)

        def loads(self, data: bytes) -> str:
            return data.decode()

    serializer = as_serializer(AsText())
    assert serializer.dumps("é") == "é".encode() and serializer.loads("é".encode()) == "é"
    with pytest.raises(SerializationError, match="it raised UnicodeEncodeError"):
        serializer.dumps("\ud800")


@pytest.mark.parametrize("result", [None, 1, bytearray(b"a"), memoryview(b"a")], ids=repr_without_address)
def test_one_that_makes_no_bytes_is_an_error(result: Any) -> None:
    with pytest.raises(SerializationError, match=f"must return bytes, not {type(result).__name__}"):
        as_serializer((lambda value: result, bytes)).dumps(1)


def test_what_they_raise_is_chained_and_their_texts_which_may_show_the_value_are_not_repeated() -> None:
    def fail(value: Any) -> Any:
        raise KeyError("secret value")

    serializer = as_serializer((fail, fail))
    for call in (serializer.dumps, serializer.loads):
        with pytest.raises(SerializationError, match="it raised KeyError") as caught:
            call(b"secret")
        assert "secret" not in str(caught.value) and isinstance(caught.value.__cause__, KeyError)

    def interrupted(value: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        as_serializer((interrupted, interrupted)).dumps(1)


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (None, 'codec must be a name such as "json", an object with dumps and loads, or a pair of callables, not None'),
        (5, "codec must be a name .* not int"),
        (to_bytes, "codec must be a name .* not function"),
        ((to_bytes,), "codec must be a name .* not tuple"),
        ((to_bytes, int, int), "codec must be a name .* not tuple"),
        ((to_bytes, 5), "codec: what deserializes must be callable, not int"),
        (("json", "zlib"), "codec: what serializes must be callable, not str"),
        (JsonSerializer, r"codec must be an object, not the class JsonSerializer: write JsonSerializer\(\)"),
        (Dumps, r"codec must be an object, not the class Dumps: write Dumps\(\)"),
        (Late(), "codec: what serializes must be a plain function, not the async def"),
        ((to_bytes, Late().loads), "codec: what deserializes must be a plain function, not the async def"),
    ],
    ids=repr_without_address,
)
def test_what_is_no_serializer_is_refused_by_the_name_of_its_argument(thing: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        as_serializer(thing, "codec")


@pytest.mark.parametrize("make", [lambda: (to_bytes, int), Dumps, Serializes])
def test_threads_and_contexts_see_no_state(make: Callable[[], Any]) -> None:
    one, other = as_serializer(make()), as_serializer(make())
    assert one.name == other.name and one.dumps(1) == other.dumps(1)


def test_json_of_others_is_not_strict_and_that_of_this_library_is() -> None:
    assert as_serializer(json).loads(as_serializer(json).dumps((1,))) == [1]
    with pytest.raises(SerializationError, match=NOT_PLAIN["tuple"][1]):
        as_serializer("json").dumps((1,))
