"""What holds for every backend, called in threads and awaited on a loop: the contract of `areole.backends.protocol`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations, islice
from typing import Any

import pytest

from areole import CACHE_MISS
from areole.backends import AsyncBackend, Backend
from areole.backends.protocol import HEAD_BYTES, SEEN_BYTES
from areole.errors import CacheClosedError

from .kit import Engine, Subject, every_backend, opened

pytestmark = every_backend

LEASE = 60.0
SHORT = 0.05
"""Seconds after which something is to have expired; nothing is asserted to be there still."""
LONG_AGO = 2 * SHORT

KEYS = {
    "plain": "shop:v1:user:7",
    "empty": "",
    "unicode": "clé:ключ:鍵:🔑",
    "composed": "e\u0301 and é",
    "long": "k" * 300,
    "long-unicode": "鍵" * 300,
    "blanks": " a key\twith  blanks ",
    "control": "line\none\r\x00two\x7f",
    "glob": "a*b?c[1-2]\\d{x}",
    "sql": 'it\'s 100%_"done"; --',
    "hash": "#0123",
    "surrogate-pair": "\U0001f511" * 3,
}
every_key = pytest.mark.parametrize("key", KEYS.values(), ids=list(KEYS))


@pytest.fixture
def subject(engine: Engine, kind: str, request: pytest.FixtureRequest) -> Iterator[Subject]:
    with opened(engine, request, kind) as subject:
        yield subject


@pytest.fixture
def backend(subject: Subject) -> Any:
    return subject.backend


# ---- what it is


def test_has_the_protocol(subject: Subject) -> None:
    made = getattr(subject.backend, "backend", subject.backend)
    assert isinstance(made, Backend if subject.kind == "threads" else AsyncBackend)
    assert isinstance(made.is_shared, bool)
    assert isinstance(made.clears_cheaply, bool)


# ---- values


@every_key
def test_gives_back_what_was_set(backend: Any, key: str) -> None:
    assert backend.get(key) is None
    assert backend.set(key, b"value") is True
    assert backend.get(key) == b"value"
    assert type(backend.get(key)) is bytes


@pytest.mark.parametrize(
    "value", [b"", b"\0", bytes(range(256)), b"x" * (HEAD_BYTES - 1), b"y" * HEAD_BYTES, b"z" * 3_000_000]
)
def test_values_are_any_bytes(backend: Any, value: bytes) -> None:
    backend.set("k", value)
    assert backend.get("k") == value
    assert backend.get_many(["k"]) == [value]
    assert backend.take("k", b"token", LEASE) == (value, None)
    head = backend.kill("k")
    assert value.startswith(head)
    assert len(head) >= min(HEAD_BYTES, len(value))


def test_keys_are_distinct(backend: Any) -> None:
    keys = [
        *KEYS.values(),
        "SHOP:v1:user:7",
        "shop:v1:user:7 ",
        "shop:v1:user:7\0",
        "é and e\u0301",
        "k" * 299,
        "k" * 301,
    ]
    backend.set_many({key: str(number).encode() for number, key in enumerate(keys)})
    assert backend.get_many(keys) == [str(number).encode() for number in range(len(keys))]
    assert backend.delete(keys[0])
    assert backend.get_many(keys) == [None, *(str(number).encode() for number in range(1, len(keys)))]


def test_get_many_keeps_the_order_and_gives_none_for_what_is_missing(backend: Any) -> None:
    backend.set_many({"a": b"1", "b": b"", "c": b"3"})
    assert backend.get_many(["c", "x", "a", "b", "c", "y"]) == [b"3", None, b"1", b"", b"3", None]
    assert backend.get_many(["x"]) == [None]
    assert backend.get_many([]) == []
    assert backend.get_many(("b", "a")) == [b"", b"1"]


def test_many_keys(subject: Subject) -> None:
    backend = subject.backend
    number = 120 if subject.engine.is_slow else 1200
    items = {f"k{each}": str(each).encode() for each in range(number)}
    backend.set_many(items, ttl=LEASE)
    assert backend.get_many(list(items)) == list(items.values())
    assert backend.delete_many([*list(items)[:-100], "none"]) == number - 100
    assert backend.get_many(list(items)) == [None] * (number - 100) + list(items.values())[-100:]


def test_set_replaces_value_and_ttl(backend: Any) -> None:
    backend.set("k", b"old", ttl=LEASE)
    assert backend.set("k", b"new") is True
    assert backend.get("k") == b"new"
    assert backend.ttl_of("k") is None


def test_set_many(backend: Any) -> None:
    backend.set("a", b"old")
    assert backend.set_many({"a": b"1", "b": b"2"}, ttl=LEASE) is None
    assert backend.get_many(["a", "b"]) == [b"1", b"2"]
    assert 0 < backend.ttl_of("a") <= LEASE
    backend.set_many({})
    backend.set_many({"b": b"3"})
    assert backend.get("b") == b"3"
    assert backend.ttl_of("b") is None


def test_only_if_absent(backend: Any) -> None:
    assert backend.set("k", b"first", only_if_absent=True) is True
    assert backend.set("k", b"second", LEASE, True) is False
    assert backend.get("k") == b"first"
    assert backend.ttl_of("k") is None
    backend.delete("k")
    assert backend.set("k", b"third", LEASE, True) is True
    assert backend.get("k") == b"third"
    assert 0 < backend.ttl_of("k") <= LEASE


def test_only_if_absent_stores_where_the_value_has_expired(subject: Subject) -> None:
    subject.backend.set("k", b"old", SHORT)
    subject.pass_time(LONG_AGO)
    assert subject.backend.set("k", b"new", only_if_absent=True) is True
    assert subject.backend.get("k") == b"new"


def test_an_empty_value_is_a_value(backend: Any) -> None:
    backend.set("k", b"")
    assert backend.get("k") == b""
    assert backend.set("k", b"other", only_if_absent=True) is False
    assert backend.ttl_of("k") is None
    assert backend.expire("k", LEASE) is True
    assert backend.take("k", b"token", LEASE) == (b"", None)
    assert backend.kill("k") == b""
    backend.set("k", b"")
    assert backend.delete("k") is True
    backend.set("k", b"")
    assert backend.delete_many(["k"]) == 1


def test_delete(backend: Any) -> None:
    backend.set("k", b"v")
    assert backend.delete("k") is True
    assert backend.get("k") is None
    assert backend.delete("k") is False


def test_delete_many_counts_what_was_there(backend: Any) -> None:
    backend.set_many({"a": b"1", "b": b"2", "c": b"3"})
    assert backend.delete_many(["a", "x", "c"]) == 2
    assert backend.get_many(["a", "b", "c"]) == [None, b"2", None]
    assert backend.delete_many([]) == 0
    assert backend.delete_many(key for key in ["b", "a"]) == 1


def test_an_expired_value_is_not_there(subject: Subject) -> None:
    backend = subject.backend
    backend.set_many(dict.fromkeys("abcdef", b"v"), SHORT)
    subject.pass_time(LONG_AGO)
    assert backend.get("a") is None
    assert backend.get_many(["a", "b"]) == [None, None]
    assert backend.delete("a") is False
    assert backend.delete_many(["b"]) == 0
    assert backend.kill("c") is None
    assert backend.expire("d", LEASE) is False
    assert backend.ttl_of("e") is CACHE_MISS
    assert backend.take("f", b"token", LEASE) == (None, b"token")


# ---- ttls


@pytest.mark.parametrize("ttl", [1e9, 86_400.0 * 40, 3600, 1.5])
def test_ttl_of_is_what_is_left(subject: Subject, ttl: float) -> None:
    subject.backend.set("k", b"v", ttl)
    left = subject.backend.ttl_of("k")
    assert ttl - 1 < left <= ttl + 1e-6 * ttl
    subject.pass_time(SHORT)
    assert subject.backend.ttl_of("k") < left


def test_get_many_timed_gives_values_and_what_ttl_of_says_of_some(subject: Subject) -> None:
    subject.backend.set("a", b"v")
    subject.backend.set("b", b"w", 3600)
    values, (left, missing, forever) = subject.backend.get_many_timed(["c", "a", "b"], ["b", "c", "a"])
    assert values == [None, b"v", b"w"]
    assert forever is None and 3500 < left <= 3600 and missing is CACHE_MISS
    assert subject.backend.get_many_timed(["a"], []) == ([b"v"], [])
    many = [f"k{each}" for each in range(1_200)]
    subject.backend.set_many(dict.fromkeys(many, b"v"), 3600)
    values, lefts = subject.backend.get_many_timed(many, many[::2])
    assert values == [b"v"] * 1_200 and len(lefts) == 600 and all(3500 < each <= 3600 for each in lefts)


def test_ttl_of_none_and_of_what_is_missing(backend: Any) -> None:
    backend.set("k", b"v")
    assert backend.ttl_of("k") is None
    assert backend.ttl_of("x") is CACHE_MISS


@pytest.mark.parametrize("ttl", [1e-9, 0.0004, 0.001])
def test_the_least_ttl_is_a_millisecond(subject: Subject, ttl: float) -> None:
    assert subject.backend.set("k", b"v", ttl) is True
    subject.pass_time(SHORT)
    assert subject.backend.get("k") is None


def test_expire_gives_a_ttl_takes_it_away_and_ends_the_value(subject: Subject) -> None:
    backend = subject.backend
    backend.set("k", b"v")
    assert backend.expire("k", LEASE) is True
    assert 0 < backend.ttl_of("k") <= LEASE
    assert backend.expire("k", None) is True
    assert backend.ttl_of("k") is None
    assert backend.get("k") == b"v"
    assert backend.expire("k", SHORT) is True
    subject.pass_time(LONG_AGO)
    assert backend.get("k") is None
    assert backend.expire("k", LEASE) is False
    backend.set("k", b"v", LEASE)
    assert backend.expire("k", 0) is True
    assert backend.get("k") is None
    assert backend.ttl_of("k") is CACHE_MISS
    assert backend.expire("k", 0) is False
    assert backend.expire("k", None) is False


def test_expire_of_one_key_is_of_no_other(backend: Any) -> None:
    backend.set_many({"a": b"1", "b": b"2"})
    backend.expire("a", 0)
    assert backend.get_many(["a", "b"]) == [None, b"2"]


# ---- clear

PREFIXES = ["a", "a[1]:", "a*", "a?", "a\\", "100%", "a_", "it's", "é", "clé:", "a\0", "{a}", "^a", "a\n"]


def is_refused(subject: Subject, prefix: str) -> bool:
    """Say whether this engine is one that refuses to clear, and see that it does."""
    if subject.is_weaker("refuses to clear"):
        with pytest.raises(NotImplementedError, match="cannot be asked for"):
            subject.backend.clear(prefix)
    return subject.is_weaker("refuses to clear")


@pytest.mark.parametrize("prefix", PREFIXES)
def test_clear_removes_what_begins_with_the_prefix_and_no_other(subject: Subject, prefix: str) -> None:
    if is_refused(subject, prefix):
        return
    backend = subject.backend
    others = {"b", "", "A", "xa", "1", "100", "10", "x" + prefix, prefix[:-1], "a1:x" if prefix == "a[1]:" else "z"}
    others |= {"axb", "aab", "100x", "100 y"} if prefix not in ("a", "100") else set()
    others -= {other for other in others if other.startswith(prefix)}
    mine = {prefix, prefix + "x", prefix + "é", prefix + prefix, prefix + "*"}
    backend.set_many(dict.fromkeys([*sorted(others), *sorted(mine)], b"v"))
    backend.clear(prefix)
    assert backend.get_many(sorted(mine)) == [None] * len(mine)
    assert backend.get_many(sorted(others)) == [b"v"] * len(others)


def test_clear_of_everything_and_of_nothing(subject: Subject) -> None:
    backend = subject.backend
    if is_refused(subject, ""):
        return
    backend.clear("x")
    backend.set_many({f"k{number}": b"v" for number in range(1200)})
    backend.clear("x")
    assert backend.get("k7") == b"v"
    backend.clear("")
    assert backend.get_many([f"k{number}" for number in range(1200)]) == [None] * 1200


def test_clear_makes_tokens_void(subject: Subject) -> None:
    backend = subject.backend
    if is_refused(subject, ""):
        return
    backend.take("a:1", b"one", LEASE)
    backend.take("b:1", b"two", LEASE)
    backend.clear("a:")
    assert backend.store_if_mine("a:1", b"v", b"one") is False
    assert backend.store_if_mine("b:1", b"v", b"two") is True
    assert backend.get_many(["a:1", "b:1"]) == [None, b"v"]


# ---- the fence


@every_key
def test_a_fill_stores_under_its_token(backend: Any, key: str) -> None:
    assert backend.take(key, b"token", LEASE) == (None, b"token")
    assert backend.get(key) is None
    assert backend.store_if_mine(key, b"value", b"token", LEASE) is True
    assert backend.get(key) == b"value"
    assert 0 < backend.ttl_of(key) <= LEASE


def test_tokens_are_any_bytes(backend: Any) -> None:
    tokens = [b"\0", bytes(range(256)), b"{x}", b"1", b"\xff" * 16]
    for number, token in enumerate(tokens):
        assert backend.take(f"k{number}", token, LEASE) == (None, token)
        assert backend.renew(f"k{number}", token, LEASE) is True
        assert backend.store_if_mine(f"k{number}", b"v", token + b"\0") is False
        assert backend.store_if_mine(f"k{number}", b"v", token) is True


def test_a_value_is_returned_and_no_token_taken(backend: Any) -> None:
    backend.set("k", b"value")
    assert backend.take("k", b"token", LEASE) == (b"value", None)
    assert backend.store_if_mine("k", b"other", b"token") is False
    assert backend.get("k") == b"value"


def test_the_second_joins_the_token_of_the_first(subject: Subject) -> None:
    one, two = subject.backend, subject.connect()
    assert one.take("k", b"one", LEASE) == (None, b"one")
    assert two.take("k", b"two", LEASE) == (None, b"one")
    assert two.store_if_mine("k", b"of two", b"two") is False
    assert two.store_if_mine("k", b"of one", b"one") is True, "whichever of the fills has ended first stores"
    assert one.get("k") == b"of one"
    assert one.store_if_mine("k", b"late", b"one") is False, "its token is used up"
    assert one.get("k") == b"of one"


def test_storing_none_gives_the_token_back(backend: Any) -> None:
    backend.take("k", b"one", LEASE)
    assert backend.store_if_mine("k", None, b"one") is True
    assert backend.get("k") is None
    assert backend.take("k", b"two", LEASE) == (None, b"two")
    assert backend.store_if_mine("k", None, b"one") is False


def test_storing_none_keeps_the_value_that_was_seen(backend: Any) -> None:
    backend.set("k", b"seen")
    assert backend.take("k", b"one", LEASE, b"seen") == (None, b"one")
    assert backend.store_if_mine("k", None, b"one") is True
    assert backend.get("k") == b"seen"


def test_a_value_that_was_seen_is_as_none(backend: Any) -> None:
    backend.set("k", b"seen")
    assert backend.take("k", b"one", LEASE, b"other") == (b"seen", None)
    assert backend.take("k", b"one", LEASE, b"see") == (b"seen", None)
    assert backend.take("k", b"one", LEASE, b"seen") == (None, b"one")
    assert backend.get("k") == b"seen", "it is still there"
    assert backend.store_if_mine("k", b"new", b"one") is True
    assert backend.get("k") == b"new"


def test_an_empty_value_may_have_been_seen(backend: Any) -> None:
    backend.set("k", b"")
    assert backend.take("k", b"one", LEASE, b"") == (None, b"one")
    backend.set("k", b"x")
    assert backend.take("k", b"one", LEASE, b"") == (b"x", None)


def test_values_are_compared_by_their_heads(backend: Any) -> None:
    head = bytes(range(SEEN_BYTES))
    backend.set("k", head + b"tail")
    assert backend.take("k", b"one", LEASE, head + b"tail") == (None, b"one")
    backend.kill("k")
    backend.set("k", head + b"tail")
    assert backend.take("k", b"one", LEASE, head[:-1] + b"\xff" + b"tail") == (head + b"tail", None)


def test_storing_replaces_the_ttl_of_what_was_seen(backend: Any) -> None:
    backend.set("k", b"seen", LEASE)
    backend.take("k", b"one", LEASE, b"seen")
    assert backend.store_if_mine("k", b"new", b"one") is True
    assert backend.ttl_of("k") is None


CHANGES: dict[str, Callable[[Any], object]] = {
    "set": lambda backend: backend.set("k", b"new"),
    "set-if-absent": lambda backend: backend.set("k", b"new", None, True),
    "set-with-ttl": lambda backend: backend.set("k", b"new", LEASE),
    "set_many": lambda backend: backend.set_many({"x": b"y", "k": b"new"}),
    "delete": lambda backend: backend.delete("k"),
    "delete_many": lambda backend: backend.delete_many(["x", "k"]),
    "kill": lambda backend: backend.kill("k"),
    "kill_many": lambda backend: backend.kill_many(["x", "k"]),
}
every_change = pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))


@every_change
def test_a_change_makes_the_token_void(subject: Subject, change: Callable[[Any], object]) -> None:
    one, two = subject.backend, subject.connect()
    one.take("k", b"one", LEASE)
    change(two)
    after = two.get("k")
    assert one.renew("k", b"one", LEASE) is False
    assert one.store_if_mine("k", b"old", b"one") is False
    assert one.store_if_mine("k", None, b"one") is False
    assert two.get("k") == one.get("k") == after


@every_change
def test_a_change_of_another_key_does_not(backend: Any, change: Callable[[Any], object]) -> None:
    for key in ("K", "kk", "", "k!", "{k}!", "k:"):
        backend.take(key, b"one", LEASE)
        change(backend)
        assert backend.store_if_mine(key, b"v", b"one") is True


@every_change
def test_after_a_change_the_next_fill_gets_a_new_token(backend: Any, change: Callable[[Any], object]) -> None:
    backend.take("k", b"one", LEASE)
    change(backend)
    value, token = backend.take("k", b"two", LEASE, b"new")
    assert (value, token) == (None, b"two")
    assert backend.store_if_mine("k", b"old", b"one") is False
    assert backend.store_if_mine("k", b"newest", b"two") is True
    assert backend.get("k") == b"newest"


def test_a_set_that_stores_nothing_leaves_the_token(backend: Any) -> None:
    backend.set("k", b"seen")
    backend.take("k", b"one", LEASE, b"seen")
    assert backend.set("k", b"other", only_if_absent=True) is False
    assert backend.store_if_mine("k", b"new", b"one") is True


def test_a_lease_ends(subject: Subject) -> None:
    backend = subject.backend
    backend.take("k", b"one", SHORT)
    subject.pass_time(LONG_AGO)
    assert backend.renew("k", b"one", LEASE) is False
    assert backend.store_if_mine("k", b"late", b"one") is False
    assert backend.get("k") is None
    assert backend.take("k", b"two", LEASE) == (None, b"two")


def test_a_lease_is_renewed(subject: Subject) -> None:
    one, two = subject.backend, subject.connect()
    one.take("k", b"one", LEASE)
    assert one.renew("k", b"other", LEASE) is False
    assert two.renew("k", b"one", SHORT) is True
    subject.pass_time(LONG_AGO)
    assert one.store_if_mine("k", b"late", b"one") is False
    one.take("k", b"two", 5 * SHORT)
    if one.renew("k", b"two", LEASE):  # a slow machine may have lost it
        subject.pass_time(6 * SHORT)
        assert one.store_if_mine("k", b"v", b"two") is True


def test_joining_renews_nothing(subject: Subject) -> None:
    subject.backend.take("k", b"one", SHORT)
    subject.backend.take("k", b"two", LEASE)
    subject.pass_time(LONG_AGO)
    assert subject.backend.store_if_mine("k", b"v", b"one") is False


def test_what_never_had_a_token_is_not_stored(backend: Any) -> None:
    assert backend.store_if_mine("k", b"v", b"one") is False
    assert backend.store_if_mine("k", None, b"one") is False
    assert backend.renew("k", b"one", LEASE) is False
    assert backend.get("k") is None


def test_kill_returns_the_head_of_the_value(backend: Any) -> None:
    value = bytes(range(256)) * 20
    backend.set("k", value)
    head = backend.kill("k")
    assert value.startswith(head)
    assert len(head) >= HEAD_BYTES
    assert backend.get("k") is None
    assert backend.kill("k") is None


def test_kill_many_keeps_the_order(backend: Any) -> None:
    backend.set_many({"a": b"1", "b": b"", "c": b"3"})
    assert backend.kill_many(["c", "x", "b", "a"]) == [b"3", None, b"", b"1"]
    assert backend.get_many(["a", "b", "c"]) == [None] * 3
    assert backend.kill_many([]) == []


def test_a_token_is_no_value(backend: Any) -> None:
    backend.take("k", b"one", LEASE)
    assert backend.get_many(["k", "k!", "{k}!"]) == [None] * 3
    assert backend.ttl_of("k") is CACHE_MISS
    assert backend.expire("k", LEASE) is False
    assert backend.delete("k") is False
    backend.take("k", b"two", LEASE)
    assert backend.delete_many(["k"]) == 0
    backend.take("k", b"three", LEASE)
    assert backend.kill("k") is None
    backend.take("k", b"four", LEASE)
    assert backend.set("k", b"v", only_if_absent=True) is True


# ---- several processes


def test_what_one_has_changed_all_others_see(subject: Subject) -> None:
    one, two = subject.backend, subject.connect()
    one.set("k", b"1")
    assert two.get("k") == b"1"
    two.set("k", b"2", LEASE)
    assert one.get("k") == b"2"
    assert one.ttl_of("k") is not None
    one.delete("k")
    assert two.get("k") is None


def orders(first: int, second: int) -> Iterator[list[int]]:
    """Yield every order of the steps of two callers: whose turn it is."""
    for turns in combinations(range(first + second), first):
        yield [0 if turn in turns else 1 for turn in range(first + second)]


INVALIDATIONS: dict[str, Callable[[Any, str, bytes], object]] = {
    "set": lambda backend, key, new: backend.set(key, new, LEASE),
    "set_many": lambda backend, key, new: backend.set_many({key: new}),
    "delete": lambda backend, key, new: backend.delete(key),
    "kill_many": lambda backend, key, new: backend.kill_many([key]),
    "kill": lambda backend, key, new: backend.kill(key),
}


@pytest.mark.parametrize("invalidate", INVALIDATIONS.values(), ids=list(INVALIDATIONS))
def test_no_order_of_two_callers_leaves_a_stale_value(
    subject: Subject, invalidate: Callable[[Any, str, bytes], object]
) -> None:
    """A reader misses, reads the source and stores; a writer changes the source and invalidates, twice.

    Whatever the order of their calls, no value is read that is older than an invalidation that has returned.
    """
    callers = subject.backend, subject.connect()

    for number, order in enumerate(islice(orders(5, 4), None, None, 5 if subject.engine.is_slow else 1)):
        key, source, oldest = f"k{number}", 0, 0

        def check(backend: Any) -> None:
            for found in (backend.get(key), backend.get_many(["x", key])[1]):  # noqa: B023
                assert found is None or int(found) >= oldest, order  # noqa: B023

        def read(backend: Any) -> Iterator[None]:
            value, token = backend.take(key, b"token", LEASE)  # noqa: B023
            yield
            if token is not None:
                value = b"%d" % source  # noqa: B023
                yield
                backend.store_if_mine(key, value, token, LEASE)  # noqa: B023
            yield
            check(backend)
            yield
            value, token = backend.take(key, b"other", LEASE)  # noqa: B023
            assert value is None or int(value) >= oldest, order  # noqa: B023
            yield

        def write(backend: Any) -> Iterator[None]:
            nonlocal source, oldest
            for version in (1, 2):
                source = version
                yield
                invalidate(backend, key, b"%d" % version)  # noqa: B023
                oldest = version
                yield

        steps = read(callers[0]), write(callers[1])
        for turn in order:
            next(steps[turn], None)
        for backend in callers:
            check(backend)


# ---- life


def test_a_context_manager_closes_and_close_may_be_called_again(subject: Subject) -> None:
    with subject.backend as backend:
        backend.set("k", b"v")
    backend.close()
    if subject.kind != "threads":
        return  # its connections are made again, by the loop that asks next
    for call in (
        lambda: backend.get("k"),
        lambda: backend.get_many(["k"]),
        lambda: backend.set("k", b"v"),
        lambda: backend.set_many({"k": b"v"}),
        lambda: backend.delete("k"),
        lambda: backend.delete_many(["k"]),
        lambda: backend.expire("k", 1),
        lambda: backend.ttl_of("k"),
        lambda: backend.clear("k"),
        lambda: backend.take("k", b"t", 1),
        lambda: backend.renew("k", b"t", 1),
        lambda: backend.store_if_mine("k", b"v", b"t"),
        lambda: backend.kill("k"),
        lambda: backend.kill_many(["k"]),
    ):
        with pytest.raises(CacheClosedError, match="closed"):
            call()
