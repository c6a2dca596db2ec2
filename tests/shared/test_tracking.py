"""`plane="tracking"`: what programs write into Redis that know nothing of areole drops copies too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from areole import AtomicCache, SharedCache, Storage
from areole.backends import RedisBackend
from areole.backends.redis_listener import RedisListener
from areole.shared import plane as planes

from .servers import Cluster, RedisServer
from .test_plane import eventually, fast  # noqa: F401


class Kept:
    """A cache of bare values, which others write too, and one in front of it."""

    def __init__(self, url: str, namespace: str = "bare", store: Any = None, **options: Any) -> None:
        self.storage: Storage[Any] = Storage()
        options = {"envelope": False, "plane": "tracking", "local": self.storage, "timeout": 10} | options
        self.shared = SharedCache[Any](url if store is None else store, namespace=namespace, **options)
        self.front = AtomicCache(lambda key: ["filled", key], shared=self.shared)
        self.plane = planes.plane_of(self.shared._state.backend)
        eventually(self.plane.is_live)

    def settle(self, keys: str) -> None:
        """Read until what is read is kept: what was written before has been heard then."""
        for key in keys:
            eventually(lambda key=key: self.shared.get(key) is not None and key in self.storage)  # type: ignore[misc]
            eventually(lambda key=key: self.front[key] is not None and key in self.front)  # type: ignore[misc]

    def keeps(self, key: str) -> bool:
        return key in self.storage or key in self.front


STRANGERS: dict[str, tuple[Callable[[RedisServer], object], Any]] = {
    "set": (lambda server: server.cli("SET", "bare:a", "2"), 2),
    "del": (lambda server: server.cli("DEL", "bare:a"), None),
    "flushdb": (lambda server: server.cli("FLUSHDB"), None),
    "expiry": (lambda server: server.cli("PEXPIRE", "bare:a", "20"), None),
    "rename": (lambda server: server.cli("RENAME", "bare:b", "bare:a"), 1),
}


@pytest.mark.parametrize("stranger", STRANGERS)
def test_what_a_stranger_changes_is_not_kept(redis_single: RedisServer, stranger: str) -> None:
    redis_single.flush()
    redis_single.cli("MSET", "bare:a", "0", "bare:b", "1")
    kept = Kept(redis_single.socket_url)
    with kept.shared:
        kept.settle("ab")
        change, value = STRANGERS[stranger]
        change(redis_single)
        eventually(lambda: not kept.keeps("a"))
        eventually(lambda: kept.shared.get("a") == value)
        assert kept.front["a"] == (["filled", "a"] if value is None else value)
        if stranger == "set":
            assert kept.keeps("b")


def test_our_own_changes_and_another_namespace_on_the_same_backend(redis_single: RedisServer) -> None:
    redis_single.flush()
    kept = Kept(redis_single.socket_url)
    with kept.shared:
        other = Kept("", "other", kept.shared._state.backend, plane="messages", envelope=True)
        third = Kept("", "third", kept.shared._state.backend)
        for each in (kept, other, third):
            each.shared.set("a", 0)
            each.settle("a")
            each.shared.set("a", 1)
            assert not each.keeps("a") and each.shared["a"] == each.front["a"] == 1
        kept.settle("a")
        third.settle("a")
        redis_single.cli("MSET", "bare:a", "2", "third:a", "3")
        eventually(lambda: kept.shared["a"] == kept.front["a"] == 2)
        eventually(lambda: third.shared["a"] == third.front["a"] == 3)
        other.settle("a")
        other.shared.clear()
        assert not other.keeps("a")


@pytest.mark.parametrize("of", ["t", "P"])
def test_a_lost_connection_drops_everything_and_is_made_again(redis_single: RedisServer, of: str) -> None:
    redis_single.flush()
    redis_single.cli("SET", "bare:a", "0")
    kept = Kept(redis_single.socket_url)
    with kept.shared:
        kept.settle("a")
        lines = redis_single.cli("CLIENT", "LIST").splitlines()
        clients = [dict(field.split("=", 1) for field in line.split()) for line in lines]
        assert [redis_single.cli("CLIENT", "KILL", "ID", each["id"]) for each in clients if of in each.get("flags", "")]
        redis_single.cli("SET", "bare:a", "2")
        eventually(lambda: kept.shared["a"] == kept.front["a"] == 2)
        kept.settle("a")
        redis_single.cli("SET", "bare:a", "3")
        eventually(lambda: kept.shared["a"] == kept.front["a"] == 3)


def test_each_primary_of_a_cluster_tells(redis_cluster: Cluster) -> None:
    for node in redis_cluster.nodes:
        node.flush()
    kept = Kept(redis_cluster.url)
    with kept.shared:
        for key in "abcd":
            redis_cluster.node_of(f"bare:{key}").cli("SET", f"bare:{key}", "0")
        kept.settle("abcd")
        for key in "abcd":
            redis_cluster.node_of(f"bare:{key}").cli("SET", f"bare:{key}", "2")
        for key in "abcd":
            eventually(lambda key=key: kept.shared[key] == kept.front[key] == 2)  # type: ignore[misc]


def test_where_it_cannot_be_it_is_refused() -> None:
    for store in ("memory://", "null://"):
        with pytest.raises(TypeError, match=r"plane='tracking' is for Redis: a \w+Backend tells of no other's changes"):
            SharedCache(store, namespace="shop", plane="tracking")
    with pytest.raises(ValueError, match='plane must be "messages" or "tracking", not \'pubsub\''):
        SharedCache("memory://", namespace="shop", plane="pubsub")  # type: ignore[arg-type]


def test_what_is_tracked_may_change_while_it_subscribes(
    redis_single: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a message comes where an answer is expected, so that with many writes it would never be connected."""
    redis_single.flush()
    track = RedisListener._track

    def track_and_write(listener: RedisListener, *args: Any) -> None:
        track(listener, *args)
        redis_single.cli("SET", "bare:a", "1")

    monkeypatch.setattr(RedisListener, "_track", track_and_write)
    with RedisBackend(redis_single.socket_url, timeout=10) as backend:
        listener = backend.listen("bare:")
        assert listener.receive(10) == ["bare:a"]
        backend.set("a", b"")
        assert listener.receive(10) == ["a"]
        listener.close()


def test_a_refresh_of_what_the_store_has_evicted_drops_the_copies_of_others(redis_single: RedisServer) -> None:
    redis_single.flush()
    options = {"envelope": True, "plane": "messages"}
    kept, mine = (Kept(redis_single.socket_url, "evicts", **options) for _ in range(2))
    with kept.shared, mine.shared:
        for fill in (mine.shared.refresh, lambda *args: asyncio.run(refresh(mine.shared, *args))):
            kept.shared.set("a", "old")
            kept.settle("a")
            redis_single.cli("DEL", "evicts:v1:a")  # as an eviction, of which nobody hears
            fill("a", lambda key: "new")
            eventually(lambda: not kept.keeps("a"))


async def refresh(shared: SharedCache[Any], *args: Any) -> None:
    async with shared.aio as cache:
        await cache.refresh(*args)
