"""A memoized method passes for the method; equal instances are told apart under other decorators; what copies see."""

from __future__ import annotations

import asyncio
import collections
import copy
import dataclasses
import enum
import functools
import gc
import inspect
import json
import math
import pickle
import pydoc
import sys
import types
import typing
import weakref
from collections.abc import Callable
from typing import Any, ClassVar
from unittest import mock

import pytest

from areole import AtomicCache, Storage, cached
from areole._memoize.instances import has_plain_attributes
from areole.testing import assert_valid

from ..kit import collect, run_threads

memoize: Any = AtomicCache.memoize


def in_store(function: Any) -> Any:
    return cached(Storage(max_items=100))(function)


both = pytest.mark.parametrize("decorate", [memoize, in_store], ids=["memoize", "cached"])


class Kind:
    """What annotations name."""


class Equal:
    """Instances with one value are equal, whatever else they have."""

    def __init__(self, value: Any, name: str = "") -> None:
        self.value, self.name = value, name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Equal) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)


# ---- it passes for the method


def class_with(decorate: Callable[[Any], Any]) -> Any:
    class Shop:
        @decorate
        def price(self, item: Kind, amount: int = 1) -> Kind:
            """Say what it costs."""
            return item

    return Shop


LOOKS: dict[str, Callable[[Any], Any]] = {
    "ismethod": inspect.ismethod,
    "isroutine": inspect.isroutine,
    "signature": lambda m: inspect.signature(m, eval_str=True),
    "source": inspect.getsource,
    "doc": inspect.getdoc,
    "hints": typing.get_type_hints,
    "annotations": inspect.get_annotations,
    "name": lambda m: (m.__name__, m.__qualname__, m.__module__),
    "globals": lambda m: m.__globals__ is globals(),
    "defaults": lambda m: (m.__defaults__, m.__kwdefaults__),
    "help": lambda m: pydoc.plain(pydoc.render_doc(m)),
    "coroutine": inspect.iscoroutinefunction,
    "members": lambda m: [name for name, _ in inspect.getmembers(m.__self__, inspect.ismethod)],
}


@both
@pytest.mark.parametrize("look", LOOKS)
def test_a_bound_method_passes_for_the_plain_one(decorate: Any, look: str) -> None:
    plain, memoized = class_with(lambda f: f)(), class_with(decorate)()
    memoized.price(1)
    assert LOOKS[look](memoized.price) == LOOKS[look](plain.price)


@both
def test_what_stands_in_the_class_passes_for_a_function(decorate: Any) -> None:
    shop = class_with(decorate)
    for function in (shop.price, vars(shop)["price"]):
        assert inspect.isfunction(function) and inspect.isroutine(function)
        assert str(inspect.signature(function)) == "(self, item: 'Kind', amount: 'int' = 1) -> 'Kind'"
        assert typing.get_type_hints(function)["item"] is Kind
    assert "price(self, item: 'Kind', amount: 'int' = 1)" in pydoc.plain(pydoc.render_doc(shop))
    kinds = {each.name: each.kind for each in inspect.classify_class_attrs(shop)}
    assert kinds["price"] == "method"


@both
def test_a_mock_with_its_spec_takes_the_calls_that_it_takes(decorate: Any) -> None:
    shop = class_with(decorate)
    mock.create_autospec(shop, instance=True).price(1)
    mock.create_autospec(shop)().price(1, amount=2)
    with pytest.raises(TypeError):
        mock.create_autospec(shop, instance=True).price()
    with mock.patch.object(shop, "price", autospec=True) as price:
        instance = shop()
        instance.price(1)
        price.assert_called_once_with(instance, 1)
    assert shop().price(1) == 1


def test_it_can_be_patched_on_an_instance_and_referred_to_weakly() -> None:
    instance = class_with(memoize)()
    with mock.patch.object(instance, "price", lambda item: "patched"):
        assert instance.price(1) == "patched"
    assert instance.price(1) == 1
    ref = weakref.WeakMethod(instance.price)
    assert ref()(1) == 1 and ref() == instance.price  # type: ignore[misc]
    del instance
    collect()
    assert ref() is None


