"""Serializers: JSON and MessagePack give back what they took, equal and of the same types, or refuse it."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable
from typing import Any

import pytest

from areole.errors import SerializationError
from areole.serializers import JsonSerializer, MsgpackSerializer, RawSerializer, ValueSerializer
from areole.serializers.plain import MAX_DEPTH

from ..kit import run_threads
from .serializers import ALL, EXACT, JSON, MSGPACK, NOT_PLAIN, PLAIN, each, needed, typed, without

pytest.importorskip("hypothesis")

from hypothesis import given
from hypothesis import strategies as st

INTS = st.integers(-(2**63), 2**64 - 1)
SCALARS = st.none() | st.booleans() | INTS | st.floats(allow_nan=False, allow_infinity=False) | st.text()
PLAIN_VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=20
)
ODD = st.sampled_from([value for value, _ in NOT_PLAIN.values()] + [math.nan, math.inf, b"bytes", 1, "a", [], {}])
ANY_VALUES = st.recursive(
    SCALARS | ODD | st.integers() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=2).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.booleans(), inner, max_size=3)
    ),
    max_leaves=8,
)


def nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


# ---- what all have in common


@each(ALL)
def test_each_has_what_a_cache_asks_for(make: Callable[[], Any]) -> None:
    serializer = make()
    assert isinstance(serializer, ValueSerializer)
    assert (type(serializer.name), type(serializer.runs_code), type(serializer.is_signed)) == (str, bool, bool)
    data = serializer.dumps(b"value") if serializer.name == "noop" else serializer.dumps({"a": [1]}, b"context")
    assert type(data) is bytes
    context = b"" if serializer.name == "noop" else b"context"
    assert serializer.loads(data, context) == (b"value" if serializer.name == "noop" else {"a": [1]})
    assert type(serializer).__name__ in repr(serializer)


# ---- what comes back


@each(PLAIN)
@pytest.mark.parametrize("value", EXACT, ids=repr)
def test_what_the_format_has_comes_back_as_it_was(make: Callable[[], Any], value: Any) -> None:
    serializer = make()
    assert typed(serializer.loads(serializer.dumps(value))) == typed(value)


@each(PLAIN)
@given(value=PLAIN_VALUES)
def test_every_plain_value_comes_back_as_it_was(make: Callable[[], Any], value: Any) -> None:
    serializer = make()
    assert typed(serializer.loads(serializer.dumps(value))) == typed(value)


@each(PLAIN)
@given(value=ANY_VALUES)
def test_any_other_value_comes_back_as_it_was_or_is_refused(make: Callable[[], Any], value: Any) -> None:
    serializer = make()
    try:
        data = serializer.dumps(value)
    except SerializationError:
        return
    assert typed(serializer.loads(data)) == typed(value)


@each(PLAIN)
@pytest.mark.parametrize(("value", "what"), NOT_PLAIN.values(), ids=NOT_PLAIN)
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: [1, v], lambda v: {"a": {"b": v}}], ids=["", "list", "dicts"])
def test_what_would_come_back_as_something_else_is_refused_by_its_type(
    make: Callable[[], Any], value: Any, what: str, wrap: Callable[[Any], Any]
) -> None:
    where = {list: r", at \[1\],", dict: r", at \['a'\]\['b'\],"}.get(type(wrap(None)), "")
    with pytest.raises(SerializationError, match=f"would not give back {what}{where} as it was"):
        make().dumps(wrap(value))


@each(JSON)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf], ids=repr)
def test_json_has_no_numbers_that_are_not_finite(make: Callable[[], Any], value: float) -> None:
    with pytest.raises(SerializationError, match=rf"JSON would not give back the float {value}, at \['a'\], as it was"):
        make().dumps({"a": value})
    assert make().dumps(None) == b"null"


@each(JSON)
def test_json_has_no_bytes(make: Callable[[], Any]) -> None:
    with pytest.raises(SerializationError, match="a value of type bytes"):
        make().dumps([b"a"])


@each(MSGPACK)
@pytest.mark.parametrize("value", [b"", b"\xff", math.nan, math.inf, -math.inf], ids=repr)
def test_msgpack_has_bytes_and_all_floats(make: Callable[[], Any], value: Any) -> None:
    assert typed(make().loads(make().dumps([value]))) == typed([value])


def test_extensions_of_ormsgpack_and_fragments_of_orjson_are_refused_like_all_others() -> None:
    ormsgpack, orjson = needed("ormsgpack"), needed("orjson")
    for serializer, value in (
        (MsgpackSerializer(), ormsgpack.Ext(1, b"a")),
        (MsgpackSerializer(), ormsgpack.Fragment(b"\x01")),
        (JsonSerializer(), orjson.Fragment(b"1")),
    ):
        with pytest.raises(SerializationError, match=f"a value of type {type(value).__name__}"):
            serializer.dumps([value])


@each(PLAIN)
def test_one_object_twice_is_no_cycle_and_comes_back(make: Callable[[], Any]) -> None:
    inner = [1]
    assert make().loads(make().dumps([inner, {"a": inner}])) == [inner, {"a": inner}]


@each(PLAIN)
def test_a_cycle_is_refused(make: Callable[[], Any]) -> None:
    cycle: list[Any] = []
    cycle += [cycle, cycle, {"a": cycle}]
    with pytest.raises(SerializationError, match=f"more than {MAX_DEPTH} levels"):
        make().dumps(cycle)


@each(PLAIN)
def test_depth_is_bounded_the_same_wherever_the_caller_is(make: Callable[[], Any]) -> None:
    serializer = make()
    assert serializer.loads(serializer.dumps(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    for levels in (MAX_DEPTH + 10, 600, 100_000):
        with pytest.raises(SerializationError, match=f"more than {MAX_DEPTH} levels"):
            serializer.dumps(nested(levels))


@each(PLAIN)
@pytest.mark.parametrize("start", [b"[", b"\x91", b'{"a":', b"\x81\xa1a"], ids=["[", "array", "{", "map"])
def test_deep_data_is_an_error_and_no_crash_in_any_thread(make: Callable[[], Any], start: bytes) -> None:
    def load() -> None:
        with pytest.raises(SerializationError):
            make().loads(start * 200_000)

    load()
    assert run_threads(load) == [None]


def test_threads_share_a_serializer() -> None:
    serializer, together = JsonSerializer(), threading.Barrier(4)

    def work(number: int) -> None:
        together.wait()
        for i in range(300):
            assert serializer.loads(serializer.dumps({"n": [number, i]})) == {"n": [number, i]}

    assert run_threads(*[lambda n=n: work(n) for n in range(4)]) == [None] * 4


# ---- what is read


BAD_JSON = [
    *(b"", b" ", b"NaN", b"[Infinity]", b"-Infinity", b"nul", b"[1,]", b'{"a":1,}', b"1 1", b"{1:2}", b"'a'", b"01"),
    *(
        b"1.",
        b".5",
        b"+1",
        b"0x1",
        b"[1",
        b'"a',
        b'{"a"',
        b'"\x01"',
        b"\xff",
        b'"\xed\xa0\x80"',
        b'"\\ud800"',
        b"1e400",
    ),
    *(b'{"\\udfff":1}', b"\xef\xbb\xbf1", b'"a"\x00', b"-1e999", b"1" * 400, b"1" * 5000, b'"\\x"', b"// a\n1"),
    "1".encode("utf-16"),
]


@each(JSON)
@pytest.mark.parametrize("data", BAD_JSON, ids=lambda data: repr(data[:16]))
def test_what_is_not_json_is_an_error_that_is_chained(make: Callable[[], Any], data: bytes) -> None:
    with pytest.raises(SerializationError, match=f"{len(data)} bytes are not json") as caught:
        make().loads(data)
    assert isinstance(caught.value.__cause__, Exception)


BAD_MSGPACK = {
    "nothing": b"",
    "reserved": b"\xc1",
    "two values": b"\x01\x01",
    "garbage": b"\x91\x01\xc0",
    "cut": b"\x92\x01",
    "cut bytes": b"\xc4\x0aa",
    "int key": b"\x81\x01\x01",
    "bytes key": b"\x81\xc4\x01a\x01",
    "list key": b"\x81\x90\x01",
    "extension": b"\xd4\x01a",
    "time stamp": b"\xd6\xff\0\0\0\1",
    "no utf-8": b"\xa1\xff",
    "surrogate": b"\xa3\xed\xa0\x80",
    "array of 4 billion": b"\xdd\xff\xff\xff\xff",
    "map of 4 billion": b"\xdf\xff\xff\xff\xff",
    "bytes of 4 GB": b"\xc6\xff\xff\xff\xff",
    "text of 4 GB": b"\xdb\xff\xff\xff\xff",
}


@each(MSGPACK)
@pytest.mark.parametrize("data", BAD_MSGPACK.values(), ids=BAD_MSGPACK)
def test_what_is_not_msgpack_is_an_error_that_is_chained(make: Callable[[], Any], data: bytes) -> None:
    with pytest.raises(SerializationError, match=f"{len(data)} bytes are not msgpack") as caught:
        make().loads(data)
    assert isinstance(caught.value.__cause__, Exception)


@each(MSGPACK)
@given(value=PLAIN_VALUES)
def test_every_part_of_msgpack_data_is_an_error(make: Callable[[], Any], value: Any) -> None:
    serializer = make()
    data = serializer.dumps(value)
    for cut in range(len(data)):
        with pytest.raises(SerializationError):
            serializer.loads(data[:cut])


@each(PLAIN)
@given(data=st.binary(max_size=40))
def test_no_bytes_raise_anything_else(make: Callable[[], Any], data: bytes) -> None:
    serializer = make()
    try:
        value = serializer.loads(data)
    except SerializationError:
        return
    assert typed(serializer.loads(serializer.dumps(value))) == typed(value)


# ---- one format, two engines


@pytest.mark.parametrize("pair", [*itertools.permutations(JSON)], ids=" to ".join)
@given(value=ANY_VALUES)
def test_either_json_engine_reads_what_the_other_wrote_and_they_refuse_the_same(pair: Any, value: Any) -> None:
    writer, reader = (JSON[name]() for name in pair)
    try:
        data = writer.dumps(value)
    except SerializationError as refused:
        with pytest.raises(SerializationError) as caught:
            reader.dumps(value)
        assert str(caught.value) == str(refused)
        return
    assert typed(reader.loads(data)) == typed(value) and writer.name == reader.name
    reader.dumps(value)


@given(value=ANY_VALUES)
def test_both_msgpack_engines_write_the_same_bytes_and_refuse_the_same(value: Any) -> None:
    one, other = (make() for make in MSGPACK.values())
    try:
        data = one.dumps(value)
    except SerializationError as refused:
        with pytest.raises(SerializationError) as caught:
            other.dumps(value)
        assert str(caught.value) == str(refused)
        return
    assert other.dumps(value) == data and typed(other.loads(data)) == typed(one.loads(data))


JSON_OF_OTHERS = [
    *(b" [1 , 2]\n", b'{"a":1,"a":2}', b'{"b":1,"a":2,"b":3}', b"-0", b"-0.0", b"1E5", b"1e-400", b"0.1e1"),
    *(b"18446744073709551615", b"18446744073709551616", b"-9223372036854775809", b"123456789012345678901234567890"),
    *(b'"\\ud83d\\ude00"', b'"\\u0000\\/"', b"0." + b"1" * 400, b"9007199254740993.0", b'"\\u00e9"'),
]


@pytest.mark.parametrize("data", JSON_OF_OTHERS, ids=lambda data: repr(data[:30]))
def test_both_json_engines_read_the_json_of_others_alike(data: bytes) -> None:
    one, other = (make() for make in JSON.values())
    assert typed(one.loads(data)) == typed(other.loads(data))


@given(text=st.text(alphabet='0123456789eE+-.[]{}:,"\\ud8ntrfalse \n', max_size=24))
def test_both_json_engines_take_and_refuse_the_same_text(text: str) -> None:
    outcomes = []
    for make in JSON.values():
        try:
            outcomes.append(typed(make().loads(text.encode())))
        except SerializationError:
            outcomes.append(None)
    assert outcomes[0] == outcomes[1]


def test_without_a_package_for_msgpack_the_error_says_what_to_install() -> None:
    with pytest.raises(ImportError, match=r"pip install 'areole\[msgpack\]'"):
        without("msgpack", lambda: without("ormsgpack", MsgpackSerializer))


# ---- raw


@pytest.mark.parametrize("value", ["text", None, bytearray(b"a"), memoryview(b"a"), 1, type("B", (bytes,), {})()])
def test_noop_takes_bytes_and_names_the_type_of_anything_else(value: Any) -> None:
    serializer = RawSerializer()
    assert serializer.loads(serializer.dumps(b"\x00\xff")) == b"\x00\xff" and serializer.dumps(b"") == b""
    with pytest.raises(TypeError, match=f"takes bytes, not a value of type {type(value).__name__}"):
        serializer.dumps(value)
