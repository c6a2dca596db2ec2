"""Templates of keys: `cached(cache, key="user:{user_id}")`."""

from __future__ import annotations

import enum
import random
import re
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest

from areole import AtomicCache, Storage, cached
from areole._memoize.key_template import ROOM, KeyTemplate
from areole.testing import assert_valid

from ..kit import repr_without_address


def fill(template: str, **arguments: Any) -> str:
    made = KeyTemplate(template, list(arguments), "f")
    return made(*[arguments[name] for name in made.parameters])


def test_the_arguments_are_put_in_by_the_signature() -> None:
    storage: Storage[Any] = Storage()
    calls: list[Any] = []

    @cached(storage, key="price:{item}:{unit}")
    def price(session: object, item: str, unit: str = "kg") -> str:
        calls.append((item, unit))
        return f"{item} {unit}"

    assert [price(1, "tea"), price(2, "tea", "kg"), price(session=3, unit="kg", item="tea")] == ["tea kg"] * 3
    assert calls == [("tea", "kg")]
    assert price.cache_key(1, "tea")[1:] == ("price:tea:kg",)
    assert price.invalidate(4, "tea") is True and len(storage) == 0
    assert_valid(storage)


def test_two_functions_with_one_template_do_not_meet_in_a_cache_of_this_process() -> None:
    storage: Storage[Any] = Storage()
    one, other = (cached(storage, key="user:{n}")(lambda n, i=i: (i, n)) for i in (1, 2))
    assert [one(1), other(1)] == [(1, 1), (2, 1)]


class Color(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("tea", "tea"),
        (7, "7"),
        (-1.5, "-1.5"),
        (True, "True"),
        (None, "None"),
        ("", ""),
        ("a b", "a%20b"),
        ("1:2", "1%3A2"),
        ("50%", "50%25"),
        ("{x}", "%7Bx%7D"),
        ("#", "%23"),
        ("\x00\n", "%00%0A"),
        ("é", "%C3%A9"),
        ("\ud800", "%ED%A0%80"),
        (Decimal("1.50"), "1.50"),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (date(2026, 11, 28), "2026-11-28"),
        (datetime(2026, 11, 28, 1, tzinfo=UTC), "2026-11-28%2001%3A00%3A00%2B00%3A00"),
        (Color.RED, "Color.RED"),
        (PurePosixPath("a/b"), "a%2Fb"),
    ],
    ids=repr_without_address,
)
def test_what_is_put_in_is_percent_escaped(value: Any, text: str) -> None:
    assert fill("user:{x}", x=value) == f"user:{text}"
    assert fill("user:{x}", x=value) == f"user:{quote(str(value), safe='', errors='surrogatepass')}"


def test_what_would_meet_if_it_were_joined_does_not() -> None:
    """Known fault: keys joined as text collide, ("a b", "c") and ("a", "b c")."""
    assert fill("{a}:{b}", a="1:2", b="3") != fill("{a}:{b}", a="1", b="2:3")
    assert fill("{a} {b}", a="a b", b="c") != fill("{a} {b}", a="a", b="b c")
    assert fill("{a}-{b}", a="1-2", b="3") == "1%2D2-3" != fill("{a}-{b}", a="1", b="2-3")
    assert fill("{a}_{b}.{c}", a="a_b", b="c.d", c="e-f") == "a%5Fb_c%2Ed.e-f"


