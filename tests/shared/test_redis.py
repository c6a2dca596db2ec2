"""RedisBackend on a server: what it is given, what it leaves alone, its loops, its end. The contract: test_backends."""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from areole import CACHE_MISS, AtomicCache, SharedCache
from areole.backends import AsyncRedisBackend, RedisBackend
from areole.backends.redis_links import Links
from areole.errors import BackendError, CacheClosedError, SettingsError

from ..kit import collect, run, run_python, run_threads
from . import servers

pytestmark = pytest.mark.usefixtures("redis_py")

PATIENT = 10.0
"""Seconds; CI's machine may be slow, and that is no fault."""


@pytest.fixture
def server(redis_single: servers.RedisServer) -> servers.RedisServer:
    redis_single.flush()
    return redis_single


# ---- what it is given


def try_out(backend: RedisBackend) -> None:
    """Use it in threads and on a loop."""
    with backend:
        assert backend.set("k", b"\xff\0", 60)
        assert backend.get_many(["k", "x"]) == [b"\xff\0", None]
        assert backend.take("x", b"\xff", 60) == (None, b"\xff")
        assert run(lambda: backend.aio.store_if_mine("x", b"v", b"\xff"))
        assert run(lambda: backend.aio.get_many(["x", "k"])) == [b"v", b"\xff\0"]
        assert backend.kill_many(["k", "x", "y"]) == [b"\xff\0", b"v", None]


def test_urls(server: servers.RedisServer) -> None:
    for url in (
        server.url,
        server.socket_url,
        server.socket_url.replace("unix://", "redis+unix://"),
        server.url.replace("redis://", "valkey://"),
        server.url.replace("redis://", "REDIS://"),
        f"redis://localhost:{server.port}",
        f"redis://localhost:{server.port}?db=2&client_name=tests&socket_keepalive=1",
    ):
        try_out(RedisBackend(url, timeout=PATIENT))


def test_databases_are_apart(server: servers.RedisServer) -> None:
    with RedisBackend(server.url) as zero, RedisBackend(server.url[:-1] + "3", timeout=PATIENT) as three:
        three.set("k", b"v")
        assert zero.get("k") is None
        zero.clear("")
        assert three.get("k") == b"v"
        three.clear("")


def make_clients(redis: Any, server: servers.RedisServer) -> dict[str, Any]:
    class Own(redis.Redis):  # type: ignore[misc]
        pass

    class OwnConnection(redis.Connection):  # type: ignore[misc]
        pass

    own_connections = redis.ConnectionPool(connection_class=OwnConnection, port=server.port)
    return {
        "plain": redis.Redis(port=server.port),
        "unix": redis.Redis(unix_socket_path=server.socket_path),
        "decoding": redis.Redis(port=server.port, decode_responses=True, encoding="latin-1", socket_timeout=50),
        "subclass": Own(port=server.port),
        "single connection": redis.Redis(port=server.port, single_connection_client=True),
        "protocol 3": redis.Redis(port=server.port, protocol=3, health_check_interval=1),
        "blocking pool": redis.Redis(connection_pool=redis.BlockingConnectionPool(port=server.port, max_connections=1)),
        "own connections": redis.Redis(connection_pool=own_connections),
        "from_url": redis.Redis.from_url(f"{server.url}?decode_responses=1&socket_timeout=50"),
    }


CLIENTS = [
    "plain",
    "unix",
    "decoding",
    "subclass",
    "single connection",
    "protocol 3",
    "blocking pool",
    "own connections",
    "from_url",
]


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_gives_its_settings_and_is_left_alone(server: servers.RedisServer, name: str) -> None:
    redis = pytest.importorskip("redis")
    clients = make_clients(redis, server)
    assert list(clients) == CLIENTS
    client = clients[name]
    pool = client.connection_pool
    before = dict(pool.connection_kwargs)
    client.set("of the client", 1)
    backend = RedisBackend(client, timeout=PATIENT)
    if name == "own connections":
        with pytest.raises(TypeError, match=r"class of your own.*redis\.asyncio client"):
            _ = backend.aio
        assert backend.set("k", b"v")
        assert type(backend._links._idle[None][0]).__name__ == "OwnConnection"
        backend.close()
    else:
        try_out(backend)
    assert pool.connection_kwargs == before
    assert client.connection_pool is pool
    assert client.get("of the client") in (b"1", "1")
    client.close()
    for each in clients.values():
        each.connection_pool.disconnect()


