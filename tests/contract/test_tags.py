"""Tags: `invalidate_tags` of every cache of this process removes what has one of them, and nothing else."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from types import CodeType
from typing import Any

import pytest

from areole import (
    CACHE_MISS,
    NOT_MODIFIED,
    AsyncAtomicCache,
    AtomicCache,
    Cache,
    Filled,
    RemovalCause,
    Resilience,
    Storage,
    cached,
)
from areole.testing import ManualClock, assert_valid

from ..interleave import Injected, before_each, every_step, inject
from ..kit import Gate, collect, run_threads, start_threads, wait_until_waiting

TEMPLATES = ["all", "number:{key}"]


class Subject:
    """A cache whose `look_up(key)` fills `key` under the tags "all" and "number:<key>"."""

    def __init__(self, kind: str) -> None:
        self.fills: list[Any] = []
        self.removed: list[Any] = []
        self.before: Callable[[Any], object] = id  # called with the key as its fill begins
        name, _, detail = kind.partition(" ")
        self.look_up: Callable[[Any], Any]
        self.cache: Any
        getattr(self, f"make_{name}")(detail)

    def fill(self, key: Any) -> str:
        self.fills.append(key)
        self.before(key)
        return f"value of {key}"

    async def fill_later(self, key: Any) -> str:
        return self.fill(key)

    def note(self, key: Any, value: Any, cause: RemovalCause) -> None:
        self.removed.append(cause)

    def make_atomic(self, detail: str) -> None:
        options: Any = {
            "": {},
            "atomic": {"index": "atomic"},
            "ttl": {"ttl": 60},
            "lru": {"max_items": 9},
            "pool": {"ttl": 60, "resilience": Resilience(hard_timeout=60)},  # a thread of the pool fills
        }[detail]
        self.cache = AtomicCache(self.fill, tags=TEMPLATES, on_removal=self.note, **options)
        self.look_up = self.cache.fetch

    def make_tasks(self, detail: str) -> None:
        self.cache = AsyncAtomicCache(self.fill_later, tags=TEMPLATES, on_removal=self.note)
        self.look_up = lambda key: asyncio.run(self.cache.fetch(key))

    def make_memoized(self, detail: str) -> None:
        memoize = AtomicCache.memoize(tags=TEMPLATES, on_removal=self.note)
        if detail == "async":
            self.cache = later = memoize(self.fill_later)
            self.look_up = lambda key: asyncio.run(later(key))
        else:
            self.cache = self.look_up = memoize(self.fill)

    def make_cached(self, detail: str) -> None:
        kind: Any = {"Storage": Storage, "Cache": Cache}.get(detail)
        of: Any = kind(on_removal=self.note) if kind else AtomicCache(self.fill, on_removal=self.note)
        self.look_up = cached(of, tags=TEMPLATES)(self.fill)
        self.cache = of if kind else self.look_up

    def make_store(self, detail: str) -> None:
        kind: Any = {"Storage": Storage, "Cache": Cache}[detail]
        self.cache = store = kind(on_removal=self.note)
        self.look_up = lambda key: store.get_or_fill(key, self.fill, tags=["all", f"number:{key}"])


KINDS = (
    "atomic", "atomic atomic", "atomic ttl", "atomic lru", "atomic pool", "tasks", "memoized", "memoized async",
    "cached Storage", "cached Cache", "cached AtomicCache", "store Storage", "store Cache",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_one_of_the_tags_is_removed_and_reported_once_and_nothing_else(kind: str) -> None:
    subject = Subject(kind)
    for key in (1, 2, 3):
        subject.look_up(key)
    assert subject.cache.invalidate_tags("number:2", "number:3", "number:4") == 2
    assert subject.removed == [RemovalCause.EXPLICIT] * 2
    assert subject.cache.invalidate_tags("number:2") == 0
    for key in (1, 2, 3):
        assert subject.look_up(key) == f"value of {key}"
    assert subject.fills == [1, 2, 3, 2, 3]
    assert subject.cache.invalidate_tags("all", "number:1") == 3
    assert subject.removed == [RemovalCause.EXPLICIT] * 5


@pytest.mark.parametrize("kind", KINDS)
def test_an_invalidation_during_a_fill_detaches_it(kind: str) -> None:
    subject = Subject(kind)
    counts = list[int]()
    subject.before = lambda key: counts.append(subject.cache.invalidate_tags(f"number:{key}"))
    for _ in range(2):
        assert subject.look_up(1) == "value of 1", "those who wait get it"
    assert counts == [1, 1] and subject.removed == []


def tags_of_value(tags: list[str]) -> AtomicCache[str, str]:
    return AtomicCache(lambda key: ",".join(tags), tags=lambda key: tags)


def test_a_refresh_brings_its_own_tags() -> None:
    tags = ["old"]
    cache = tags_of_value(tags)
    cache["key"]
    tags[:] = ["new"]
    cache.refresh("key")
    assert cache.invalidate_tags("old") == 0
    assert cache.invalidate_tags("new") == 1


def test_what_a_refresh_shows_meanwhile_has_the_tags_of_the_old_value() -> None:
    seen: list[Any] = []

    def fill(key: str) -> str:
        if cache.peek(key):
            seen.append([cache.invalidate_tags("old"), cache.peek(key)])
        return "value"

    tags = ["old"]
    cache: AtomicCache[str, str] = AtomicCache(fill, tags=lambda key: tags)
    cache["key"]
    tags[:] = ["new"]
    assert cache.refresh("key") == "value"
    assert seen == [[1, None]] and "key" not in cache


def test_a_refresh_that_fails_leaves_the_old_value_with_its_tags() -> None:
    cache = tags_of_value(["tag"])
    cache["key"]
    cache._fill = lambda key: 1 / 0  # type: ignore[assignment, return-value]
    with pytest.raises(ZeroDivisionError):
        cache.refresh("key")
    assert "key" in cache and cache.invalidate_tags("tag") == 1


@pytest.mark.parametrize("kind", [Storage, Cache])
def test_a_set_brings_its_own_tags(kind: Any) -> None:
    store = kind()
    store.set("key", 1, tags=["old"])
    store.set("key", 2, tags=iter(["new", "newer"]))
    assert store.invalidate_tags("old") == 0 and store.get("key") == 2
    assert not store.add("key", 3, tags=["added"]) and store.invalidate_tags("added") == 0
    assert store.expire_in("key", 60) and store.invalidate_tags("newer") == 1
    assert store.add("key", 3, tags=["added"]) and store.invalidate_tags("added") == 1
    assert store.set_many({"a": 1, "b": 2}, tags=iter(["both"])) == 2 and store.invalidate_tags("both") == 2
    store.set("key", 4, tags=["tag"])
    store.set("key", 5)
    assert store.invalidate_tags("tag") == 0 and store.get("key") == 5
    assert_valid(store)


def test_values_that_are_set_and_functions_that_are_cached_share_the_tags_of_a_store() -> None:
    store: Storage[Any] = Storage()

    @cached(store, tags=["user:{user_id}"])
    def name(user_id: int) -> str:
        return "Ada"

    @cached(store, tags=lambda user_id, day="today": [f"user:{user_id}", day])
    def visits(user_id: int, day: str = "today") -> int:
        return 3

    store.set("banner", "hi", tags=["user:7"])
    name(7), visits(7), visits(user_id=8)
    assert name.invalidate_tags("user:7") == 3 and len(store) == 1
    visits.refresh(8)
    assert store.invalidate_tags("today") == 1


def test_a_stale_value_and_a_stored_exception_have_their_tags() -> None:
    clock = ManualClock()
    cache: AtomicCache[str, str] = AtomicCache(
        str, ttl=1, clock=clock, tags=["tag"], resilience=Resilience(stale_ttl=60, fail_safe=True)
    )
    cache["key"]
    clock.advance(2)
    assert cache.invalidate_tags("tag") == 0, "it had expired"
    cache._fill = lambda key: 1 / 0  # type: ignore[assignment, return-value]
    with pytest.raises(ZeroDivisionError):  # nothing is left to fall back on
        cache["key"]
    failing: AtomicCache[str, str] = AtomicCache(cache._fill, cache_exceptions=True, tags=["tag"])
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            failing["key"]
        assert failing.invalidate_tags("tag") == 1
    assert failing.cache_info().fills == 2


def test_templates_are_percent_escaped_as_those_of_keys_are() -> None:
    cache: AtomicCache[Any, Any] = AtomicCache(lambda key: key, tags=["pair:{key[0]}:{key[1]}"])
    for pair in [("1:2", "3"), ("1", "2:3"), ("a b", "é")]:
        cache[pair]
    assert cache.invalidate_tags("pair:1:2:3") == 0
    assert cache.invalidate_tags("pair:1%3A2:3") == 1
    assert cache.invalidate_tags("pair:a%20b:%C3%A9") == 1


class Shop:
    def __init__(self, city: str) -> None:
        self.city = city

    @AtomicCache.memoize(tags=["city:{self.city}", "price:{item}"])
    def price(self, item: str) -> str:
        return f"{item} in {self.city}"

    @AtomicCache.memoize(tags=["class"])
    @classmethod
    def number(cls) -> int:
        return 1


def test_tags_of_methods_reach_one_instance_or_all() -> None:
    rome, oslo = Shop("Rome"), Shop("Oslo")
    for shop in (rome, oslo):
        shop.price("tea"), shop.price("jam")
    assert oslo.price.invalidate_tags("city:Rome") == 0
    assert oslo.price.invalidate_tags("price:jam") == 1
    assert Shop.price.invalidate_tags("price:tea") == 2
    assert Shop.price.cache.invalidate_tags("city:Rome") == 1
    assert Shop.number() == 1 and Shop.number.invalidate_tags("class") == 1


def test_views_share_the_tags() -> None:
    cache: AtomicCache[int, int] = AtomicCache(abs, tags=["tag"])
    assert asyncio.run(cache.aio.fetch(-1)) == 1
    assert cache.invalidate_tags("tag") == 1
    assert cache[-1] == 1 and cache.aio.invalidate_tags("tag") == 1


def test_an_entry_leaves_the_table_when_it_is_freed_and_tags_without_entries_are_dropped() -> None:
    cache: AtomicCache[int, int] = AtomicCache(abs, tags=["all", "number:{key}"], max_items=10)
    for number in range(3000):
        cache[number]
    collect()
    discards = cache._state.index.tags._discards
    assert len(discards["all"].__self__) <= 20, "what was evicted is still noted"
    assert len(discards) <= 1001
    cache.clear()
    assert not discards and cache.invalidate_tags("all") == 0
    cache[1], cache[2]
    assert cache.invalidate_tags("all") == 2 and list(discards) == ["number:1", "number:2"]


class Key:
    """A key whose methods raise while `raises`."""

    raises = False

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        if Key.raises:
            raise ValueError
        return self is other


def test_a_key_that_raises_keeps_neither_its_own_value_nor_others(monkeypatch: pytest.MonkeyPatch) -> None:
    cache: AtomicCache[Any, int] = AtomicCache(id, tags=["tag"])
    keys = [Key() for _ in range(3)]
    for key in (*keys, "other"):
        cache[key]
    monkeypatch.setattr(Key, "raises", True)
    assert cache.invalidate_tags("tag") == 4
    assert not cache._state.index.snapshot()


class Salted:
    """A key whose hash may change; `at_hash` is called whenever that is asked for."""

    at_hash: Callable[[], object] = int

    def __init__(self, salt: int) -> None:
        self.salt = salt

    def __hash__(self) -> int:
        self.at_hash()
        return self.salt

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Salted)


@pytest.mark.parametrize("options", [{}, {"index": "atomic"}, {"max_items": 9, "policy": "lru"}, {"max_items": 9}])
def test_a_key_whose_hash_has_changed_does_not_hide_its_value_from_an_invalidation(options: Any) -> None:
    cache: AtomicCache[Any, int] = AtomicCache(id, tags=["tag"], **options)
    key = Salted(1)
    cache[key], cache[5]
    key.salt = 2
    assert cache.invalidate_tags("tag") == 2
    key.salt = 1
    assert key not in cache and len(cache) == 0
    assert_valid(cache)


@pytest.mark.parametrize("options", [{}, {"max_items": 9, "policy": "lru"}, {"max_items": 9}])
def test_an_invalidation_within_the_search_for_a_key_whose_hash_has_changed_removes_what_that_has_out(
    options: Any,
) -> None:
    cache: AtomicCache[Any, int] = AtomicCache(lambda key: 1, tags=lambda key: [str(key)], **options)
    changed, asking = Salted(1), Salted(7)
    cache[changed], cache[2], cache[asking], cache[4]  # no text: where that is in the dict is by chance
    changed.salt = 3
    index = cache._state.index
    asking.at_hash = lambda: index.rebuilds % 2 and cache.invalidate_tags("4")  # type: ignore[method-assign]
    cache.invalidate(Salted(1))  # finds `changed`, which its own hash does not find
    assert 4 not in cache
    assert_valid(cache)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: AtomicCache(str, tags="user"), r"str: tags must be a list of texts, not one str: write \['...'\]"),
        (lambda: AtomicCache(str, tags=7), "tags must be a list of texts, not one int"),  # type: ignore[arg-type]
        (lambda: AtomicCache(str, tags=[7]), "str: a tag must be a text, not int"),  # type: ignore[list-item]
        (lambda: AtomicCache(str).invalidate_tags(["a"]), "invalidate_tags: a tag must be a text, not list"),  # type: ignore[arg-type]
        (lambda: Storage().set(1, 1, tags="user"), "tags must be a list of texts, not one str"),
        (lambda: Storage().get_or_fill(1, str, tags="user"), "tags must be a list of texts, not one str"),
        (lambda: AtomicCache(str, tags=lambda key: key)["user"], "tags must be a list of texts, not one str"),
        (lambda: cached(Storage(), tags="user"), "cached: tags must be a list of texts"),
        (lambda: AtomicCache(id, tags=["id:{key}"])[Key()], "the tag of id has no text for {key}, of type Key"),
    ],
)
def test_what_is_no_tag_is_refused_by_name(use: Callable[[], object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        use()


def test_a_template_must_suit_the_function() -> None:
    with pytest.raises(ValueError, match=r"tag 'user:{id}' names id, but the parameters of .* are user_id"):
        AtomicCache.memoize(lambda user_id: 1, tags=["user:{id}"])
    with pytest.raises(ValueError, match=r"tag 'user:{user_id}' names user_id, but the parameters of str are key"):
        AtomicCache(str, tags=["user:{user_id}"])


def test_a_text_of_a_class_of_its_own_is_the_text_alone() -> None:
    class Odd(str):
        __slots__ = ()
        __hash__ = None  # type: ignore[assignment]

    store: Storage[int] = Storage()
    store.set("key", 1, tags=[Odd("tag")])
    assert store.invalidate_tags("tag") == 1 and store.get("key") is CACHE_MISS


def test_a_fill_that_is_interrupted_leaves_nothing_under_its_tags() -> None:
    cache: AtomicCache[str, str] = AtomicCache(lambda key: sys.exit(), tags=["tag"])
    with pytest.raises(SystemExit):
        cache["key"]
    assert cache.invalidate_tags("tag") == 0 and not cache._state.index.snapshot()


def test_what_a_finalizer_fills_before_any_instruction_that_notes_tags_keeps_its_own() -> None:
    assert before_each(steps_with_tags, nested_fill) > 10


def steps_with_tags(code: CodeType) -> frozenset[int]:
    return every_step(code) if code.co_filename.endswith("tags.py") else frozenset()


def nested_fill(at: int) -> Injected:
    cache: AtomicCache[str, Any] = AtomicCache(lambda key: Filled(key, tags=["late"]), tags=["known"])
    injected = inject(lambda: cache["key"], lambda: cache["other"], at)
    assert cache.invalidate_tags("known") == 1 + bool(injected.places), injected
    assert not list(cache)
    return injected


def test_tags_that_a_fill_brings_are_those_of_its_value() -> None:
    cache: AtomicCache[int, int] = AtomicCache(lambda key: Filled(-key, tags=[f"late:{key}"]), tags=["all"])
    assert cache[1] == -1 and cache[2] == -2
    assert cache.invalidate_tags("late:1") == 1 and 1 not in cache and 2 in cache
    assert cache[1] == -1 and cache.invalidate_tags("all") == 2


@pytest.mark.parametrize("during", [["other"], ["late"]])
def test_a_value_whose_tags_the_fill_brings_is_not_stored_after_any_invalidation(during: list[str]) -> None:
    def fill(key: str) -> Filled[str]:
        cache.invalidate_tags(*during)
        return Filled("new", tags=["late"])

    cache: AtomicCache[str, str] = AtomicCache(lambda key: Filled("old", tags=["late"]), tags=())
    assert cache["key"] == "old"
    cache._fill = fill  # type: ignore[assignment, return-value]
    assert cache.refresh("key") == "new", "those who wait get it"
    assert cache.get("key") == (None if during == ["late"] else "old")
    assert cache.invalidate_tags("late") == (during == ["other"]), "the old value keeps its tag"
    assert cache["key"] == "new" and "key" not in cache


@pytest.mark.parametrize("in_tasks", [False, True])
def test_who_asks_after_an_invalidation_gets_nothing_of_a_fill_from_before_whose_tags_were_not_known(
    in_tasks: bool,
) -> None:
    gate, versions = Gate(), [1]

    def fill(key: str) -> Filled[int]:
        version = versions[0]
        if version == 1:
            gate.enter()
        return Filled(version, tags=["late"])

    async def ask_in_task() -> int:
        return await cache.aio["key"]

    cache: AtomicCache[str, int] = AtomicCache(fill, tags=())
    ask = (lambda: asyncio.run(ask_in_task())) if in_tasks else (lambda: cache["key"])
    before = start_threads(lambda: cache["key"])
    gate.wait_until_entered()
    versions[0] = 2
    cache.invalidate_tags("late")
    after = start_threads(ask)
    wait_until_waiting(cache, 1)
    gate.open()
    assert before() == [1] and after() == [2]
    assert cache["key"] == 2
    assert_valid(cache)


@pytest.mark.parametrize("at", range(1, 9))
def test_a_clock_that_raises_where_a_fill_has_brought_tags_too_late_leaves_no_lookup_without_end(at: int) -> None:
    readings = [0, -1]

    def clock() -> float:
        readings[0] += 1
        if readings[0] == readings[1]:
            raise ValueError
        return 1.0

    def fill(key: str) -> Filled[str]:
        cache.invalidate_tags("other")
        return Filled(key, tags=["late"])

    cache: AtomicCache[str, str] = AtomicCache(
        fill, 5, tags=(), clock=clock, cache_exceptions=True, resilience=Resilience(stale_ttl=5)
    )
    readings[:] = 0, at
    results = run_threads(lambda: cache["key"]) + run_threads(lambda: cache["key"])
    assert {type(each) for each in results} <= {str, ValueError}
    readings[1] = -1
    assert_valid(cache)


def test_a_refresh_forgets_the_tags_that_the_last_fill_brought() -> None:
    brought = ["old"]
    cache: AtomicCache[str, str] = AtomicCache(lambda key: Filled(key, tags=brought), tags=["known"])
    cache["key"]
    brought[:] = ["new"]
    cache.refresh("key")
    assert cache.invalidate_tags("old") == 0 and cache.invalidate_tags("new") == 1


def test_a_value_that_is_not_modified_keeps_the_tags_that_its_fill_brought() -> None:
    def fill(key: str, *, previous: str | None = None) -> Filled[str]:
        return NOT_MODIFIED if previous else Filled(key, tags=["late"])

    cache: AtomicCache[str, str] = AtomicCache(fill, tags=["known"])
    cache["key"]
    assert cache.refresh("key") == "key"
    assert cache.invalidate_tags("late") == 1 and cache.invalidate_tags("known") == 0


def test_every_kind_of_fill_may_bring_tags_if_it_was_given_some() -> None:
    store: Storage[int] = Storage()
    fill = lambda key=1: Filled(key, tags=["late"])  # noqa: E731
    AtomicCache.memoize(tags=())(fill)()
    memoized, in_store = AtomicCache.memoize(fill, tags=()), cached(store, tags=())(fill)
    assert memoized(1) == 1 and memoized.invalidate_tags("late") == 1
    assert in_store(1) == 1 and store.get_or_fill(2, fill, tags=()) == 2 and store.invalidate_tags("late") == 2
    for ask in (AtomicCache.memoize(fill), cached(store)(fill), lambda: store.get_or_fill(3, fill)):
        with pytest.raises(TypeError, match=r"returned a Filled with tags=: give the cache, .* tags=\(\)"):
            ask()
