"""What a cached function's results are called in a store: the same in every process, and nobody else's."""

from __future__ import annotations

import functools
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import areole
from areole import SharedCache, cached
from areole.serializers import JsonSerializer, PydanticSerializer, RawSerializer

from .serializers import needed


def shop(**options: Any) -> SharedCache[Any]:
    return SharedCache("memory://", namespace="shop", **options)


def f(a: Any, b: Any = 0, *rest: Any, c: Any = None, **more: Any) -> Any:
    return [repr(a), repr(b), repr(rest), repr(c), repr(more)]


def g(a: Any, b: Any = 0, *rest: Any, c: Any = None, **more: Any) -> Any:
    return "g"


F = cached(shop())(f)


# ---- the canonical name


def test_it_begins_with_module_and_name() -> None:
    assert F.cache_key(1).startswith("tests.shared.test_cached_shared_names:f:")
    assert len(F.cache_key(1).rpartition(":")[2]) == 40
    named = cached(shop(), name="prices/f", version="2026.1")(f)
    assert named.cache_key(1).startswith("prices/f@2026.1:")
    assert named.cache_key(1).rpartition(":")[2] == F.cache_key(1).rpartition(":")[2]


def test_two_functions_versions_or_signatures_have_keys_of_their_own() -> None:
    functions = [F, cached(shop())(g), cached(shop(), version=1)(f), cached(shop(), version=2)(f)]
    functions += [cached(shop(), name="same")(each) for each in (lambda a: 1, lambda b: 1, lambda a, b=0: 1)]
    keys = [each.cache_key(1) for each in functions]
    assert len(set(keys)) == len(keys)


def test_calls_that_are_the_same_have_one_key_and_others_have_not() -> None:
    same = [F.cache_key(1, 2, c=None), F.cache_key(1, b=2), F.cache_key(b=2, a=1), F.cache_key(1, 2)]
    assert len(set(same)) == 1
    calls = [F.cache_key(*args, **kwargs) for args, kwargs in DISTINCT]
    assert len(set(calls)) == len(DISTINCT)
    assert F.cache_key(1, x=1, y=2) != F.cache_key(1, y=2, x=1)  # the function can see the order


DISTINCT: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((1,), {}),
    (("1",), {}),
    ((b"1",), {}),
    ((None,), {}),
    (("None",), {}),
    (("a b", "c"), {}),
    (("a", "b c"), {}),
    ((1, 2, 3), {}),
    ((1, 2, 3, 4), {}),
    ((1, 2, (3, 4)), {}),
    ((1, 2), {"c": 3}),
    ((1, 2), {"d": 3}),
    ((-1,), {}),
    ((-2,), {}),
    (([1],), {}),
    (((1,),), {}),
    (("",), {}),
]

ARGUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.tuples(inner, inner) | st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


@given(st.lists(st.tuples(ARGUMENTS, ARGUMENTS), min_size=2, max_size=2))
def test_distinct_arguments_have_distinct_keys(calls: Any) -> None:
    (a, b), (c, d) = calls
    if (a, b) != (c, d):
        assert F.cache_key(a, b) != F.cache_key(c, d)
    else:
        assert F.cache_key(a, b) == F.cache_key(c, d)


def test_typed_and_ignore() -> None:
    typed, plain = cached(shop(), typed=True)(f), F
    assert typed.cache_key(1) != typed.cache_key(1.0) and plain.cache_key(1) == plain.cache_key(1.0)
    ignoring = cached(shop(), ignore=["b"])(f)
    assert ignoring.cache_key(1, 2) == ignoring.cache_key(1, object())
    with pytest.raises(ValueError, match="ignore names z"):
        cached(shop(), ignore=["z"])(lambda a: a)


def test_an_argument_without_a_name_that_others_know_is_refused() -> None:
    """Known fault: keys by `repr` collide for objects that print alike, and by pickle differ for equal ones."""
    with pytest.raises(TypeError, match=r"a key of type object has no name that other processes know.*key="):
        F(object())


