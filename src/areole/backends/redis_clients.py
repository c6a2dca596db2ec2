"""What a Redis backend is given, as what it needs to connect. A client itself is neither used nor changed."""

from __future__ import annotations

from typing import Any

from .redis_servers import SENTINEL_PORT, Servers, import_redis, own_settings, without_address
from .redis_urls import servers_of_url

__all__ = ["check_timeout", "servers_of"]


def check_timeout(call: str, timeout: float) -> float:
    if not (isinstance(timeout, int | float) and 0 < timeout < float("inf")):
        raise ValueError(f"{call}: timeout must be a number of seconds above 0, not {timeout!r}")
    return timeout


def servers_of(call: str, target: Any, service: str | None) -> Servers:
    """Read a URL or a client. TypeError, SettingsError: it is neither, or cannot be used; they name `call`."""
    redis = import_redis()
    if isinstance(target, str):
        return servers_of_url(redis, call, target)
    for module, is_async in ((redis, False), (redis.asyncio, True)):
        if isinstance(target, module.RedisCluster):
            return _of_cluster(target, is_async)
        if isinstance(target, module.Sentinel):
            if not service:
                raise TypeError(f"{call}: a Sentinel knows many services: say which, by service_name")
            return _of_pool(module, target.master_for(service).connection_pool, is_async)
        if isinstance(target, module.Redis):
            return _of_pool(module, target.connection_pool, is_async)
    raise TypeError(
        f"{call}: target must be a URL, or a Redis, RedisCluster or Sentinel of redis-py, not {type(target).__name__}"
    )


def _of_pool(module: Any, pool: Any, is_async: bool) -> Servers:
    kwargs = own_settings(pool.connection_kwargs)
    sentinel = getattr(pool, "sentinel_manager", None)
    if sentinel is None:
        return Servers("one", pool.connection_class, kwargs, is_async)
    has_tls = issubclass(pool.connection_class, module.SSLConnection)
    pools = [client.connection_pool for client in sentinel.sentinels]
    asked = [each.connection_kwargs for each in pools]
    return Servers(
        "sentinel",
        module.SSLConnection if has_tls else module.Connection,  # redis-py's own ask the Sentinel themselves
        without_address(kwargs),
        is_async,
        tuple((each.get("host", "localhost"), int(each.get("port", SENTINEL_PORT))) for each in asked),
        pool.service_name,
        pools[0].connection_class,
        without_address(own_settings(asked[0])),
    )


def _of_cluster(cluster: Any, is_async: bool) -> Servers:
    nodes = list(cluster.nodes_manager.startup_nodes.values())
    of = nodes[0] if is_async else cluster.get_redis_connection(nodes[0]).connection_pool
    kwargs = without_address(own_settings(of.connection_kwargs))
    kwargs.pop("redis_connect_func", None)  # of that client: it asks for reads from replicas
    addresses = tuple((node.host, int(node.port)) for node in nodes)
    remap = cluster.nodes_manager.address_remap
    return Servers("cluster", of.connection_class, kwargs, is_async, addresses, remap=remap)