def test_a_client_of_loops_serves_threads_too_unless_its_connections_are_for_loops_alone(
    server: servers.RedisServer,
) -> None:
    redis = pytest.importorskip("redis.asyncio")

    async def main() -> None:
        client = redis.Redis(port=server.port, decode_responses=True)
        await client.set("k", "v")
        backend = RedisBackend(client, timeout=PATIENT)
        assert await backend.aio.get("k") == b"v"
        assert backend.get("k") == b"v"
        backend.close()
        own = redis.Redis(connection_pool=redis.ConnectionPool(type("Own", (redis.Connection,), {}), port=server.port))
        with pytest.raises(TypeError, match=r"RedisBackend\.get: a redis\.asyncio client serves `aio` only"):
            RedisBackend(own).get("k")
        alone = AsyncRedisBackend(client, timeout=PATIENT)
        assert await alone.get_many(["k"]) == [b"v"]
        await alone.aclose()
        await backend.aio.aclose()
        assert await client.get("k") == "v"
        await client.aclose()

    run(main)


@pytest.mark.parametrize("target", [None, 7, b"redis://localhost", object(), ["redis://localhost"]])
def test_what_is_no_target_is_refused(target: Any) -> None:
    with pytest.raises(TypeError, match=f"target must be a URL.*not {type(target).__name__}"):
        RedisBackend(target)


@pytest.mark.parametrize("timeout", [0, -1, None, "1", float("inf"), float("nan")])
def test_a_timeout_is_needed(timeout: Any) -> None:
    for make in (RedisBackend, AsyncRedisBackend):
        with pytest.raises(ValueError, match=f"{make.__name__}: timeout must be"):
            make("redis://localhost", timeout=timeout)


BAD_URLS = {
    "http://localhost": "must begin with redis://",
    "localhost:6379": "must begin with redis://",
    "redis+tcp://localhost": "must begin with redis://",
    "": "must begin with redis://",
    "redis://localhost/zero": "not the number of a database",
    "redis://localhost/0/1": "not the number of a database",
    "redis://localhost?db=x": "percent-encode",
    "redis://localhost:port": "percent-encode",
    "redis://user:se/cret@localhost": "not the number of a database|percent-encode",
    "redis://localhost?colour=red": "not known: colour",
    "redis://localhost?max_connections=5": "not known: max_connections",
    "redis://localhost?colour=": "not known: colour",
    "redis://localhost?socket_timeout=5": "socket_timeout: use the argument `timeout`|argument `timeout`",
    "redis+cluster://localhost/3": "database 0 only",
    "sentinel://localhost:26379": "names no service",
    "sentinel://localhost:26379/mymaster/x": "not the number of a database",
    "unix://": "has no path",
}


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_url_that_cannot_be_used_is_refused(url: str) -> None:
    for make in (RedisBackend, AsyncRedisBackend):
        with pytest.raises(SettingsError, match=BAD_URLS[url]) as caught:
            make(url)
        assert make.__name__ in str(caught.value)
        assert "cret" not in str(caught.value)