def test_another_process_makes_the_same_keys(tmp_path: Path) -> None:
    (tmp_path / "prices.py").write_text(
        textwrap.dedent("""
        import enum
        from areole import SharedCache, cached

        class Unit(enum.Enum):
            KG = 1

        @cached(SharedCache("memory://", namespace="shop"), version=3)
        def price(item, unit=Unit.KG, *rest, **more):
            return 1
        """)
    )
    code = (
        "import prices; print(prices.price.cache_key('tea', x={'a', 'b', 'c'}), prices.price.cache_key(1.5, None, 2))"
    )
    path = [str(Path(areole.__file__).parent.parent), str(tmp_path), *sys.path]
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1 and printed.pop().startswith("prices:price@3:")


# ---- what has no name


class Shop:
    def __init__(self, name: str) -> None:
        self.name = name

    def price(self, item: str) -> str:
        return f"{self.name} {item}"


def in_main(a: int) -> int:
    return a


in_main.__module__ = "__main__"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda a: a, r"is called '<lambda>', or is in a function.*pass name="),
        (in_main, "is in __main__, which is another module in each program: pass name="),
        (functools.partial(f, 1), "is a partial, which has no name of its own: pass name="),
        (Shop("a").price, "is a method, which has no name of its own: pass name="),
    ],
    ids=["lambda", "main", "partial", "bound method"],
)
def test_a_function_that_others_may_share_its_name_with_needs_one(function: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cached(shop())(function)
    assert cached(shop(), name="its_name")(function)("a") is not None
    assert cached(shop(), key=lambda *args, **more: "a")(function)("a") is not None


def test_a_function_inside_a_function_needs_a_name() -> None:
    def inner(a: int) -> int:
        return a

    with pytest.raises(ValueError, match=r"is called 'inner', or is in a function, so that others may have its name"):
        cached(shop())(inner)


def test_a_method_needs_a_key() -> None:
    with pytest.raises(ValueError, match=r"Refused\.price is a method, whose instance has no name.*key='price:"):

        class Refused:
            @cached(shop(), name="price")
            def price(self, item: str) -> str:
                return item


SHOP = shop()


class Stall:
    kinds_asked = 0

    def __init__(self, name: str) -> None:
        self.name, self.asked = name, 0

    @cached(SHOP, key="price:{self.name}:{item}")
    def price(self, item: str) -> str:
        self.asked += 1
        return f"{self.name} {item}"

    @cached(SHOP, key=lambda self, item: ("left", self.name, item))
    async def left(self, item: str) -> str:
        return f"{self.name} has {item}"

    @classmethod
    @cached(SHOP, key="kinds:{cls.__name__}:{item}")
    def kinds(cls, item: str) -> str:
        cls.kinds_asked += 1
        return f"{cls.__name__} {item}"

    @staticmethod
    @cached(SHOP, key="tax:{item}")
    def tax(item: str) -> str:
        return f"tax of {item}"

    @cached(SHOP)
    @staticmethod
    def duty(item: str) -> str:
        return f"duty of {item}"

    @cached(SHOP)
    @classmethod
    def names(cls, item: str) -> str:
        return f"{cls.__name__} {item}"


class Booth(Stall):
    pass


def test_methods_with_a_key() -> None:
    one, again, other = Stall("a"), Stall("a"), Stall("b")
    assert [each.price("tea") for each in (one, again, other)] == ["a tea", "a tea", "b tea"]
    assert (one.asked, again.asked, other.asked) == (1, 0, 1)
    assert SHOP.get("price:a:tea") == "a tea" and one.price.cache_key("tea") == "price:a:tea"
    assert again.price.purge("tea") and one.price.peek("tea") is None and other.price.peek("tea") == "b tea"
    assert [Stall.kinds("tea"), one.kinds("tea"), Booth.kinds("tea")] == ["Stall tea", "Stall tea", "Booth tea"]
    assert (Stall.kinds_asked, Booth.kinds_asked) == (1, 2)
    assert Stall.tax("tea") == one.tax("tea") == "tax of tea"
    assert Stall.duty("tea") == "duty of tea" and Stall.duty.cache_key("tea").startswith(f"{__name__}:Stall.duty:")
    assert [Stall.names("tea"), Booth.names("tea")] == ["Stall tea", "Booth tea"]


# ---- arguments of `cached`


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"name": ""}, ValueError, "name must have 1 to 60 letters"),
        ({"name": "a:b"}, ValueError, "name must have 1 to 60 letters"),
        ({"name": "a{b}"}, ValueError, "name must have 1 to 60 letters"),
        ({"name": 5}, TypeError, "name must be a str, not int"),
        ({"version": 1.5}, TypeError, "version must be a str or an int, not float"),
        ({"version": True}, TypeError, "version must be a str or an int, not bool"),
        ({"version": "a b"}, ValueError, "version must have 1 to 60 letters"),
        ({"key": "{a}", "name": "f"}, TypeError, "name= is a part of the key that is made without key="),
        ({"key": "{a}", "version": 1}, TypeError, "version= is a part of the key that is made without key="),
        ({"wait": -1}, ValueError, "wait must be at least 0"),
        ({"wait": "1"}, TypeError, "wait must be seconds"),
        ({"serializer": "jsonn"}, ValueError, "jsonn"),
        ({"allow_single_use": True}, TypeError, "allow_single_use is for caches of this process"),
    ],
)
def test_what_is_refused(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        cached(shop(), **options)(f)


@pytest.mark.parametrize("option", [{"name": "f"}, {"version": 1}, {"wait": 1}, {"serializer": "json"}])
def test_what_a_cache_of_this_process_does_not_take(option: Any) -> None:
    with pytest.raises(TypeError, match=f"{next(iter(option))}= is for a SharedCache"):
        cached(areole.Storage(), **option)  # type: ignore[call-overload]


def test_a_control_character_in_a_key_of_ones_own_is_refused_at_the_call() -> None:
    with pytest.raises(ValueError, match="control characters"):
        cached(shop(), key=lambda a: a)(lambda a: 1)("a\n")


# ---- the serializer


@dataclass(frozen=True)
class User:
    id: int
    tags: tuple[str, ...] = ()


def get_user(user_id: int) -> User:
    return User(user_id, ("a",))


def get_later(user_id: int) -> Later:  # noqa: F821  (defined below)
    return Later(user_id)  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize("serializer", ["json", "json+zlib"])
def test_the_return_annotation_picks_the_serializer_where_json_would_refuse(serializer: str) -> None:
    needed("pydantic")
    cache = shop(serializer=serializer)
    user: Any = cached(cache, key="user:{user_id}")(get_user)
    assert [user(7), user(7)] == [User(7, ("a",))] * 2 and user.cache_info().hits == 1
    assert user.peek(7) == User(7, ("a",))
    assert cache.get("user:7") == {"id": 7, "tags": ["a"]}  # as others read it
    raw: Any = cached(cache, name="raw")(bytes_of)
    assert [raw("a"), raw("a")] == [b"a", b"a"] and raw.cache_info().hits == 1


def bytes_of(text: str) -> bytes:
    return text.encode()


def test_a_serializer_that_was_named_is_taken() -> None:
    needed("pydantic")
    with pytest.raises(areole.SerializationError):
        cached(shop(), serializer="json")(get_user)(7)
    of_bytes = shop(serializer=RawSerializer())
    with pytest.raises(TypeError, match="RawSerializer takes bytes"):
        cached(of_bytes)(get_user)(7)
    named: dict[str, Any] = {"user": PydanticSerializer(User), "raw": RawSerializer(), "json": JsonSerializer()}
    values = {"user": User(1), "raw": b"a", "json": "a"}
    for key, serializer in named.items():
        function: Any = cached(of_bytes, serializer=serializer, key="{x}")(lambda x: values[x])
        assert [function(key), function(key)] == [values[key]] * 2 and function.cache_info().hits == 1


def test_a_type_that_is_defined_below_the_function_is_found_at_the_first_call() -> None:
    needed("pydantic")
    later: Any = cached(shop())(get_later)

    @dataclass
    class Later:
        id: int

    globals()["Later"] = Later
    try:
        assert [later(1), later(1)] == [Later(1), Later(1)] and later.cache_info().hits == 1
    finally:
        del globals()["Later"]


def no_type_for_pydantic(a: int) -> Shop:
    return Shop("a")


def test_a_type_of_which_nothing_can_be_made_is_refused_when_the_function_is_decorated() -> None:
    needed("pydantic")
    with pytest.raises(TypeError, match="Shop"):
        cached(shop())(no_type_for_pydantic)
    assert cached(shop(), serializer="json")(no_type_for_pydantic) is not None
