"""The collector for prometheus_client, and the dashboard over what it exports."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from areole import AtomicCache, SharedCache, Storage
from areole._state.live_caches import live_caches

from ..kit import collect, run_threads
from .kit import NUMBERS, used_cache

pytest.importorskip("prometheus_client")

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from areole.metrics.prometheus import CacheCollector

DASHBOARD = Path(__file__).parents[2] / "examples" / "grafana_dashboard.json"


def scraped() -> list[Any]:
    """All samples of a scrape, as a server of Prometheus reads them."""
    registry = CollectorRegistry(auto_describe=True)
    registry.register(CacheCollector())
    text = generate_latest(registry).decode()
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def numbers_of(cache: str, samples: list[Any]) -> dict[str, float]:
    of_cache = [sample for sample in samples if sample.labels["cache"] == cache and "fill_seconds" not in sample.name]
    names = [re.fullmatch(r"areole_(\w+?)(?:_total)?", sample.name)[1] for sample in of_cache]  # type: ignore[index]
    return {
        f"{name} {sample.labels.get('cause', '')}".rstrip(): sample.value
        for name, sample in zip(names, of_cache, strict=True)
    }


def labels_in(samples: list[Any]) -> set[str]:
    return {sample.labels["cache"] for sample in samples}


def test_every_number_of_a_cache_is_exported() -> None:
    cache = used_cache("every number")
    samples = scraped()
    assert numbers_of("every number", samples) == NUMBERS | {"bytes": cache.size_in_bytes}
    times = {
        sample.labels.get("le", sample.name): sample.value
        for sample in samples
        if sample.labels["cache"] == "every number" and "fill_seconds" in sample.name
    }
    assert times["0.1"] == 0 and times["0.25"] == times["+Inf"] == times["areole_fill_seconds_count"] == 4
    assert times["areole_fill_seconds_sum"] == pytest.approx(0.8)
    assert cache.cache_info().oversize == 1


def test_without_stats_hits_and_fill_times_are_no_zeros_but_absent() -> None:
    cache = AtomicCache(str, name="without stats")
    cache[1], cache[1]
    samples = scraped()
    numbers = numbers_of("without stats", samples)
    assert numbers["misses"] == numbers["fills"] == 1 and not {"hits", "bytes", "max_items"} & numbers.keys()
    assert not [s for s in samples if s.labels["cache"] == "without stats" and "fill_seconds" in s.name]
    assert cache._state.fill_times is None


class Shop:
    @AtomicCache.memoize(stats=True)
    def price(self, item: str) -> int:
        return len(item)


def test_caches_are_told_apart_by_what_they_are_of_or_where_they_are_made() -> None:
    shops = Shop(), Shop()
    for shop in shops:
        shop.price("tea")
    here = [Storage() for _ in range(2)]
    there = Storage()
    shared = SharedCache[int]("memory://", namespace="told-apart")
    shared.get_or_fill("key", lambda key: 1)
    samples = scraped()
    labels = labels_in(samples)
    assert here[0].name == here[1].name != there.name
    assert re.fullmatch(r"Storage at tests\.metrics\.test_prometheus:\d+", here[0].name)
    assert {here[0].name, f"{here[0].name} #2", there.name} <= labels
    prices = numbers_of(f"{__name__}.Shop.price", samples)
    assert prices["items"] == prices["fills"] == 2  # of all instances
    stores = numbers_of("told-apart", samples)
    assert stores["fills"] == 1 and stores["backend_errors"] == 0 and "max_items" not in stores


def test_a_label_stays_with_its_cache_and_goes_with_it() -> None:
    first, second, third = (Storage(name="one name", max_items=number) for number in (1, 2, 3))

    def limits() -> dict[str, float]:
        return {s.labels["cache"]: s.value for s in scraped() if s.name == "areole_max_items"}

    before = {label: limit for label, limit in limits().items() if label.startswith("one name")}
    assert before == {"one name": 1, "one name #2": 2, "one name #3": 3}
    del first
    collect()
    after = {label: limit for label, limit in limits().items() if label.startswith("one name")}
    assert after == {"one name #2": 2, "one name #3": 3}
    assert second.name == third.name == "one name"


def test_scrapes_at_once_give_each_cache_one_label() -> None:
    stores = [Storage(name="at once") for _ in range(20)]
    results = run_threads(*[lambda: labels_in(scraped()) for _ in range(3)])
    expected = {"at once", *(f"at once #{number}" for number in range(2, 21))}
    assert [{label for label in labels if label.startswith("at once")} for labels in results] == [expected] * 3
    assert len(stores) == 20


def test_the_cache_of_an_instance_is_not_registered_and_nothing_keeps_one_alive() -> None:
    before = len(live_caches.all())
    shops = [Shop() for _ in range(10)]
    for shop in shops:
        shop.price("tea")
    assert len(live_caches.all()) == before
    cache = AtomicCache(str, name="to be freed")
    scraped()
    del cache
    collect()
    assert "to be freed" not in labels_in(scraped())


def test_the_dashboard_asks_for_what_is_exported_alone() -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    cache, shared = used_cache("dashboard"), SharedCache[int]("memory://", namespace="dashboard-shared")
    samples = scraped()
    exported = {sample.name for sample in samples}
    labels = {name: {label for s in samples if s.name == name for label in s.labels} for name in exported}
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries += [each["query"]["query"] for each in dashboard["templating"]["list"] if each["type"] == "query"]
    asked = {name for query in queries for name in re.findall(r"\bareole_\w+", query)}
    assert asked <= exported
    assert exported - asked == set(), "the dashboard lacks these"
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert all(named <= labels[name] for name in re.findall(r"\bareole_\w+", target["expr"]))
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    assert cache and shared
