"""RedisBackend on a cluster: slots that are elsewhere, slots that move, servers that are gone."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from areole.backends import AsyncRedisBackend, RedisBackend
from areole.backends.redis_commands import Request
from areole.backends.redis_keys import slot_of, token_of
from areole.backends.redis_routes import Batch, ClusterRoute
from areole.errors import BackendError, BackendTimeout, CacheClosedError

from ..kit import run, run_threads
from . import servers

pytestmark = pytest.mark.usefixtures("redis_py")

PATIENT = 10.0
"""Seconds; CI's machine may be slow, and that is no fault."""
KEYS = [f"k{number}" for number in range(60)]


@pytest.fixture
def cluster(redis_cluster: servers.Cluster) -> servers.Cluster:
    for node in redis_cluster.nodes:
        node.flush()
    return redis_cluster


def node_ids(cluster: servers.Cluster) -> dict[servers.RedisServer, str]:
    return {node: node.cli("CLUSTER", "MYID") for node in cluster.nodes}


def try_out(backend: RedisBackend) -> None:
    with backend:
        backend.set_many({key: key.encode() for key in KEYS}, 60)
        assert backend.get_many([*reversed(KEYS), "none"]) == [*(key.encode() for key in reversed(KEYS)), None]
        assert run(lambda: backend.aio.get_many(KEYS)) == [key.encode() for key in KEYS]
        for key in KEYS[:9]:
            assert backend.kill(key) == key.encode()
            assert backend.take(key, b"t", 60) == (None, b"t")
            assert run(lambda: backend.aio.store_if_mine(key, b"new", b"t"))  # noqa: B023
        assert backend.delete_many(KEYS) == len(KEYS)


def test_keys_are_where_their_slots_are(cluster: servers.Cluster) -> None:
    with RedisBackend(cluster.url, timeout=PATIENT) as backend:
        for key in KEYS[:9]:
            backend.take(key, b"t", 60)
            backend.set(key + "x", b"v")
            assert cluster.node_of(key).cli("EXISTS", token_of(key.encode()).decode()) == "1"
            assert cluster.node_of(key + "x").cli("GET", key + "x") == "v"
        assert len(backend._links._idle) == 3, "connections to all three"


def test_clients_of_clusters(cluster: servers.Cluster) -> None:
    redis = pytest.importorskip("redis")
    port = cluster.nodes[1].port
    client = redis.RedisCluster(host="127.0.0.1", port=port, decode_responses=True)
    client.set("of the client", "1")
    try_out(RedisBackend(client, timeout=PATIENT))
    assert client.get("of the client") == "1"
    client.close()

    async def main() -> None:
        client = redis.asyncio.RedisCluster(host="127.0.0.1", port=port, decode_responses=True)
        backend = RedisBackend(client, timeout=PATIENT)
        assert await backend.aio.get("of the client") == b"1"
        assert backend.get("of the client") == b"1"
        backend.close()
        assert await client.get("of the client") == "1"
        await backend.aio.aclose()
        await client.aclose()

    run(main)


def test_a_url_names_some_servers(cluster: servers.Cluster) -> None:
    hosts = f"127.0.0.1:{servers.free_port()},127.0.0.1:{cluster.nodes[2].port}"
    try_out(RedisBackend(f"redis+cluster://{hosts}", timeout=PATIENT))
    try_out(RedisBackend(f"valkey+cluster://127.0.0.1:{cluster.nodes[0].port}", timeout=PATIENT))


def test_a_cluster_that_is_asked_as_if_it_were_one_server_says_so(cluster: servers.Cluster) -> None:
    with RedisBackend(cluster.nodes[0].url, timeout=PATIENT) as backend:
        with pytest.raises(BackendError, match=r"part of a cluster: write redis\+cluster://"):
            for key in KEYS:
                backend.get(key)
        with pytest.raises(BackendError, match=r"part of a cluster: write redis\+cluster://"):
            backend.get_many(KEYS)


def test_one_server_that_is_asked_as_if_it_were_a_cluster_says_so(redis_single: servers.RedisServer) -> None:
    backend = RedisBackend(f"redis+cluster://127.0.0.1:{redis_single.port}", timeout=PATIENT)
    with backend, pytest.raises(BackendError, match="cluster support disabled"):
        backend.get("k")


def test_a_clear_walks_over_all_servers(cluster: servers.Cluster) -> None:
    with RedisBackend(cluster.url, timeout=PATIENT) as backend:
        backend.set_many({f"{prefix}{number}": b"v" for prefix in ("a:", "b:") for number in range(900)})
        for number in range(20):
            backend.take(f"a:t{number}", b"t", 60)
        backend.clear("a:")
        assert sum(int(node.cli("DBSIZE")) for node in cluster.nodes) == 900
        assert backend.store_if_mine("a:t7", b"old", b"t") is False
        run(lambda: backend.aio.clear(""))
        assert sum(int(node.cli("DBSIZE")) for node in cluster.nodes) == 0


# ---- a slot that moves