@both
def test_async_methods_are_coroutine_functions_in_every_form(decorate: Any) -> None:
    class Shop:
        @decorate
        async def method(self, n: int) -> int:
            return n

        @classmethod
        @decorate
        async def class_below(cls, n: int) -> int:
            return n

        @decorate
        @classmethod
        async def class_above(cls, n: int) -> int:
            return n

        @staticmethod
        @decorate
        async def static_below(n: int) -> int:
            return n

    shop = Shop()
    bound = functools.partial(shop.method, 1)
    for each in (shop.method, Shop.method, Shop.class_below, Shop.class_above, Shop.static_below, bound):
        assert inspect.iscoroutinefunction(each)
        if sys.version_info < (3, 14):  # deprecated from then on
            assert asyncio.iscoroutinefunction(each)


def test_a_memoized_classmethod_passes_for_one() -> None:
    class Shop:
        @memoize
        @classmethod
        def kind(cls, n: int) -> Any:
            """Say which kind."""
            return cls, n

    assert isinstance(vars(Shop)["kind"], classmethod)
    assert inspect.ismethod(Shop.kind) and Shop.kind.__self__ is Shop
    assert str(inspect.signature(Shop.kind)) == "(n: 'int') -> 'Any'"
    assert {each.name: each.kind for each in inspect.classify_class_attrs(Shop)}["kind"] == "class method"


@both
def test_a_bound_method_has_what_the_function_has(decorate: Any) -> None:
    class Shop:
        def price(self) -> int:
            return 1

        price.marked = True  # type: ignore[attr-defined]
        price = decorate(price)

    shop: Any = Shop()
    assert shop.price.marked and Shop.price.marked  # type: ignore[attr-defined]
    assert shop.price.__wrapped__ is Shop.price.__wrapped__  # type: ignore[attr-defined]
    assert shop.price.cache_parameters() == Shop.price.cache_parameters()  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        shop.price.nothing_of_this_name  # noqa: B018


def test_partial_methods_and_generic_methods() -> None:
    class Shop:
        @functools.singledispatchmethod
        def price(self, item: Any) -> Any:
            return "any"

        @price.register
        @memoize
        def _(self, item: int) -> Any:
            return [item]

        @memoize
        def times(self, n: int, item: int) -> Any:
            return [n, item]

        twice = functools.partialmethod(times, 2)

    shop = Shop()
    assert shop.price(1) is shop.price(1) and shop.price("x") == "any"
    assert Shop().price(1) is not shop.price(1)
    assert shop.twice(1) is shop.times(2, 1) is not Shop().twice(1)


# ---- equal instances


def without_wraps(function: Any) -> Any:
    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return inner


def with_wraps(function: Any) -> Any:
    return functools.wraps(function)(without_wraps(function))


