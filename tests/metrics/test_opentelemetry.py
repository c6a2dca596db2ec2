"""The observable instruments of OpenTelemetry, read by its SDK."""

from __future__ import annotations

from typing import Any

import pytest

from .kit import NUMBERS, used_cache

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from areole.metrics import opentelemetry
from areole.metrics.opentelemetry import observe_caches
from areole.metrics.readings import read_all


def points_of(cache: str, reader: Any) -> dict[str, float]:
    (resource,) = reader.get_metrics_data().resource_metrics
    return {
        " ".join([metric.name, *(value for name, value in sorted(point.attributes.items()) if name != "cache")]): (
            point.value
        )
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
        if point.attributes.get("cache") == cache
    }


def test_every_number_of_a_cache_is_observed_at_each_collection() -> None:
    cache = used_cache("observed")
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    observe_caches(provider.get_meter("test"))
    for hits in (1, 2):
        points = points_of("observed", reader)
        times = {name: points.pop(name) for name in list(points) if "fill_time" in name}
        expected = NUMBERS | {"hits": hits, "bytes": cache.size_in_bytes}
        assert points == {f"areole.{name}": value for name, value in expected.items()}
        assert times["areole.fill_time"] == pytest.approx(0.8)
        assert times["areole.fill_time.bucket 0.1"] == 0 and times["areole.fill_time.bucket +Inf"] == 4
        assert cache["5"] == 5
    provider.shutdown()


def test_one_collection_reads_each_cache_once(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = []
    monkeypatch.setattr(opentelemetry, "read_all", lambda: readings.append(1) or read_all())
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    observe_caches(provider.get_meter("test"))
    for number in (1, 2, 3):
        reader.get_metrics_data()
        assert len(readings) == number
    provider.shutdown()
