"""The servers of the tests do what their kit says."""

from __future__ import annotations

import os

import pytest

from . import servers


def test_a_server_is_stopped_restarted_and_paused() -> None:
    with servers.redis_server(appendonly="yes", appendfsync="always", maxmemory="8mb") as server:
        assert server.cli("CONFIG", "GET", "maxmemory").split() == ["maxmemory", str(8 << 20)]
        assert server.cli("SET", "a", "1") == "OK"
        first, port = server.pid, server.port
        server.kill()
        assert not server.is_answering()
        server.restart()
        assert server.pid != first and server.port == port
        assert server.cli("GET", "a") == "1"
        server.pause()
        server.resume()
        assert server.cli("GET", "a") == "1"
        assert os.path.exists(server.socket_path)
        last = server.pid
    with pytest.raises(ProcessLookupError):
        os.kill(last, 0)


def test_a_paused_server_is_ended_too() -> None:
    with servers.redis_server() as server:
        server.pause()


def test_a_cluster_has_three_primaries(redis_cluster: servers.Cluster) -> None:
    assert {redis_cluster.node_of(key).port for key in "abcdefgh"} == {node.port for node in redis_cluster.nodes}
    node = redis_cluster.node_of("a")
    assert node.cli("SET", "a", "1") == "OK"


def test_a_sentinel_makes_the_replica_the_primary() -> None:
    with servers.redis_sentinel() as kit:
        assert kit.port_of_primary() == kit.primary.port
        kit.primary.kill()
        servers.wait_until(lambda: kit.port_of_primary() == kit.replica.port, "the failover")
        servers.wait_until(lambda: kit.replica.cli("SET", "a", "1") == "OK", "the new primary")


def test_a_test_without_a_server_is_skipped_or_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AREOLE_REQUIRE_REDIS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="not installed"):
        servers.require("no-such-redis-server")
    monkeypatch.setenv("AREOLE_REQUIRE_REDIS", "1")
    with pytest.raises(pytest.fail.Exception, match="not installed"):
        servers.require("no-such-redis-server")