def test_what_urls_say() -> None:
    def servers_of(url: str) -> Any:
        return RedisBackend(url)._servers

    many = servers_of("redis+cluster://me:pass%2Fword@one:7000,two,[::1]:7002?client_name=c")
    assert many.kind == "cluster"
    assert many.addresses == (("one", 7000), ("two", 6379), ("::1", 7002))
    assert many.kwargs.items() >= {"username": "me", "password": "pass/word", "client_name": "c"}.items()
    watched = servers_of("sentinel://:pw@one,two:26380/main/2?sentinel_password=other")
    assert (watched.kind, watched.service) == ("sentinel", "main")
    assert watched.addresses == (("one", 26379), ("two", 26380))
    assert watched.kwargs.items() >= {"password": "pw", "db": 2}.items()
    assert watched.ask_kwargs == {"password": "other"}
    secure = servers_of("valkeys://host/1?ssl_cert_reqs=none")
    assert secure.make.__name__ == "SSLConnection"
    assert servers_of("rediss+cluster://host").make.__name__ == "SSLConnection"
    assert [type(each.connection(None, 1)).__module__ for each in (secure, secure.for_loops())] == [
        "redis.connection",
        "redis.asyncio.connection",
    ]


def test_redis_py_is_imported_when_it_is_used_and_named_when_it_is_missing() -> None:
    printed = run_python("""
        import sys
        import areole.backends
        print("redis" in sys.modules)
        sys.modules["redis"] = None
        try:
            areole.backends.RedisBackend("redis://localhost")
        except ModuleNotFoundError as error:
            print(error)
    """)
    assert printed.splitlines()[0] == "False"
    assert "pip install 'areole[redis]'" in printed


# ---- what it does there


def test_ttls_go_to_the_server(server: servers.RedisServer) -> None:
    with RedisBackend(server.socket_url, timeout=PATIENT) as backend:
        backend.set("k", b"v", 1e30)
        assert backend.ttl_of("k") == pytest.approx(1e14, rel=1e-6)
        assert backend.expire("k", float("inf"))
        backend.set("k", b"v", 1e-6)
        assert backend.ttl_of("k") in (CACHE_MISS, 0.001, 0.0)
        backend.set_many({"a": b"1", "b": b"2"}, 50)
        assert all(40_000 < int(server.cli("PTTL", key)) <= 50_000 for key in "ab")
        backend.take("t", b"token", 50)
        assert 40_000 < int(server.cli("PTTL", "{t}!token")) <= 50_000
        assert backend.renew("t", b"token", 500)
        assert 400_000 < int(server.cli("PTTL", "{t}!token")) <= 500_000


def test_a_value_of_another_type_is_said_and_left(server: servers.RedisServer) -> None:
    server.cli("RPUSH", "list", "1")
    with RedisBackend(server.socket_url, timeout=PATIENT) as backend:
        for call in (
            lambda: backend.get("list"),
            lambda: backend.kill("list"),
            lambda: backend.take("list", b"t", 60),
        ):
            with pytest.raises(BackendError, match=r"WRONGTYPE.*use another namespace"):
                call()
        assert server.cli("LLEN", "list") == "1"
        assert backend.set("list", b"v")