class AsObject:
    """A decorator that is an object, and binds."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)


DECORATORS = [without_wraps, with_wraps, AsObject, lambda f: functools.partial(f)]


@pytest.mark.parametrize("below", [None, *DECORATORS])
@pytest.mark.parametrize("above", [None, *DECORATORS[:3]])
@pytest.mark.parametrize("name", ["self", "this"])
def test_equal_instances_never_share_whatever_stands_above_and_below(below: Any, above: Any, name: str) -> None:
    namespace: dict[str, Any] = {}
    exec(f"def who({name}, x): return {name}.name", namespace)
    who = namespace["who"]

    class Named(Equal):
        who.__qualname__ = f"{__qualname__}.who"
        method = (below or (lambda f: f))(who)
        method = memoize(method)
        method = (above or (lambda f: f))(method)

    one, other = Named(1, "one"), Named(1, "other")
    assert one == other
    assert [one.method(1), other.method(1), one.method(1), other.method(1)] == ["one", "other"] * 2


def test_equal_instances_under_a_decorator_of_the_users_that_memoizes() -> None:
    def my_cache(function: Any) -> Any:
        return memoize(ttl=60)(without_wraps(function))

    class Named(Equal):
        @my_cache
        def who(this: Any) -> Any:
            return this.name

    assert [Named(1, "one").who(), Named(1, "other").who()] == ["one", "other"]


def test_a_property_and_a_cached_property_above() -> None:
    class Named(Equal):
        @property
        @memoize
        def one(this) -> Any:
            return [this.name]

        @functools.cached_property
        @memoize
        def two(this) -> Any:
            return [this.name]

    a, b = Named(1, "a"), Named(1, "b")
    assert a.one is a.one == ["a"] and b.one == ["b"]
    assert a.two == ["a"] and b.two == ["b"]


def test_what_cannot_be_told_is_refused() -> None:
    """The class that the instance is of has another name than the one that the decorator saw."""

    class Old(Equal):
        @without_wraps
        @memoize
        @without_wraps
        def who(self) -> str:
            return self.name

    new = type("New", (Equal,), {"who": vars(Old)["who"]})
    with pytest.raises(TypeError, match=r"cannot tell whether the first argument, of type New.*functools\.wraps"):
        new(1, "one").who()


def test_equal_arguments_of_a_staticmethod_do_share() -> None:
    class Point(Equal):
        @staticmethod
        @memoize
        def between(a: Any, b: Any) -> Any:
            return [a, b]

    assert Point.between(Point(1), Point(2)) is Point.between(Point(1), Point(2))


def test_a_function_that_a_class_body_calls_for_stays_a_function_to_its_callers() -> None:
    def make() -> Any:
        @memoize
        def double(n: int) -> int:
            return 2 * n

        return double

    class Uses:
        double = staticmethod(make())
        made = double(2)

    assert Uses.made == Uses.double(2) == 4
    assert Uses.double.cache_info().fills == 1  # type: ignore[attr-defined]


def square(x: Any) -> Any:
    return x * x


def make_helper() -> Any:
    @memoize
    def helper(*args: Any) -> Any:
        return list(args)

    return helper


class Config(Equal):
    """Has memoized functions from elsewhere, as helpers and as a method."""

    parse = memoize(json.loads)
    static = staticmethod(memoize(square))
    square = memoize(square)
    root = memoize(math.sqrt)
    helpers = (make_helper(),)
    own_name = memoize(without_wraps(lambda this: [this.name]))


def test_a_function_from_elsewhere_is_read_through_the_class() -> None:
    assert Config.parse("[1]") is Config.parse("[1]") == [1]
    assert Config.square(3) == Config.static(3) == 9 and Config.root(4.0) == 2.0
    assert Config.parse.peek("[1]") == [1] and Config.parse.invalidate("[1]") and Config.parse.peek("[1]") is None
    assert Config.square.cache_info().currsize == len(Config.square.cache) == 1
    assert inspect.isfunction(Config.parse) and Config.parse.__name__ == "loads"
    with pytest.raises(TypeError):  # it goes on deciding at each call
        Config.square(Config(1))
    assert Config.square(4) == 16


def test_a_function_from_elsewhere_is_still_a_method_of_the_instances() -> None:
    one, other = Config(1, "one"), Config(1, "other")
    assert one.own_name() == Config.own_name(one) == ["one"] and Config.own_name(other) == ["other"]
    assert Config.own_name(one) is one.own_name() and Config.own_name.peek(other) is other.own_name()
    assert len(Config.own_name.cache) == 2


def test_a_helper_that_takes_everything_takes_instances_of_other_classes() -> None:
    helper = Config.helpers[0]
    assert helper(Equal(1)) is helper(Equal(1)) and helper(3) == [3]


def test_a_memoized_function_is_the_default_of_a_dataclass() -> None:
    @dataclasses.dataclass
    class Task:
        run: Callable[[Any], Any] = memoize(square)  # noqa: RUF009

    assert Task().run(3) == Task(memoize(square)).run(3) == 9
    assert copy.deepcopy(Task()).run(3) == 9


# ---- instances that share a __dict__, and __dict__s that are copied


class Borg(Equal):
    """All instances have one `__dict__`, and are told apart by a slot."""

    __slots__ = ("calls", "own")

    def __init__(self, own: str, shared: dict[str, Any]) -> None:
        self.__dict__ = shared
        self.own = own
        self.calls: list[int] = []

    @memoize
    def who(self, n: int) -> Any:
        self.calls.append(n)
        return [self.own, n]


def test_instances_that_share_a_dict_have_results_of_their_own_and_one_fill_each() -> None:
    shared: dict[str, Any] = {}
    one, other = Borg("one", shared), Borg("other", shared)
    one.who(1)  # the `__dict__` has its results; the other's are in the table
    bound = other.who
    for _ in range(3):
        assert (one.who(1), other.who(1), bound(1)) == (["one", 1], ["other", 1], ["other", 1])
        assert Borg.who(other, 1) is other.who(1)
    assert one.calls == other.calls == [1]
    found = [one.who.invalidate(1), one.who.peek(1), other.who.peek(1)]
    assert found == [True, None, ["other", 1]]
    one.who(1)
    refs = [weakref.ref(one), weakref.ref(other)]
    del one
    collect()
    assert refs[0]() is None
    found = [other.who(1), len(other.calls), len(Borg.who.cache)]
    assert found == [["other", 1], 1, 1], "it does not move when the place becomes free, and nothing of `one` is left"
    del other, bound
    collect()
    assert refs[1]() is None
    assert len(Borg.who.cache) == 0


def test_threads_that_call_instances_with_one_dict_agree_on_their_results() -> None:
    for _ in range(50):
        shared: dict[str, Any] = {}
        borgs = [Borg(f"{n}", shared) for n in range(2)]
        calls = [lambda borg=borg: borg.who(1) for borg in borgs * 2]  # type: ignore[misc]
        results = run_threads(*calls)
        assert results[0] is results[2] and results[1] is results[3]
        assert [borg.calls for borg in borgs] == [[1], [1]]


class Model(Equal):
    """Its copies are made by hand."""

    @memoize
    def load(self) -> Any:
        return [self.name]

    def __copy__(self) -> Any:
        new = type(self).__new__(type(self))
        new.__dict__.update(self.__dict__)
        return new


def test_results_that_come_with_a_copied_dict_are_nobodys() -> None:
    model = Model(1, "old")
    kept = model.load
    model.load()
    new = copy.copy(model)
    new.name = "new"
    assert new.load.peek() is None and Model.load.peek(new) is None
    assert new.load() == ["new"] and model.load() == ["old"]
    model.__dict__ = dict(new.__dict__)
    assert kept() == ["new"] and kept() is not new.load(), "a bound method from before looks again"
    assert kept() is model.load()


def test_the_method_of_a_deep_copy_is_the_copys() -> None:
    class Calls(Equal):
        @memoize
        def load(self) -> Any:
            return [self.name]

    one = Calls(1, "one")
    one.callback = one.load  # type: ignore[attr-defined]
    one.load()
    other = copy.deepcopy(one)
    other.name = "other"
    assert other.callback() == ["other"] and other.callback() is other.load()  # type: ignore[attr-defined]
    assert other.callback.__self__ is other  # type: ignore[attr-defined]


def test_a_class_whose_getattr_calls_the_method() -> None:
    """A lookup of the results is no lookup of an attribute of the user's."""
    asked: list[str] = []

    class Base:
        @memoize
        def fields(self) -> Any:
            return ("a", "b")

    class Proxy(Base):
        def __getattr__(self, name: str) -> Any:
            asked.append(name)
            if name in self.fields():
                return name
            raise AttributeError(name)

    assert Base().fields() is Base().fields()
    proxy: Any = Proxy()
    assert proxy.fields() == ("a", "b") and proxy.a == "a"
    assert asked == ["a"]


