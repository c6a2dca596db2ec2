"""A server that ends is no news for asyncio's log: the call that finds its connection so raises."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("redis")

from areole.backends.redis_async_links import LoopLinks
from areole.backends.redis_clients import servers_of

from .servers import RedisServer


def lose(connection: Any) -> asyncio.Future[Any]:
    """Have the connection lost as by a server that ends; return what asyncio would report when it is freed."""
    writer = connection._writer
    closed: asyncio.Future[Any] = writer.transport.get_protocol()._get_close_waiter(writer)
    writer.transport._force_close(BrokenPipeError("the server has ended"))
    return closed


@pytest.mark.parametrize("url", ["url", "socket_url"])
def test_asyncio_does_not_report_that_a_connection_was_lost(redis_single: RedisServer, url: str) -> None:
    async def run() -> asyncio.Future[Any]:
        links = LoopLinks(servers_of("test", getattr(redis_single, url), None).for_loops(), timeout=5)
        connection = await links._take(None)
        closed = lose(connection)
        await asyncio.wait([closed])
        await links._put_back(None, connection)
        await links.end()
        return closed

    assert not asyncio.run(run())._log_traceback  # type: ignore[attr-defined]


@pytest.mark.parametrize("url", ["url", "socket_url"])
def test_nor_one_that_was_lost_in_its_handshake(redis_single: RedisServer, url: str) -> None:
    found: list[asyncio.Future[Any]] = []

    async def fail(connection: Any, *args: Any, **kwargs: Any) -> None:
        found.append(lose(connection))
        await asyncio.wait(found)
        raise ConnectionError

    redis = pytest.importorskip("redis")

    async def run() -> None:
        servers = servers_of("test", getattr(redis_single, url), None).for_loops()
        lost = type("Lost", (servers.make,), {"on_connect": fail, "on_connect_check_health": fail})
        links = LoopLinks(replace(servers, make=lost), timeout=5)
        with pytest.raises((OSError, redis.ConnectionError)):
            await links._take(None)

    asyncio.run(run())
    assert [each._log_traceback for each in found] == [False]  # type: ignore[attr-defined]