def test_a_hit_in_the_store_takes_one_request_and_a_batch_that_fills_three(
    server: servers.RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    send = Links.send
    monkeypatch.setattr(Links, "send", lambda self, batches: sent.append(len(batches)) or send(self, batches))
    with RedisBackend(server.url, timeout=PATIENT) as backend:
        shop = SharedCache[str](backend, namespace="shop", ttl=60)
        shop.set_many({"a": "A", "b": "B"})
        shop.get_or_fill("c", str)  # the server knows the scripts from here on
        one = AtomicCache(str, shared=shop)
        many = AtomicCache(fill_many=lambda keys: dict.fromkeys(keys, "filled"), shared=shop)
        sent.clear()
        assert one["a"] == "A" and sent == [1]
        assert many.fetch_many(["b", *"0123456789"]) == {"b": "B", **dict.fromkeys("0123456789", "filled")}
        assert sent == [1] * 4
        assert shop.get_many(["5", "b"]) == {"5": "filled", "b": "B"}
        server.cli("RPUSH", "shop:v1:list", "no text")
        with pytest.raises(BackendError, match="WRONGTYPE"):
            many.fetch_many(["x", "list", "y"])
        assert shop.get_many(["x", "y"]) == {"x": "filled", "y": "filled"}


@pytest.mark.parametrize("is_async", [False, True])
def test_a_batch_may_be_the_first_that_a_namespace_sees_and_may_fail(
    server: servers.RedisServer, is_async: bool
) -> None:
    """Then it makes versions, of the namespace and of its tags, and gives its tokens back."""
    made: list[str] = []

    def load(keys: list[str]) -> list[str]:
        made.extend(keys)
        if len(made) == 2:
            raise ZeroDivisionError
        return keys

    async def awaited() -> Any:
        async with shop.aio as cache:
            return await cache.get_or_fill_many(["a", "b"], load, tags=["t", "u"])

    with RedisBackend(server.url, timeout=PATIENT) as backend:
        shop = SharedCache[str](backend, namespace="fresh", ttl=60)
        fill: Any = (lambda: run(awaited)) if is_async else lambda: shop.get_or_fill_many(["a", "b"], load, tags=["t"])
        with pytest.raises(ZeroDivisionError):
            fill()
        assert server.cli("EXISTS", "{fresh:v1:a}!token", "{fresh:v1:b}!token") == "0"
        assert fill() == {"a": "a", "b": "b"} == shop.get_many(["a", "b"])


def test_a_clear_walks_over_many_keys_and_leaves_nothing_of_its_own(server: servers.RedisServer) -> None:
    with RedisBackend(server.socket_url, timeout=PATIENT) as backend:
        keys = [f"{prefix}{number}" for prefix in ("a[1]:", "a1:", "{t}", "a}") for number in range(1500)]
        backend.set_many(dict.fromkeys(keys, b"v"))
        for key in keys[::100]:
            backend.take(key + "!", b"token", 60)
        for prefix in ("a[1]:", "{t}", "a}"):
            backend.clear(prefix)
        left = server.cli("KEYS", "*").split()
        assert len(left) == 1500 + 15
        assert all("a1:" in name for name in left)
        backend.clear("")
        assert server.cli("DBSIZE") == "0"


def test_a_fill_that_began_before_a_clear_stores_nothing_while_it_walks(server: servers.RedisServer) -> None:
    """1. the fill takes its token   2. clear walks   3. the fill stores   4. clear walks on, past what was stored."""
    with RedisBackend(server.socket_url, timeout=PATIENT) as backend:
        for key in ("k1", "{k}1", "k}1"):
            assert backend.take(key, b"token", 60) == (None, b"token")
            steps = backend._commands.clear("")
            batches = next(steps)
            was_walked = False
            while True:
                words = batches[0].requests[0].words
                if words[:2] == (b"SCAN", b"0") and words[3] == b"*":  # the second walk, which removes values, begins
                    was_walked = True
                    assert backend.store_if_mine(key, b"old", b"token") is False
                try:
                    batches = steps.send(backend._links.send(batches))
                except StopIteration:
                    break
            assert was_walked
            assert backend.get(key) is None


def test_an_old_server_side_type_of_answer_is_no_matter(server: servers.RedisServer) -> None:
    with RedisBackend(f"{server.url}?decode_responses=1&encoding=latin-1", timeout=PATIENT) as backend:
        backend.set("é", "é".encode())
        assert backend.get("é") == "é".encode()
        assert server.cli("EXISTS", "é") == "1"


# ---- its end


def test_close_ends_all_and_may_be_called_again(server: servers.RedisServer) -> None:
    backend = RedisBackend(server.url, timeout=PATIENT)
    run_threads(*[lambda: backend.get("k")] * 5)
    aio = backend.aio
    run(lambda: aio.get("k"))
    backend.close()
    backend.close()
    for call in (lambda: backend.get("k"), lambda: backend.set("k", b"v"), lambda: run(lambda: aio.get("k"))):
        with pytest.raises(CacheClosedError, match="closed: make another one"):
            call()
    assert backend.aio is aio
    never_used = RedisBackend(server.url)
    never_used.close()
    with pytest.raises(CacheClosedError):
        run(lambda: never_used.aio.get("k"))
    servers.wait_until(lambda: connections(server) == 0, "the server's side of it")


def connections(server: servers.RedisServer) -> int:
    """Count the connections to the server, but for the one of redis-cli that asks."""
    return sum("cmd=client" not in line for line in server.cli("CLIENT", "LIST").splitlines())


def test_a_call_that_runs_while_it_is_closed_closes_its_connection(server: servers.RedisServer) -> None:
    backend = RedisBackend(server.url, timeout=PATIENT)
    links = backend._links
    read = links._read

    def close_first(connection: Any) -> Any:
        backend.close()
        return read(connection)

    links._read = close_first  # type: ignore[method-assign]
    backend.get("k")
    assert not links._idle[None]


# ---- loops


def test_one_twin(server: servers.RedisServer) -> None:
    backend = RedisBackend(server.url, timeout=7)
    twins = run_threads(*[lambda: backend.aio] * 8)
    assert len(set(map(id, twins))) == 1
    assert twins[0].timeout == 7


def test_any_number_of_loops(server: servers.RedisServer) -> None:
    backend = RedisBackend(server.url, timeout=PATIENT)
    backend.set_many({f"k{number}": str(number).encode() for number in range(6)})
    barrier = threading.Barrier(6)

    def work(number: int) -> None:
        async def main() -> None:
            barrier.wait(PATIENT)
            for _ in range(30):
                found = await asyncio.gather(*[backend.aio.get(f"k{(number + i) % 6}") for i in range(6)])
                assert found == [str((number + i) % 6).encode() for i in range(6)]
            if number % 2:
                await backend.aio.aclose()
                assert await backend.aio.get("k0") == b"0", "others can be made"

        run(main)

    assert run_threads(*[lambda number=number: work(number) for number in range(6)]) == [None] * 6
    servers.wait_until(lambda: connections(server) == 1, "the loops' connections are closed with them")
    backend.close()


def closed_without_asyncgens(main: Callable[[], Any]) -> None:
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()


@pytest.mark.parametrize("how", [asyncio.run, closed_without_asyncgens])
@pytest.mark.parametrize("is_dropped", [True, False], ids=["dropped", "used again"])
def test_a_loop_that_ends_leaves_no_noise(server: servers.RedisServer, how: Any, is_dropped: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        backend = AsyncRedisBackend(server.url, timeout=PATIENT)

        async def main() -> None:
            await asyncio.gather(*[backend.get("k") for _ in range(3)])

        for _ in range(3):
            how(main if how is closed_without_asyncgens else main())
            collect()
        if is_dropped:
            del main, backend
        collect()
    if is_dropped:
        servers.wait_until(lambda: connections(server) == 0, "their sockets are closed")
    else:
        assert len(backend._loops.records) <= 1


def test_a_backend_that_is_dropped_on_a_loop_closes_its_connections(server: servers.RedisServer, on_loop: Any) -> None:
    async def main() -> None:
        backend = AsyncRedisBackend(server.url, timeout=PATIENT)
        await backend.get("k")
        assert connections(server) == 1
        del backend
        collect()
        for _ in range(200):
            await asyncio.sleep(0.01)
            if connections(server) == 0:
                return
        pytest.fail("they are still open")

    on_loop(main)


# ---- TLS


def test_tls(tmp_path: Path) -> None:
    servers.require("openssl")
    with servers.redis_server_with_tls(tmp_path) as (_, port, certificate):
        url = f"rediss://localhost:{port}/0?ssl_ca_certs={certificate}"
        try_out(RedisBackend(url, timeout=PATIENT))
        stranger = RedisBackend(f"rediss://localhost:{port}/0", timeout=PATIENT)
        with pytest.raises(BackendError, match="certificate verify failed"):
            stranger.get("k")
        redis = pytest.importorskip("redis")
        client = redis.Redis(port=port, ssl=True, ssl_ca_certs=str(certificate))
        try_out(RedisBackend(client, timeout=PATIENT))
        client.close()