@pytest.mark.parametrize("limit", [{}, {"max_items": 10}], ids=str)
def test_a_hit_asks_no_attribute_hook_for_a_name_of_ours(limit: Any) -> None:
    asked: list[str] = []

    class Asking:
        def __getattribute__(self, name: str) -> Any:
            asked.append(name)
            if name.startswith("_") and not name.startswith("__"):
                raise PermissionError(name)
            return object.__getattribute__(self, name)

        @memoize(**limit)
        def give(self, n: int) -> Any:
            return [n]

    asking = Asking()
    give = asking.give
    assert asking.give(1) is asking.give(1) is give(1) == [1]
    assert asking.give.cache_info().fills == 1
    assert set(asked) <= {"give", "__dict__", "__class__"}


@pytest.mark.parametrize("cls", [object, dict, list, int, str, Exception])
def test_instances_of_classes_without_hooks_are_looked_up_the_fast_way(cls: Any) -> None:
    assert has_plain_attributes(cls) and has_plain_attributes(type("Below", (cls,), {}))
    for hook in ("__getattr__", "__getattribute__"):
        asking: Any = type("Asking", (cls,), {hook: lambda self, name: name})
        assert not has_plain_attributes(asking) and not has_plain_attributes(type("Below", (asking,), {}))
    assert not has_plain_attributes(types.ModuleType)


