"""RedisBackend by way of a Sentinel: the primary that there is now."""

from __future__ import annotations

import time
from typing import Any

import pytest

from areole.backends import RedisBackend
from areole.errors import BackendError

from ..kit import run
from . import servers

pytestmark = pytest.mark.usefixtures("redis_py")

PATIENT = 10.0
"""Seconds; CI's machine may be slow, and that is no fault."""


def try_out(backend: RedisBackend) -> None:
    with backend:
        backend.set("k", b"\xff", 60)
        assert backend.get_many(["k", "x"]) == [b"\xff", None]
        assert run(lambda: backend.aio.kill("k")) == b"\xff"


def test_what_it_can_be_given(redis_sentinel: servers.Sentinel) -> None:
    redis = pytest.importorskip("redis")
    kit = redis_sentinel
    addresses = [("127.0.0.1", servers.free_port()), ("127.0.0.1", kit.sentinel.port)]
    hosts = ",".join(f"{host}:{port}" for host, port in addresses)
    try_out(RedisBackend(kit.url, timeout=PATIENT))
    try_out(RedisBackend(f"sentinel://{hosts}/{kit.service}", timeout=PATIENT))
    sentinel = redis.Sentinel(addresses, decode_responses=True)
    try_out(RedisBackend(sentinel, service_name=kit.service, timeout=PATIENT))
    with pytest.raises(TypeError, match="service_name"):
        RedisBackend(sentinel)
    client = sentinel.master_for(kit.service)
    try_out(RedisBackend(client, timeout=PATIENT))
    replica = sentinel.slave_for(kit.service)
    try_out(RedisBackend(replica, timeout=PATIENT))
    for each in (client, replica, *sentinel.sentinels):
        each.close()

    async def main() -> None:
        sentinel = redis.asyncio.Sentinel(addresses, decode_responses=True)
        backend = RedisBackend(sentinel, service_name=kit.service, timeout=PATIENT)
        assert await backend.aio.set("k", b"v")
        assert await backend.aio.get("k") == b"v"
        await backend.aio.aclose()
        for each in sentinel.sentinels:
            await each.aclose()

    run(main)


def test_a_service_that_no_sentinel_knows(redis_sentinel: servers.Sentinel) -> None:
    backend = RedisBackend(redis_sentinel.url.replace("mymaster", "other"), timeout=PATIENT)
    for get in (backend.get, lambda key: run(lambda: backend.aio.get(key))):
        with pytest.raises(BackendError, match="the Sentinels know no service other"):
            get("k")


def test_no_sentinel() -> None:
    backend = RedisBackend(f"sentinel://127.0.0.1:{servers.free_port()}/mymaster")
    with pytest.raises(BackendError, match="mymaster of the Sentinel at 127"):
        backend.get("k")


def test_a_replica_is_no_primary(redis_sentinel: servers.Sentinel) -> None:
    with RedisBackend(redis_sentinel.replica.url, timeout=PATIENT) as backend:
        for _ in range(2):
            with pytest.raises(BackendError, match=r"replica: name the primary, or a Sentinel by sentinel://"):
                backend.set("k", b"v")


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_after_a_failover_the_new_primary_is_used(how: str) -> None:
    with servers.redis_sentinel() as kit, RedisBackend(kit.url, timeout=1) as backend:

        async def main() -> None:
            aio = backend.aio
            await aio.set("k", b"old")
            assert backend.get("k") == b"old"
            getattr(kit.primary, how)()
            end = time.monotonic() + 60
            for use in (use_in_threads, use_on_loop):
                while True:
                    try:
                        await use(backend)
                        break
                    except BackendError:
                        assert time.monotonic() < end, "there is no new primary"
                        time.sleep(0.1)
            assert kit.port_of_primary() == kit.replica.port
            assert kit.replica.cli("MGET", "threads", "loop").split() == ["new", "new"]
            if how == "pause":  # the old one comes back, and is made a replica: nobody goes on with it
                kit.primary.resume()
                servers.wait_until(lambda: "role:slave" in kit.primary.cli("INFO", "replication"), "it is a replica")
            for number in range(20):
                backend.set(f"k{number}", b"v")
                assert await aio.get(f"k{number}") == b"v"

        run(main)


async def use_in_threads(backend: Any) -> None:
    backend.set("threads", b"new")


async def use_on_loop(backend: Any) -> None:
    await backend.aio.set("loop", b"new")
