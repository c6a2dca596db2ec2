"""pydantic's serializers, and which serializer a return annotation picks."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import functools
import sys
import types
import typing
import uuid
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Optional, TypeVar, Union
from unittest import mock

import pytest

from areole import Filled
from areole.errors import SerializationError
from areole.serializers import (
    JsonSerializer,
    PydanticSerializer,
    RawSerializer,
    serializer_for,
    serializer_for_function,
)
from areole.serializers.same import is_same

from ..kit import repr_without_address
from .serializers import Colour, Level, Name, Number, Point, Text, instead_of, needed, without

pytest.importorskip("hypothesis")

from hypothesis import given
from hypothesis import strategies as st

pydantic: Any = needed("pydantic")
from typing_extensions import TypedDict  # typing's is not for pydantic before Python 3.12  # noqa: E402

T = TypeVar("T")
UserId = NewType("UserId", int)
NoneType = type(None)


class User(pydantic.BaseModel):  # type: ignore[misc, name-defined, unused-ignore]
    id: int
    name: str = pydantic.Field(alias="userName", default="")
    joined: datetime.datetime | None = None
    tags: set[str] = pydantic.Field(default_factory=set)
    anything: Any = None

    model_config = pydantic.ConfigDict(populate_by_name=True)


class Admin(User):
    level: int = 1


class Lossy(pydantic.BaseModel):  # type: ignore[misc, name-defined, unused-ignore]
    kept: int
    left_out: int = pydantic.Field(default=0, exclude=True)


class Aliased(pydantic.BaseModel):  # type: ignore[misc, name-defined, unused-ignore]
    a: int = pydantic.Field(validation_alias="in", serialization_alias="out")


class Area(pydantic.BaseModel):  # type: ignore[misc, name-defined, unused-ignore]
    model_config = pydantic.ConfigDict(extra="forbid")
    side: int
    text: pydantic.Json[list[int]]

    @pydantic.computed_field  # type: ignore[prop-decorator, untyped-decorator, unused-ignore]
    def area(self) -> int:
        return self.side**2


@dataclasses.dataclass
class Price:
    amount: decimal.Decimal
    points: list[Point] = dataclasses.field(default_factory=list)
    ratio: float = 1.0


class Row(TypedDict):
    id: int
    when: datetime.date


class Pair(NamedTuple):
    a: int
    b: str


class Box(pydantic.BaseModel, Generic[T]):  # type: ignore[misc, name-defined, unused-ignore]
    content: T


NOON = datetime.datetime(2026, 1, 2, 12, 0, 0, 5, tzinfo=datetime.UTC)

KEPT: dict[str, tuple[Any, Any]] = {
    "model": (User, User(id=1, userName="a", joined=NOON, tags={"x", "y"})),
    "model in a list": (list[User], [User(id=1, userName="a"), User(id=2)]),
    "aliases that differ": (Aliased, Aliased(**{"in": 1})),
    "what is computed, and JSON in JSON": (Area, Area(side=3, text="[1, 2]")),
    "dataclass": (Price, Price(decimal.Decimal("1.10"), [Point(2)])),
    "TypedDict": (Row, {"id": 1, "when": datetime.date(2026, 1, 2)}),
    "NamedTuple": (Pair, Pair(1, "b")),
    "generic model": (Box[list[int]], Box[list[int]](content=[1])),
    "tuple": (tuple[int, str], (1, "a")),
    "tuples": (tuple[int, ...], (1, 2)),
    "set": (set[int], {1, 2}),
    "frozenset": (frozenset[str], frozenset({"a"})),
    "int keys": (dict[int, str], {1: "a"}),
    "deque": (collections.deque[int], collections.deque([1])),
    "datetime": (datetime.datetime, NOON),
    "timedelta": (datetime.timedelta, datetime.timedelta(days=-1, microseconds=7)),
    "UUID": (uuid.UUID, uuid.UUID(int=5)),
    "Decimal": (decimal.Decimal, decimal.Decimal("0.10")),
    "Enum": (Colour, Colour.RED),
    "StrEnum": (Name, Name.A),
    "IntEnum": (list[Level], [Level.ONE]),
    "Literal": (Literal["a", 1], 1),
    "union": (int | str, "1"),
    "union of models": (Price | Pair, Pair(1, "b")),
    "optional": (Optional[User], None),  # noqa: UP045
    "annotated": (Annotated[int, pydantic.Field(gt=0)], 5),
    "NewType": (UserId, 7),
    "int": (int, 2**200),
    "float": (float, 0.1),
    "text bytes": (bytes, b"text"),
}

REFUSED: dict[str, tuple[Any, Any]] = {
    "a field that is not written": (Lossy, Lossy(kept=1, left_out=2)),
    "another class": (User, Price(decimal.Decimal(1))),
    "a subclass": (User, Admin(id=1)),
    "a subclass in a list": (list[User], [Admin(id=1)]),
    "a dict for a model": (User, {"id": 1}),
    "a tuple where anything is": (User, User(id=1, anything=(1, 2))),
    "a set where anything is": (dict[str, Any], {"a": {1}}),
    "an object where anything is": (list[Any], [object()]),
    "a str for an int": (int, "1"),
    "an int for a float": (list[float], [1]),
    "a bool for an int": (list[int], [True]),
    "an int for a float in a dataclass": (Price, Price(decimal.Decimal(1), ratio=1)),
    "a str subclass": (list[str], [Text("a")]),
    "a str subclass as a key": (dict[str, int], {Text("a"): 1}),
    "an int subclass": (int, Number(1)),
    "an IntEnum for an int": (dict[str, int], {"a": Level.ONE}),
    "a list for a tuple": (tuple[int, ...], [1]),
    "a dict subclass": (dict[str, int], collections.OrderedDict(a=1)),
    "bytes that are no text": (bytes, b"\xff"),
    "NaN": (float, float("nan")),
    "a surrogate": (str, "\ud800"),
    "an iterator": (Iterable[int], iter([1])),
    "what the type forbids": (Annotated[int, pydantic.Field(gt=0)], -5),
}


# ---- pydantic


@pytest.mark.parametrize(("type_", "value"), KEPT.values(), ids=KEPT)
def test_a_value_of_the_declared_type_comes_back_as_it_was(type_: Any, value: Any) -> None:
    serializer = PydanticSerializer(type_)
    data = serializer.dumps(value, b"context")
    back = serializer.loads(data, b"other")
    assert type(data) is bytes and is_same(back, value) and back == value and type(back) is type(value)


@pytest.mark.parametrize(("type_", "value"), REFUSED.values(), ids=REFUSED)
def test_what_would_come_back_as_something_else_is_refused(type_: Any, value: Any) -> None:
    kind = type(value).__name__
    with pytest.raises(SerializationError, match=f"would not give back a value of type {kind}"):
        PydanticSerializer(type_).dumps(value)


@given(value=st.recursive(st.integers() | st.floats() | st.text() | st.booleans() | st.tuples(), st.lists))
def test_anything_comes_back_as_it_was_or_is_refused(value: Any) -> None:
    for type_ in (list[int], list[float], list[str], list[Any], list[bool | float], tuple[Any, ...], Any):
        serializer = PydanticSerializer(type_)
        try:
            data = serializer.dumps(value)
        except SerializationError:
            continue
        assert is_same(serializer.loads(data), value)


@pytest.mark.parametrize("data", [b"", b"null", b"{", b'{"id": "x"}', b"[]", b"\xff", b'{"userName": "a"}'])
def test_bytes_that_are_no_value_of_the_type_are_an_error_that_is_chained(data: bytes) -> None:
    with pytest.raises(
        SerializationError, match=r"are no value for PydanticSerializer.User.: pydantic raised"
    ) as caught:
        PydanticSerializer(User).loads(data)
    assert isinstance(caught.value.__cause__, ValueError)


def test_what_is_too_deep_is_refused_and_no_crash() -> None:
    value: Any = []
    for _ in range(3000):
        value = [value]
    for type_ in (Any, list[Any]):
        with pytest.raises(SerializationError):
            PydanticSerializer(type_).dumps(value)
        with pytest.raises(SerializationError):
            PydanticSerializer(type_).loads(b"[" * 100_000)


def test_a_comparison_that_fails_is_a_refusal() -> None:
    class Hostile(pydantic.BaseModel):  # type: ignore[misc, name-defined, unused-ignore]
        def __eq__(self, other: object) -> bool:
            raise ZeroDivisionError

    with pytest.raises(SerializationError, match="it raised ZeroDivisionError"):
        PydanticSerializer(Hostile).dumps(Hostile())


def test_the_names_of_fields_are_written_and_not_their_aliases() -> None:
    assert PydanticSerializer(Aliased).dumps(Aliased(**{"in": 1})) == b'{"a":1}'


def test_it_has_what_a_cache_asks_for() -> None:
    serializer = PydanticSerializer(list[User])
    assert (serializer.name, serializer.runs_code, serializer.is_signed) == ("json", False, False)
    assert repr(PydanticSerializer(User)) == "PydanticSerializer(User)" and "list[" in repr(serializer)


def test_a_type_that_pydantic_does_not_know_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"pydantic can write no values of .*Unknown.*name another serializer"):
        PydanticSerializer(type("Unknown", (object,), {}))


@pytest.mark.parametrize("version", ["1.10.4", "2.10.6"])
def test_an_old_pydantic_is_refused(version: str) -> None:
    with (
        mock.patch.object(pydantic, "VERSION", version),
        pytest.raises(ImportError, match=rf"needs pydantic 2\.11 or later, not {version}"),
    ):
        PydanticSerializer(int)


def test_without_pydantic_the_error_says_what_to_install() -> None:
    with pytest.raises(ImportError, match=r"pip install 'areole\[pydantic\]'"):
        without("pydantic", PydanticSerializer, type=int)


# ---- what is the same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (1, 1.0),
        ([1], (1,)),
        ({1}, {True}),
        ({1}, {1.0}),
        ({(1,)}, {(True,)}),
        ({(1,): 1}, {(1.0,): 1}),
        ({1: 1}, {True: 1}),
        ({"a": 1}, {"a": 1.0}),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ([1], [1, 2]),
        ("a", Text("a")),
        ({Text("a"): 1}, {"a": 1}),
        (Point(1), Point(True)),
        (Point(1), Point(2)),
        (User(id=1, tags={"a"}), User(id=1, tags=set())),
        (User(id=1, anything=1), User(id=1, anything=1.0)),
        (collections.deque([1]), collections.deque([1.0])),
        (Pair(1, "a"), (1, "a")),
    ],
    ids=repr_without_address,
)
def test_what_differs_in_a_type_or_a_part_is_not_the_same(one: Any, other: Any) -> None:
    assert not is_same(one, other) and not is_same(other, one) and is_same(one, one)


def test_dicts_of_another_order_are_the_same() -> None:
    assert is_same({"a": 1, "b": 2}, {"b": 2, "a": 1})


def filled() -> Filled[dict[str, int]]:
    raise NotImplementedError


def filled_or_not() -> Filled[User] | int:
    raise NotImplementedError


# ---- by annotation


@pytest.mark.parametrize("annotation", [Any, object, T])
def test_an_annotation_that_says_nothing_picks_nothing(annotation: Any) -> None:
    assert serializer_for(annotation) is None


@pytest.mark.parametrize(
    "annotation",
    [
        *(None, NoneType, bool, int, float, str, dict, list, list[int], list[list[str]], dict[str, int]),
        *(dict[str, Any], dict[str, list[float | None]], list[dict[str, object]], int | None, Optional[str]),  # noqa: UP045
        Union[int, list[str]],  # noqa: UP007
    ],
    ids=str,
)
def test_types_that_json_has_pick_json(annotation: Any) -> None:
    with instead_of("pydantic"):
        assert isinstance(serializer_for(annotation), JsonSerializer)


@pytest.mark.parametrize(
    "annotation",
    [
        *(User, Price, Row, Pair, tuple, tuple[int, str], set[int], dict[int, str], dict[Name, int], list[User]),
        *(User | None, Optional[Price], Literal["a"], Annotated[str, 1], UserId, Name, datetime.date, list[bytes]),  # noqa: UP045
    ],
    ids=str,
)
def test_all_others_pick_pydantic(annotation: Any) -> None:
    serializer = serializer_for(annotation)
    assert isinstance(serializer, PydanticSerializer) and serializer.type is annotation


def test_bytes_stay_bytes() -> None:
    assert isinstance(serializer_for(bytes), RawSerializer)


def test_without_pydantic_the_error_says_what_to_do() -> None:
    with (
        instead_of("pydantic"),
        pytest.raises(TypeError, match=r"no serializer for values of type .*User.*areole\[pydantic\]'?, or name a ser"),
    ):
        serializer_for(User)


def test_a_type_that_nothing_suits_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="name another serializer"):
        serializer_for(enum.EnumType)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="typing.TypedDict is for pydantic too")
def test_a_type_error_says_what_pydantic_says() -> None:
    with pytest.raises(TypeError, match=r"It says: Please use `typing_extensions.TypedDict`"):
        serializer_for(typing.TypedDict("Row", {"id": int}))


# ---- by function


def without_annotation(a: int):  # type: ignore[no-untyped-def]
    return a


def plain(a: int) -> dict[str, list[int]]:
    return {"a": [a]}


async def awaited(a: int) -> User:
    return User(id=a)


def with_unknown_argument(a: NotHere) -> list[User]:  # type: ignore[name-defined]  # noqa: F821
    return []


def nothing(a: int) -> None:
    pass


def unresolved(a: int) -> list[NotHere]:  # type: ignore[name-defined]  # noqa: F821
    return []


class Shop:
    def price(self) -> Price:
        return Price(decimal.Decimal(1))

    @staticmethod
    async def stock() -> int:
        return 1

    def __call__(self) -> set[int]:
        return set()


@functools.wraps(plain)
def wrapping(*args: Any) -> Any:
    return plain(*args)


def elsewhere(function: Any) -> Any:
    """Wrap it as a decorator of another module does, where the names of this one are not known."""
    code = (lambda *args: function(*args)).__code__
    return functools.update_wrapper(types.FunctionType(code, {}, closure=(types.CellType(function),)), function)


def picked_type(function: Callable[..., Any]) -> Any:
    serializer = serializer_for_function(function)
    return serializer.type if isinstance(serializer, PydanticSerializer) else type(serializer)


@pytest.mark.parametrize(
    ("function", "picked"),
    [
        (without_annotation, NoneType),
        (plain, JsonSerializer),
        (nothing, JsonSerializer),
        (awaited, User),
        (with_unknown_argument, list[User]),
        (Shop.price, Price),
        (Shop().price, Price),
        (Shop.stock, JsonSerializer),
        (Shop(), set[int]),
        (functools.partial(plain, 1), JsonSerializer),
        (functools.partial(functools.partial(awaited), 1), User),
        (wrapping, JsonSerializer),
        (elsewhere(awaited), User),
        (len, NoneType),
        (lambda: 1, NoneType),
        (Shop, NoneType),
        (filled, JsonSerializer),
        (filled_or_not, Union[User, int]),  # noqa: UP007
    ],
    ids=repr_without_address,
)
def test_the_return_annotation_picks_whatever_those_of_the_arguments_are(function: Any, picked: Any) -> None:
    assert picked_type(function) == picked


def test_a_text_that_cannot_be_resolved_is_a_type_error_that_says_what_to_do() -> None:
    message = (
        r"the return annotation 'list\[NotHere\]' of unresolved cannot be resolved \(NameError: .*name a serializer"
    )
    with pytest.raises(TypeError, match=message):
        serializer_for_function(unresolved)


def test_a_type_that_only_the_function_around_it_knows_cannot_be_resolved() -> None:
    class Local(pydantic.BaseModel):  # type: ignore[misc, name-defined, unused-ignore]
        a: int

    def local() -> Local:
        return Local(a=1)

    with pytest.raises(TypeError, match="at the top level of the module"):
        serializer_for_function(local)
    local.__annotations__["return"] = Local
    assert picked_type(local) is Local
