"""Names of keys: equal keys have one name in every process, and no two others share one."""

from __future__ import annotations

import dataclasses
import enum
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from areole.shared.wire_keys import MOST_KNOWN, WireKeys, canonical

name = WireKeys("shop").name

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.decimals(allow_nan=False),
    st.fractions(),
    st.complex_numbers(allow_nan=False),
    st.text(max_size=300),
    st.binary(max_size=50),
    st.dates(),
    st.times(),
    st.datetimes(timezones=st.one_of(st.none(), st.timezones())),
    st.timedeltas(),
    st.uuids(),
)
keys = st.recursive(leaves, lambda inner: st.tuples(inner) | st.tuples(inner, inner) | st.frozensets(inner, max_size=3))
with_lists = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
close = st.sampled_from(
    [0, 1, 1.0, True, "1", b"1", "", "#", "a", "a:b", ("a", "b"), ("ab",), (("a",), "b"), ("a", ("b",)), None, "None"]
) | st.sampled_from(
    ["n3:0x1", "#v1", "v1:a", (1,), ((1,),), frozenset(), (), frozenset([1]), "é", "e\u0301", "a b", "%", 0.5, "{a}"]
)


@given(keys | close, keys | close)
def test_two_keys_have_one_name_if_they_are_equal_and_only_then(one: Any, other: Any) -> None:
    assert (canonical(one) == canonical(other)) == (one == other)


@given(with_lists, with_lists)
def test_arguments_that_cannot_be_hashed_have_names_too(one: Any, other: Any) -> None:
    assert (canonical(one) == canonical(other)) == (one == other)


@given(st.text() | close, st.text() | close)
def test_names_on_the_wire_differ_as_keys_do(one: Any, other: Any) -> None:
    try:
        names = name(one), name(other)
    except ValueError:
        return
    assert (names[0] == names[1]) == (one == other)
    assert names[0].startswith("shop:v1:") and not set(names[0]) & set("{}\r\n\0")


@given(st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=3) | close, max_size=4))
def test_keys_have_the_same_names_together_as_alone(several: list[Any]) -> None:
    for some in (several, [key for key in several if type(key) is str], ["a" * 200, "b"], ["a" * 201, "b"]):
        assert WireKeys("shop").names(some) == [name(key) for key in some]
    with pytest.raises(ValueError, match="control characters"):
        WireKeys("shop").names(["a", "b\x7f"])


def test_names_are_right_however_many_are_remembered() -> None:
    of_many = WireKeys("shop")
    for key in [*range(2 * MOST_KNOWN), *range(2 * MOST_KNOWN)]:
        assert of_many.name(str(key)) == f"shop:v1:{key}"
        assert len(of_many._known) <= MOST_KNOWN


def test_a_short_text_stands_as_it_is_and_others_as_a_digest() -> None:
    assert name("user:7") == "shop:v1:user:7"
    assert name("é" * 100) == "shop:v1:" + "é" * 100
    for key in ("x" * 201, "é" * 101, "#a", "a{b}", "", 7, ("a", 1)):
        assert name(key).startswith("shop:v1:#") and len(name(key)) == len("shop:v1:#") + 40


@pytest.mark.parametrize("key", ["a\nb", "\x00", "a\x7f", "\x85"])
def test_control_characters_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match="control characters"):
        name(key)


def test_a_surrogate_that_stands_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogate"):
        name("a\ud800")


class Colour(enum.Enum):
    RED = 1


class Size(enum.IntEnum):
    SMALL = 1


class Name(str):
    pass


class Point(NamedTuple):
    x: int
    y: int


@dataclasses.dataclass(frozen=True)
class User:
    id: int
    note: str = dataclasses.field(default="", compare=False)


@dataclasses.dataclass
class Mutable:
    id: int


def test_equal_keys_of_several_types_have_one_name() -> None:
    in_oslo = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=1)))
    for one, other in [
        (1, 1.0),
        (1, True),
        (1, Decimal("1.00")),
        (Fraction(1, 2), 0.5),
        (2**70, float(2**70)),
        (1, 1 + 0j),
        (Size.SMALL, 1),
        ("a", Name("a")),
        (Point(1, 2), (1, 2)),
        (in_oslo, datetime(2026, 1, 1, 11, tzinfo=UTC)),
        (time(12, tzinfo=UTC), time(13, tzinfo=timezone(timedelta(hours=1)))),
        (PureWindowsPath("A/b"), PureWindowsPath("a/B")),
        (User(1, "a"), User(1, "b")),
        (b"a", bytearray(b"a")),
    ]:
        assert one == other and canonical(one) == canonical(other), (one, other)


def test_keys_of_other_types_differ() -> None:
    several = [
        Colour.RED,
        User(1),
        User,
        UUID(int=1),
        PurePosixPath("/a"),
        date(2026, 1, 1),
        datetime(2026, 1, 1),
        datetime(2026, 1, 1, tzinfo=UTC),
        time(1),
        timedelta(1),
        float("inf"),
        -float("inf"),
        0.1,
        Decimal("0.1"),
        "a",
        b"a",
        ("a",),
    ]
    assert len({canonical(key) for key in several}) == len(several)


@pytest.mark.parametrize("key", [object(), Mutable(1), lambda: None, iter([]), (1, object())])
def test_what_has_no_name_elsewhere_is_refused(key: Any) -> None:
    with pytest.raises(TypeError, match="has no name that other processes know"):
        name(key)


def test_classes_that_others_cannot_import_are_refused() -> None:
    @dataclasses.dataclass(frozen=True)
    class Local:
        id: int

    with pytest.raises(TypeError, match="define it in a module"):
        name(Local(1))


def test_names_are_the_same_in_another_process() -> None:
    keys = "[frozenset('abcdef'), ('a', 1, None), 0.1, {'b': 1, 'a': 2}, b'x', 'é' * 150]"
    code = f"from areole.shared.wire_keys import WireKeys; print([WireKeys('shop').name(k) for k in {keys}])"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert outputs == {f"{[name(key) for key in eval(keys)]}\n"}
