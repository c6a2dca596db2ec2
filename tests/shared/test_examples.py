"""The programs in `examples/` run, and do what they say."""

from __future__ import annotations

import asyncio
import importlib
import sqlite3
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from examples import two_processes, web_shop

from .servers import RedisServer, redis_server, require, require_redis_py


def test_two_processes_load_each_price_once_and_both_see_a_change(capsys: pytest.CaptureFixture[str]) -> None:
    two_processes.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition("all together ")[2].partition(";")[0] for line in lines[:2]] == ["4.00", "4.00"]
    assert lines[2] == "4 loads in both, for 4 prices"
    assert [line.partition("after a change ")[2].partition(";")[0] for line in lines[3:]] == ["5.50", "5.50"]


def test_a_price_that_was_changed_is_loaded_again(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as database:
        database.execute("CREATE TABLE prices (product PRIMARY KEY, price)")
    database.close()
    shop = two_processes.Shop(str(tmp_path))
    shop.change("bread", 100)
    assert [shop.price("bread"), shop.price("bread"), shop.loads] == [100, 100, 1]
    shop.change("bread", 120)
    assert [shop.price("bread"), shop.loads] == [120, 2]
    shop.close()


def test_the_web_shop_goes_on_while_its_server_is_killed_and_comes_back(capsys: pytest.CaptureFixture[str]) -> None:
    require("redis-server")
    require_redis_py()
    web_shop.main()
    *changes, last = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in changes] == [
        "with a redis-server",
        "after it was killed",
        "while it is away",
        "after it has come back",
    ]
    assert last.endswith("; 0 requests failed")


def load_app(url: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    for name in ("fastapi", "httpx", "redis"):
        pytest.importorskip(name)
    monkeypatch.setenv("REDIS_URL", url)
    monkeypatch.delitem(sys.modules, "examples.fastapi_app", raising=False)
    return importlib.import_module("examples.fastapi_app")


async def ask(module: ModuleType, *requests: tuple[str, str]) -> list[Any]:
    """Make these requests one after the other, on a loop of their own; return what is answered."""
    import httpx

    transport = httpx.ASGITransport(app=module.app)
    async with (
        module.app.router.lifespan_context(module.app),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        answers = [await client.request(method, path) for method, path in requests]
    return [answer.json() if answer.is_success else answer.status_code for answer in answers]


def test_the_application_loads_a_user_once_and_again_after_a_change(
    redis_single: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis_single.cli("FLUSHALL")
    module = load_app(redis_single.url, monkeypatch)
    ada = {"user_id": 7, "name": "Ada"}
    answers = asyncio.run(
        ask(
            module,
            ("GET", "/users/7"),
            ("GET", "/users/7"),
            ("PUT", "/users/7/name?name=Countess"),
            ("GET", "/users/7"),
            ("GET", "/users/9"),
        )
    )
    assert answers == [ada, ada, None, ada | {"name": "Countess"}, 404]
    assert module.LOADS == [7, 7, 9]
    assert redis_single.cli("GETRANGE", "shop:v1:user:7", 54, -1) == '{"user_id":7,"name":"Countess"}'
    assert asyncio.run(ask(module, ("GET", "/users/7"))) == [ada | {"name": "Countess"}]  # on another loop
    assert module.LOADS == [7, 7, 9]
    module.shared.close()


def test_the_application_does_without_a_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    with redis_server() as server:
        url = server.url
    module = load_app(url, monkeypatch)
    answers = asyncio.run(ask(module, ("GET", "/users/8"), ("GET", "/users/8")))
    assert answers == [{"user_id": 8, "name": "Grace"}] * 2
    assert module.LOADS == [8, 8]
    module.shared.close()
