"""A collector for prometheus_client: all caches of this process, read when they are scraped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

try:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
    from prometheus_client.registry import Collector
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"areole.metrics.prometheus needs prometheus_client ({error}): pip install 'areole[prometheus]'"
    ) from None

from .readings import COUNTERS, GAUGES, Instrument, Reading, fill_times_of, read_all, values_of

__all__ = ["CacheCollector"]


class CacheCollector(Collector):
    """Gives Prometheus the numbers of every cache of this process: `REGISTRY.register(CacheCollector())`.

    Args:
        prefix: what the names of all metrics begin with.

    Under concurrency:
        A scrape reads `cache_info()` of each cache, in the thread that scrapes, and takes no lock that a hit or a fill
        waits for. Each number is exact while no operation is running.
    """

    def __init__(self, prefix: str = "areole") -> None:
        self._prefix = prefix

    def collect(self) -> Iterator[Any]:
        readings = read_all()
        for instrument in COUNTERS:
            yield self._family(CounterMetricFamily, instrument, readings)
        for instrument in GAUGES:
            yield self._family(GaugeMetricFamily, instrument, readings)
        yield self._histogram(readings)

    def describe(self) -> Iterator[Any]:
        """Name the metrics without reading a cache: `register` calls this."""
        for kind, instruments in ((CounterMetricFamily, COUNTERS), (GaugeMetricFamily, GAUGES)):
            for instrument in instruments:
                yield self._family(kind, instrument, [])
        yield self._histogram([])

    def _family(self, kind: Any, instrument: Instrument, readings: list[Reading]) -> Any:
        labels = ["cache", *(["cause"] if instrument.causes else [])]
        family = kind(f"{self._prefix}_{instrument.name}", instrument.text, labels=labels)
        for values, number in values_of(instrument, readings):
            family.add_metric([values[label] for label in labels], number)
        return family

    def _histogram(self, readings: list[Reading]) -> Any:
        family = HistogramMetricFamily(
            f"{self._prefix}_fill_seconds", "How long fills took; of caches with stats=True", labels=["cache"]
        )
        for reading in readings:
            buckets, seconds = fill_times_of(reading)
            if buckets:
                family.add_metric([reading.cache], buckets, seconds)
        return family