def test_no_subclass_is_kept_alive_by_a_method_of_its_base() -> None:
    class Base:
        @memoize
        def give(self) -> Any:
            return []

    def make_and_call() -> Any:
        below: Any = type("Below", (Base,), {})
        instance = below()
        assert instance.give() is instance.give()
        return weakref.ref(below)

    below = make_and_call()
    collect()
    kept = below()  # after a `gc.freeze`, as in conftest, 3.13t collects no class, memoized or not
    referrers = [] if kept is None else [each for each in gc.get_referrers(kept) if each is not kept.__mro__]
    assert referrers == []
    assert Base().give() == []


def test_a_dict_that_a_property_makes_each_time() -> None:
    class Odd:
        __slots__ = ("__weakref__",)

        @property
        def __dict__(self) -> Any:
            return {}

        @memoize
        def give(self) -> Any:
            return []

    odd = Odd()
    assert odd.give() is odd.give()


# ---- what shows: equality, copies, pickles, the namespace


class State:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(tuple(sorted(vars(self).items())))

    @memoize
    def total(self, n: int) -> int:
        return n


class OwnGetstate(State):
    def __getstate__(self) -> Any:
        return self.__dict__


class OwnReduce(State):
    def __reduce__(self) -> Any:
        return copyreg_new, (type(self),), self.__dict__


class OwnArguments(State):
    def __reduce__(self) -> Any:
        return with_attributes, (type(self), self.__dict__)


class OwnList(State):
    def __getstate__(self) -> Any:
        return [1, self.__dict__]

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state[1])


class OwnReduceEx(State):
    def __reduce_ex__(self, protocol: Any) -> Any:
        return copyreg_new, (type(self),), {"__dict__": self.__dict__}

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state["__dict__"])


class Slotted(State):
    __slots__ = ("extra",)

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.extra = 5


class InTable(State):
    @memoize(results="table")
    def total(self, n: int) -> int:
        return n


def with_attributes(cls: Any, attributes: Any) -> Any:
    return cls(**attributes)


def copyreg_new(cls: Any) -> Any:
    return cls.__new__(cls)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("attributes", [{}, {"a": 1}], ids=str)