@pytest.mark.parametrize("template", ["{a}:{b}", "{a}-{b}", "x{a}..{b}y", "{a}_%{b}", "{a}1/2{b}", "{a}~{b}"])
def test_no_other_texts_give_the_same_key(template: str) -> None:
    """By trial: short texts of the characters that could be taken for a separator or for an escape."""
    chance, keys = random.Random(template), {}
    letters = sorted(set(re.sub(r"\{.\}", "", template)) | set("%2Dz"))
    longest = [length * "a" for length in (ROOM // 2, ROOM, ROOM + 1)]
    for _ in range(20_000):
        texts = ["".join(chance.choices(letters, k=chance.randrange(5))) for _ in "ab"]
        if chance.random() < 0.01:
            texts[chance.randrange(2)] += chance.choice(longest)
        key = fill(template, a=texts[0], b=texts[1])
        assert keys.setdefault(key, texts) == texts
        assert len(key.encode()) <= ROOM


def test_a_text_that_has_no_room_is_put_in_as_a_digest() -> None:
    key = fill("user:{x}", x="a" * 1000)
    assert re.fullmatch("user:%z[0-9a-f]{32}", key)
    assert key != fill("user:{x}", x="a" * 1001)
    assert fill("user:{x}", x="a" * 195) == "user:" + "a" * 195
    assert len(fill("a:{a}:{b}:{c}", a="é" * 99, b="b" * 99, c="c" * 99)) <= ROOM


def test_attributes_items_conversions_and_formats() -> None:
    user = SimpleNamespace(id=7, tags=["a", "b"], names={"first": "Ann"})
    assert fill("{user.id}:{user.tags[1]}:{user.names[first]}", user=user) == "7:b:Ann"
    assert fill("{args[0]}:{kwargs[b]}", args=(1, 2), kwargs={"b": 3}) == "1:3"
    assert fill("{x!r}", x="7") == "%277%27" and fill("{x!r}", x=7) == "7"
    assert fill("{day:%Y-%m}", day=date(2026, 11, 28)) == "2026-11"
    assert fill("{x:.2f}|{x!r:>5}", x=1.5) == "1.50|%20%201.5"
    assert fill("{x!s}", x=[1, 2]) == "%5B1%2C%202%5D"


def test_a_method_may_name_its_instance() -> None:
    class Shop:
        def __init__(self, name: str) -> None:
            self.name = name

        @cached(Storage[Any](), key="{self.name}:{item}")
        def price(self, item: str) -> str:
            return f"{self.name} {item}"

    assert [Shop("a").price("tea"), Shop("a").price("tea"), Shop("b").price("tea")] == ["a tea", "a tea", "b tea"]


@pytest.mark.parametrize(
    "value", [object(), [1], (1,), {"a": 1}, b"bytes", SimpleNamespace(id=1), {1}], ids=repr_without_address
)
def test_what_has_no_text_that_is_the_same_everywhere_is_refused(value: Any) -> None:
    """Known fault: keys by `repr` collide for objects that print alike, or differ in each process."""
    kind = type(value).__name__
    with pytest.raises(TypeError, match=rf"the key of f has no text for \{{x\}}, of type {kind}: name an attribute"):
        fill("user:{x}", x=value)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("user:{user_id}", "names user_id, but the parameters of .* are a, b"),
        ("{c.d}:{b}:{e[0]}", "names c, e, but the parameters of .* are a, b"),
        ("{a}{b}", r"does not separate \{a\} from \{b\}.*put a ':' between them"),
        ("{a}x1%{b}", r"does not separate \{a\} from \{b\}"),
        ("{}", "must name a parameter in each field"),
        ("{0}", "must name a parameter in each field"),
        ("user:{a", "is no template such as .*: expected '}'"),
        ("user:{{a}}", "no braces but those of its fields"),
        ("{a!x}", "unknown conversion, !x: there are !s, !r and !a"),
        ("{a:{b}}", "no field inside a format"),
        ("", "must be a template such as 'user:{user_id}', which"),
        ("#{a}", "does not begin with '#'"),
        ("a\n{a}", "no control character"),
        ("x" * 170 + "{a}", "too long: a key has room for 200 bytes"),
        ("x" * 201, "too long"),
    ],
)
def test_a_template_that_will_not_do_is_refused_when_the_function_is_decorated(template: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cached(Storage(), key=template)(lambda a, b=1: a)


def test_a_template_is_the_whole_key() -> None:
    with pytest.raises(TypeError, match="key= makes the whole key by itself"):
        cached(Storage(), key="{a}", typed=True)
    with pytest.raises(TypeError, match="key must be a callable of the function's arguments, or a template such as"):
        AtomicCache.memoize(lambda a: a, key=b"{a}")  # type: ignore[call-overload]


def test_a_function_without_parameters_may_have_a_plain_text() -> None:
    settings = cached(Storage[Any](), key="settings")(lambda: {"a": 1})
    assert settings() == {"a": 1} and settings.cache_key()[1:] == ("settings",)