def other_than(cluster: servers.Cluster, node: servers.RedisServer) -> servers.RedisServer:
    return next(each for each in cluster.nodes if each is not node)


def move(cluster: servers.Cluster, slot: int, source: servers.RedisServer, target: servers.RedisServer) -> None:
    begin_to_move(cluster, slot, source, target)
    end_moving(cluster, slot, source, target)


def begin_to_move(
    cluster: servers.Cluster, slot: int, source: servers.RedisServer, target: servers.RedisServer
) -> None:
    ids = node_ids(cluster)
    assert target.cli("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source]) == "OK"
    assert source.cli("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target]) == "OK"


def end_moving(cluster: servers.Cluster, slot: int, source: servers.RedisServer, target: servers.RedisServer) -> None:
    for key in source.cli("CLUSTER", "GETKEYSINSLOT", slot, 100).split():
        assert source.cli("MIGRATE", "127.0.0.1", target.port, key, 0, 5000) == "OK"
    for node in (target, source, *cluster.nodes):
        assert node.cli("CLUSTER", "SETSLOT", slot, "NODE", node_ids(cluster)[target]) == "OK"


CALLS: dict[str, Callable[[Any, str], Any]] = {
    "get": lambda backend, key: backend.get(key),
    "get_many": lambda backend, key: backend.get_many([key, *KEYS]),
    "kill": lambda backend, key: backend.kill(key),
    "take": lambda backend, key: backend.take(key, b"t", 60),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))
def test_a_slot_that_has_moved_is_found_where_it_is(cluster: servers.Cluster, call: Callable[[Any, str], Any]) -> None:
    key = "moves"
    slot = slot_of(key.encode())
    with RedisBackend(cluster.url, timeout=PATIENT) as backend:
        for on_loop in (False, True, False):
            backend.set(key, b"value")
            source = cluster.node_of(key)
            move(cluster, slot, source, other_than(cluster, source))
            assert cluster.node_of(key) is not source
            found = run(lambda: call(backend.aio, key)) if on_loop else call(backend, key)
            assert b"value" in (found, found[0])


def test_a_slot_that_is_moving_is_asked_for_where_its_keys_are(cluster: servers.Cluster) -> None:
    here, gone = "{moving}here", "{moving}gone"
    slot = slot_of(here.encode())
    with RedisBackend(cluster.url, timeout=PATIENT) as backend:
        backend.set_many({here: b"h", gone: b"g"})
        source = cluster.node_of(here)
        target = other_than(cluster, source)
        begin_to_move(cluster, slot, source, target)
        try:
            assert source.cli("MIGRATE", "127.0.0.1", target.port, gone, 0, 5000) == "OK"
            for _ in range(2):  # the server that is asked first is still the old one
                assert backend.get(here) == b"h"
                assert backend.get(gone) == b"g"
                assert run(lambda: backend.aio.get(gone)) == b"g"
            with pytest.raises(BackendError, match=r"slot is being moved.*try again"):
                backend.take("{moving}new", b"t", 60)  # the new server refuses what is on two keys, one of them missing
        finally:
            end_moving(cluster, slot, source, target)
        assert backend.take("{moving}new", b"t", 60) == (None, b"t")
        assert backend.get_many([here, gone]) == [b"h", b"g"]


@pytest.mark.parametrize("on_loop", [False, True], ids=["threads", "loop"])
def test_a_key_that_is_on_two_servers_is_waited_for(cluster: servers.Cluster, on_loop: bool) -> None:
    """The value has moved, and its token has not: a command on both is refused until the move is over."""
    key = "half" + str(on_loop)
    slot = slot_of(key.encode())
    with RedisBackend(cluster.url, timeout=PATIENT) as backend:
        backend.set(key, b"value")
        backend.take(key, b"t", 60, b"value")
        source = cluster.node_of(key)
        target = other_than(cluster, source)
        begin_to_move(cluster, slot, source, target)
        assert source.cli("MIGRATE", "127.0.0.1", target.port, key, 0, 5000) == "OK"
        kill = (lambda: run(lambda: backend.aio.kill(key))) if on_loop else (lambda: backend.kill(key))
        with pytest.raises(BackendError, match=r"slot is being moved.*try again"):
            kill()
        # and now it ends while the call waits
        mover = threading.Timer(0.03, end_moving, (cluster, slot, source, target))
        mover.start()
        while True:
            try:
                assert kill() == b"value"
                break
            except BackendError:
                assert mover.is_alive()
        mover.join()
        assert backend.store_if_mine(key, b"old", b"t") is False


# ---- servers that are gone


@pytest.mark.parametrize("error", [ConnectionError, asyncio.CancelledError, KeyboardInterrupt])
def test_after_a_call_that_was_broken_the_slots_are_asked_for_again(error: type[BaseException]) -> None:
    """The server may have been replaced, and a server that is gone may say nothing: the time limit cancels the call."""
    seeds = [("one", 1), ("two", 2)]
    route = ClusterRoute(seeds, (OSError,))
    slots = [[0, 16383, [b"one", 1, b"id"]]]
    request = Request(b"k", (b"GET", b"k"))
    for asked in seeds:
        steps = route.exchange([request])
        assert next(steps)[0].requests[0].words == (b"CLUSTER", b"SLOTS")
        assert steps.send([[slots]])[0] == Batch(("one", 1), [request])
        with pytest.raises(error):
            steps.throw(error())
        assert asked in route._nodes.order


def test_a_server_that_did_not_answer_for_the_slots_is_not_asked_first_again() -> None:
    route = ClusterRoute([("one", 1), ("two", 2)], (OSError,))
    steps = route.exchange([Request(b"k", (b"GET", b"k"))])
    assert next(steps)[0].address == ("one", 1)
    with pytest.raises(asyncio.CancelledError):
        steps.throw(asyncio.CancelledError())
    assert next(route.exchange([Request(b"k", (b"GET", b"k"))]))[0].address == ("two", 2)


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_a_server_that_is_gone_concerns_its_keys_only(how: str) -> None:
    options = {"cluster_require_full_coverage": "no", "cluster_node_timeout": 60_000}
    with servers.redis_cluster(**options) as cluster, RedisBackend(cluster.url, timeout=1) as backend:
        warm_up(backend)
        gone = cluster.nodes[0]  # the one that was asked for the slots
        lost = [key for key in KEYS if cluster.node_of(key) is gone]
        kept = [key for key in KEYS if key not in lost]
        getattr(gone, how)()
        began = time.monotonic()
        for on_loop in (False, True):
            get = (lambda key: run(lambda: backend.aio.get(key))) if on_loop else backend.get
            for key in (lost[0], lost[1]):
                with pytest.raises(BackendTimeout if how == "pause" else BackendError):
                    get(key)
            errors = 0
            for key in kept[:10]:
                try:
                    assert get(key) == b"v"
                except BackendError:
                    errors += 1
            assert errors <= 1, "the table of slots was asked for at the server that is gone, once"
        with pytest.raises(BackendError):
            backend.get_many(KEYS)
        assert backend.get_many(kept) == [b"v"] * len(kept)
        assert time.monotonic() - began < 30
        if how == "pause":
            gone.resume()
        else:
            gone.restart()
            servers.wait_until(lambda: "cluster_state:ok" in gone.cli("CLUSTER", "INFO"), "the server")
        servers.wait_until(lambda: is_whole(backend), "the cluster is whole again")
        servers.wait_until(lambda: is_whole_for_a_loop(backend, kept), "the cluster is whole for a loop")


def is_whole_for_a_loop(backend: RedisBackend, kept: list[str]) -> bool:
    with suppress(BackendError):
        return run(lambda: backend.aio.get_many(kept)) == [b"v"] * len(kept)
    return False


def warm_up(backend: RedisBackend) -> None:
    servers.wait_until(lambda: is_whole(backend), "the cluster")
    backend.set_many(dict.fromkeys(KEYS, b"v"))
    run(lambda: backend.aio.get_many(KEYS))


def is_whole(backend: RedisBackend) -> bool:
    try:
        backend.get_many(KEYS)
    except BackendError:
        return False
    return True


def test_nobody_is_there() -> None:
    hosts = ",".join(f"127.0.0.1:{servers.free_port()}" for _ in range(3))
    backend = RedisBackend(f"redis+cluster://{hosts}")
    for get in (backend.get, lambda key: run(lambda: backend.aio.get(key))):
        with pytest.raises(BackendError, match="cluster at 127"):
            get("k")


def test_threads_and_loops_share_one(cluster: servers.Cluster) -> None:
    with RedisBackend(cluster.url, timeout=PATIENT) as backend:

        def work(number: int) -> None:
            items = {f"{number}:{i}": f"{number}:{i}".encode() for i in range(20)}
            for _ in range(10):
                backend.set_many(items)
                assert backend.get_many(list(items)) == list(items.values())

        def work_on_loop(number: int) -> None:
            aio = backend.aio

            async def main() -> None:
                items = {f"{number}:{i}": f"{number}:{i}".encode() for i in range(20)}
                await aio.set_many(items)
                for _ in range(10):
                    got = await asyncio.gather(*[aio.get_many(list(items)) for _ in range(4)])
                    assert got == [list(items.values())] * 4

            run(main)

        jobs = [lambda n=n: work(n) for n in range(4)] + [lambda n=n: work_on_loop(n) for n in range(4, 7)]
        assert run_threads(*jobs) == [None] * 7
    with pytest.raises(CacheClosedError):
        backend.get("k")


def test_the_asynchronous_one_alone(cluster: servers.Cluster, on_loop: Any) -> None:
    backend = AsyncRedisBackend(cluster.url, timeout=PATIENT)

    async def main() -> None:
        async with backend:
            await backend.set_many(dict.fromkeys(KEYS, b"v"))
            assert await backend.delete_many([*KEYS, "none"]) == len(KEYS)

    on_loop(main)