@pytest.mark.parametrize("cls", [State, OwnGetstate, OwnReduce, OwnArguments, OwnList, OwnReduceEx, Slotted, InTable])
def test_pickles_and_copies_leave_the_results_out(cls: Any, attributes: Any, protocol: int) -> None:
    if cls is Slotted and protocol < 2:
        pytest.skip("Python pickles no slots then")
    instance = cls(**attributes)
    before = pickle.dumps(instance, protocol)
    assert instance.total(1) == 1
    assert pickle.dumps(instance, protocol) == before
    for other in (pickle.loads(before), copy.copy(instance), copy.deepcopy(instance)):
        assert vars(other) == attributes
        assert other.total.peek(1) is None and other.total(1) == 1
    assert instance.total.peek(1) == 1


class ReducedByABase:
    """Its `__reduce_ex__` must go on being called by the classes that are made from others below it."""

    reduced: ClassVar[list[type]] = []

    def __reduce_ex__(self, protocol: Any) -> Any:
        self.reduced.append(type(self))
        return super().__reduce_ex__(protocol)


@pytest.mark.parametrize("is_base", [False, True], ids=["beside", "below"])
@pytest.mark.parametrize("base", [object, ReducedByABase])
def test_copies_in_a_class_that_is_made_from_anothers_dict(base: Any, is_base: bool) -> None:
    class Old(base):  # type: ignore[misc]
        a = 1

        @memoize
        def give(self) -> Any:
            return []

    old: Any = Old()
    old.give()
    namespace = {name: value for name, value in vars(Old).items() if name not in ("__dict__", "__weakref__")}
    new: Any = type("New", (Old if is_base else base,), namespace)()
    new.a = 2
    ReducedByABase.reduced.clear()
    assert vars(copy.copy(new)) == vars(copy.deepcopy(new)) == {"a": 2}
    new.give()
    assert vars(copy.copy(new)) == vars(copy.deepcopy(new)) == {"a": 2}
    assert vars(copy.copy(old)) == {}
    expected = [] if base is object else [type(new)] * 4 + [Old]
    assert ReducedByABase.reduced == expected


def test_a_reduce_ex_that_is_borrowed_from_a_class_with_results() -> None:
    class Old:
        @memoize
        def give(self) -> Any:
            return []

    Old().give()

    class Borrower:
        __reduce_ex__ = Old.__reduce_ex__

    borrower: Any = Borrower()
    borrower.a = 1
    assert vars(copy.copy(borrower)) == {"a": 1}
    reduced: Any = Old.__reduce_ex__(State(a=1), 4)  # type: ignore[arg-type]
    assert reduced[2] == {"a": 1}


def test_what_a_users_copy_copies_is_never_the_copys() -> None:
    class Copied(State):
        def __copy__(self) -> Any:
            return type(self)(**self.__dict__)

    one = Copied(a=1)
    one.total(1)
    other = copy.copy(one)
    assert other.total.peek(1) is None and other.total(1) == 1 and one.total.peek(1) == 1


def test_what_hides_its_dict_deeper_pickles_nothing_of_ours() -> None:
    instance = State(a=1)
    instance.total(1)
    dumped = pickle.dumps({"deep": [vars(instance)]})
    assert b"areole" not in dumped
    holder = State()
    holder.__dict__.update(pickle.loads(dumped)["deep"][0])
    assert holder.a == 1 and holder.total.peek(1) is None and holder.total(1) == holder.total.peek(1) == 1  # type: ignore[attr-defined]


def test_instances_equal_by_their_dicts_are_equal_once_both_have_been_called() -> None:
    one, other = State(a=1), State(a=1)
    assert one == other and hash(one) == hash(other)
    one.total(1)
    other.total(2)
    assert one == other and hash(one) == hash(other)
    assert State(a=2) != one


