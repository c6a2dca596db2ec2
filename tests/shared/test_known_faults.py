"""Faults of other shared caches, each over all engines; docs/known-faults.md says where they were seen.

Those that the other files of this folder show are not here again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from areole import SharedCache

from .kit import Engine, Subject, every_engine, opened

pytestmark = every_engine

LEASE = 60.0
SHORT = 0.05
"""Seconds after which something is to have expired; nothing is asserted to be there still."""


@pytest.fixture
def subject(engine: Engine, request: pytest.FixtureRequest) -> Iterator[Subject]:
    with opened(engine, request) as subject:
        yield subject


def test_a_value_that_was_read_before_a_delete_is_not_stored_after_it(subject: Subject) -> None:
    """Django's get_or_set, dogpile.cache, diskcache, aiocache (cached_stampede too), cashews (lock=True too).

    1. A misses, and reads 10 from its source.      3. A stores 10, and it is read until its ttl ends.
    2. B writes 12 there, and deletes the key.
    """
    source = {"price": 10}
    ours, theirs = (SharedCache(subject.connect(), namespace="shop") for _ in range(2))

    def load(key: str) -> int:
        value = source[key]
        source[key] = 12
        theirs.delete(key)
        return value

    assert ours.get_or_fill("price", load) == 10  # its own caller asked before the delete
    assert ours.get("price") is None and theirs.get("price") is None
    assert theirs.get_or_fill("price", source.__getitem__) == 12
    assert ours.get("price") == 12


def test_a_value_that_was_read_before_a_clear_is_not_stored_after_it(subject: Subject) -> None:
    ours, theirs = (SharedCache(subject.connect(), namespace="shop") for _ in range(2))

    def load(key: str) -> int:
        theirs.clear()
        return 10

    assert ours.get_or_fill("price", load) == 10
    assert ours.get("price") is None and theirs.get("price") is None


def test_clear_leaves_what_other_programs_have_in_the_store(subject: Subject) -> None:
    """Django's RedisCache, cashews, aiocache without a namespace, redis-store: FLUSHDB."""
    subject.backend.set("sessions:7", b"v")
    subject.backend.set("shop2:v1:tea", b"v")
    with_envelope = SharedCache(subject.connect(), namespace="shop")
    bare = SharedCache(subject.connect(), namespace="bare", envelope=False)
    for cache in (with_envelope, bare):
        cache.set("tea", 1)
        if cache is with_envelope or not subject.is_weaker("refuses to clear"):
            cache.clear()
            assert cache.get("tea") is None
    assert subject.backend.get_many(["sessions:7", "shop2:v1:tea"]) == [b"v", b"v"]


def test_a_stored_none_is_a_hit(subject: Subject) -> None:
    """aiocache, purecache, cachetory, Flask-Caching #106: the function is called at each lookup."""
    calls = []
    cache = SharedCache(subject.connect(), namespace="shop")
    for _ in range(2):
        assert cache.get_or_fill("nothing", calls.append) is None
    assert calls == ["nothing"] and cache.get("nothing", 5) is None and "nothing" in cache


def test_a_holder_that_comes_late_leaves_the_next_holders_token_alone(subject: Subject) -> None:
    """Laravel #26213, Superset PR #43462: it deletes a lock that is another's by now."""
    backend = subject.backend
    backend.take("k", b"late", SHORT)
    subject.pass_time(2 * SHORT)
    assert backend.take("k", b"next", LEASE) == (None, b"next")
    assert backend.store_if_mine("k", None, b"late") is False  # what a fill does that failed
    assert backend.renew("k", b"late", LEASE) is False
    assert backend.store_if_mine("k", b"value", b"next") is True


def test_a_namespace_is_no_pattern_and_no_beginning_of_another_one(subject: Subject) -> None:
    """aiocache: `KEYS namespace:*` with the namespace as it is. cachetory: the prefix is left out of clear."""
    caches = [SharedCache(subject.connect(), namespace=name) for name in ("a.b", "a", "a.bc", "acb", "A.B")]
    for number, cache in enumerate(caches):
        cache.set_many({"k": number, "b:v1:k": -number})
    caches[0].clear(reclaim=None if subject.is_weaker("refuses to clear") else True)
    assert caches[0].get_many(["k", "b:v1:k"]) == {}
    for number, cache in enumerate(caches[1:], 1):
        assert cache.get_many(["k", "b:v1:k"]) == {"k": number, "b:v1:k": -number}


@pytest.mark.parametrize("value", [(1, 2), {1: 2}, {"a": {3}}, b"x", float("nan")], ids=repr)
def test_what_would_come_back_changed_is_refused_and_the_old_value_stays(subject: Subject, value: Any) -> None:
    """aiocache, cashews, Flask-Caching: JSON makes a list of a tuple, and text of a key that is a number."""
    cache = SharedCache(subject.connect(), namespace="shop")
    cache.set("k", "old")
    with pytest.raises(ValueError):
        cache.set("k", value)
    with pytest.raises(ValueError):
        cache.set_many({"other": 1, "k": value})
    assert cache.get_many(["k", "other"]) == {"k": "old"}


def test_a_caller_that_changes_what_it_got_changes_nothing_for_others(subject: Subject) -> None:
    """Caches that keep objects, such as aiocache's and cachetory's in memory."""
    cache = SharedCache(subject.connect(), namespace="shop")
    given = cache.get_or_fill("list", lambda key: [1])
    given.append(2)
    cache.get("list").append(3)
    assert cache.get("list") == [1]


def test_a_ttl_below_a_millisecond_is_no_error_and_not_for_ever(subject: Subject) -> None:
    """django-redis PR #267, readthis #41: PX 0 is refused by the server."""
    cache = SharedCache(subject.connect(), namespace="shop")
    assert cache.set("k", 1, ttl=0.0001)
    subject.pass_time(SHORT)
    assert cache.get("k") is None


def test_keys_with_blanks_line_ends_and_of_any_length_are_kept_apart(subject: Subject) -> None:
    """Django CVE-2020-13254: a malformed key gave what was stored for another one."""
    cache = SharedCache(subject.connect(), namespace="shop")
    keys: list[Any] = [
        "a b",
        "a  b",
        "a:b",
        "x" * 300,
        "x" * 301,
        "{a}",
        "{b}",
        "#a",
        ("a", "b"),
        ("a b",),
        "",
        1,
        "1",
        None,
    ]
    cache.set_many({key: [number] for number, key in enumerate(keys)})
    assert cache.get_many(keys) == {key: [number] for number, key in enumerate(keys)}
    for refused in ("a\nb", "a\0b", "a\rset b"):
        with pytest.raises(ValueError):
            cache.set(refused, 1)