def test_results_in_a_table_do_not_show() -> None:
    instance = InTable(a=1)
    assert instance.total(1) == InTable.total(instance, 1) == 1
    assert vars(instance) == {"a": 1} and instance == InTable(a=1)
    assert instance.total.peek(1) == 1 and instance.total.cache_info().currsize == 1
    ref = weakref.ref(instance)
    del instance
    collect()
    assert ref() is None
    assert InTable.total.cache_parameters()["results"] == "table"
    with pytest.raises(ValueError, match="results must be 'instance' or 'table', not 'here'"):
        memoize(results="here")


def test_the_name_in_the_dict_is_private() -> None:
    instance = State(a=1)
    instance.total(1)
    assert [name for name in dir(instance) if not name.startswith("_")] == ["a", "total"]


@pytest.mark.parametrize("error", [TypeError, RuntimeError, dataclasses.FrozenInstanceError])
def test_an_instance_unpickled_into_a_class_that_lets_nothing_be_set(error: Any) -> None:
    class Frozen(type):
        def __setattr__(cls, name: str, value: Any) -> None:
            raise error(name)

    class Closed(metaclass=Frozen):
        @memoize
        def give(self) -> Any:
            return []

    closed = Closed()
    assert closed.give() is closed.give()
    assert copy.deepcopy(closed).give() is not closed.give()


# ---- classes of every kind


def test_members_of_an_int_enum() -> None:
    class Level(enum.IntEnum):
        LOW = 1
        HIGH = 2

        @memoize
        def label(self, lang: str = "en") -> Any:
            return [self.name, lang]

    assert Level.HIGH.label() is Level.HIGH.label("en") == ["HIGH", "en"]
    assert Level.LOW.label() == ["LOW", "en"]
    assert pickle.loads(pickle.dumps(enum.IntFlag("F", "A").A.value)) == 1  # type: ignore[attr-defined]


def test_subclasses_of_int_and_tuple_with_a_dict_go_with_their_results() -> None:
    class Number(int):
        @memoize
        def give(self) -> Any:
            return [self]

    class Pair(collections.namedtuple("Pair", "a b")):
        @memoize
        def give(self) -> Any:
            return [self]

    gone: list[int] = []
    for instance in (Number(5), Pair(1, 2)):
        assert instance.give() is instance.give()
        assert type(instance)(*(instance if isinstance(instance, tuple) else [5])).give() is not instance.give()
        instance.last = type("Last", (), {"__del__": lambda self: gone.append(1)})()  # type: ignore[union-attr]
    del instance
    collect()
    assert gone == [1, 1]


class Point(typing.NamedTuple):
    x: int

    @memoize
    def norm(self) -> int:
        return self.x

    @in_store
    def advised(self) -> int:
        return -self.x


@dataclasses.dataclass(slots=True)
class Slots:
    x: int

    @memoize
    def norm(self) -> int:
        return self.x


@dataclasses.dataclass(slots=True, weakref_slot=True)
class AdvisedSlots:
    x: int

    @memoize
    def norm(self) -> int:
        return self.x


def test_instances_without_a_place_for_results_are_refused_with_what_works() -> None:
    with pytest.raises(TypeError, match=r"one of Point has no place for them.*Use areole\.cached"):
        Point(3).norm()
    assert Point(3).advised() == Point(3).advised() == -3
    with pytest.raises(TypeError, match=r"one of Slots has no place.*weakref_slot=True.*or use areole\.cached"):
        Slots(3).norm()
    assert AdvisedSlots(3).norm() == 3


def test_frozen_dataclasses_with_every_kind_of_slots() -> None:
    for options in ({}, {"slots": True, "weakref_slot": True}):

        @dataclasses.dataclass(frozen=True, **options)
        class Frozen:
            x: int

            @memoize
            def give(self) -> Any:
                return [self.x]

        one, other = Frozen(1), Frozen(1)
        assert one == other and hash(one) == hash(other)
        assert one.give() is one.give() is not other.give()
        assert dataclasses.asdict(one) == {"x": 1} and dataclasses.replace(one, x=2).give() == [2]
        assert repr(one).endswith("Frozen(x=1)")
        assert copy.deepcopy(one) == one


def test_super_without_arguments_in_a_class_that_is_rebuilt() -> None:
    """What rebuilds it finds the function's cell as in a plain class: by `__closure__`, or `__wrapped__`."""

    class Base:
        def give(self) -> int:
            return 1

    class Derived(Base):
        @memoize
        def give(self) -> int:
            return super().give() + 1

        @property
        @memoize
        def given(self) -> int:
            return super().give() + 2

    rebuilt = type("Derived", (Base,), {n: v for n, v in vars(Derived).items() if n not in ("__dict__", "__weakref__")})
    for item in vars(rebuilt).values():
        for cell in getattr(item.fget if isinstance(item, property) else item, "__closure__", None) or ():
            if cell.cell_contents is Derived:
                cell.cell_contents = rebuilt
        assert not isinstance(item, types.FunctionType) or inspect.unwrap(item).__code__.co_freevars in (
            (),
            ("__class__",),
        )
    assert rebuilt().give() == 2 and rebuilt().given == 3


@pytest.mark.skipif(sys.version_info < (3, 14), reason="dataclasses with slots mend super() from 3.14 on")
def test_super_in_a_dataclass_with_slots() -> None:
    @dataclasses.dataclass(slots=True, weakref_slot=True)
    class Base:
        def give(self) -> int:
            return 1

    @dataclasses.dataclass(slots=True)
    class Derived(Base):
        @memoize
        def give(self) -> int:
            return super().give() + 1

    assert Derived().give() == 2


def test_a_call_method() -> None:
    class Doubler(Equal):
        @memoize
        def __call__(self, n: int) -> Any:
            return [self.name, n]

    one, other = Doubler(1, "one"), Doubler(1, "other")
    assert one(1) is one(1) == ["one", 1] and other(1) == ["other", 1]


def test_methods_with_parameters_that_take_everything() -> None:
    class All:
        @memoize
        def give(self, /, a: int, *args: int, b: int = 1, **more: int) -> Any:
            return [a, args, b, more]

    give = All().give
    assert give(1, 2, b=3, entries_=4, self=5) == [1, (2,), 3, {"entries_": 4, "self": 5}]
    assert All().give(1, entries_=2, self=3) == [1, (), 1, {"entries_": 2, "self": 3}]


# ---- the class's cache


def test_the_cache_of_the_class_works_on_all_instances_or_says_that_it_cannot() -> None:
    one, other = State(a=1), State(a=2)
    State.total.cache.clear()
    one.total(1), other.total(1), other.total(2)
    cache: Any = State.total.cache
    assert len(cache) == cache.cache_info().currsize == 3 and cache and "3 values" in repr(cache)
    assert cache.size_in_bytes > 0 and cache.sweep() == 0
    assert_valid(cache)
    for wrong in (lambda: cache[1], lambda: 1 in cache, lambda: list(cache)):
        with pytest.raises(TypeError, match=r"obj\.total\.cache, or Class\.total\.invalidate"):
            wrong()
    with pytest.raises(AttributeError, match=r"cannot do invalidate: use obj\.total\.cache"):
        cache.invalidate(1)
    cache.clear()
    assert one.total.peek(1) is None and other.total.peek(2) is None and len(cache) == 0
    one.total(1)
    assert len(one.total.cache) == len(cache) == 1
    one.total.cache.clear()
    assert len(cache) == 0


def test_helpers_of_what_a_property_is_over() -> None:
    class Thing(Equal):
        @property
        @memoize
        def size(this) -> Any:
            return [this.name]

    thing, other = Thing(1, "a"), Thing(1, "b")
    first = thing.size
    size: Any = vars(Thing)["size"].fget
    assert size.peek(thing) is first and size.peek(other) is None
    assert size.invalidate(thing) and thing.size == ["a"] and thing.size is not first
    assert len(size.cache) == size.cache_info().currsize == 1
    size.cache_clear()
    assert size.peek(thing) is None
