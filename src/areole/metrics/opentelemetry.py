"""Observable instruments of OpenTelemetry: all caches of this process, read when they are collected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

try:
    from opentelemetry.metrics import Meter, Observation, get_meter
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"areole.metrics.opentelemetry needs opentelemetry-api ({error}): pip install 'areole[opentelemetry]'"
    ) from None

from .readings import COUNTERS, GAUGES, Reading, fill_times_of, read_all, values_of

__all__ = ["observe_caches"]


def observe_caches(meter: Meter | None = None) -> None:
    """Make instruments that observe every cache of this process; call it once for a meter.

    Args:
        meter: of which they are; by default that of the global provider, called "areole".

    There is no observable histogram: fill times are the counters `areole.fill_time` (seconds) and
    `areole.fill_time.bucket`, of which the attribute `le` is the upper bound, as in Prometheus.

    Under concurrency:
        A collection reads `cache_info()` of each cache once, in the thread that collects. Two that run at once may
        share a reading.
    """
    meter = get_meter("areole") if meter is None else meter
    readings = _Readings()
    for instrument in COUNTERS:
        observe = partial(values_of, instrument)
        meter.create_observable_counter(
            f"areole.{instrument.name}", [readings.callback(observe)], description=instrument.text
        )
    for instrument in GAUGES:
        observe = partial(values_of, instrument)
        meter.create_observable_gauge(
            f"areole.{instrument.name}", [readings.callback(observe)], description=instrument.text
        )
    meter.create_observable_counter(
        "areole.fill_time", [readings.callback(_seconds)], "s", "How long all fills took; of caches with stats=True"
    )
    meter.create_observable_counter(
        "areole.fill_time.bucket", [readings.callback(_buckets)], description="Fills that took at most `le` seconds"
    )


class _Readings:
    """One reading of all caches for each collection, which calls each callback once."""

    def __init__(self) -> None:
        self._latest: tuple[list[Reading], set[int]] = [], set()
        self._number_of_callbacks = 0

    def callback(self, observe: Callable[[list[Reading]], Any]) -> Callable[[Any], list[Observation]]:
        number = self._number_of_callbacks
        self._number_of_callbacks += 1
        return lambda options: [Observation(value, labels) for labels, value in observe(self._readings_for(number))]

    def _readings_for(self, number: int) -> list[Reading]:
        """Return what the others of this collection got; read again for the first, or one that has had it."""
        readings, given = self._latest
        if not given or number in given:
            self._latest = readings, given = read_all(), set()
        given.add(number)
        return readings


def _seconds(readings: list[Reading]) -> Iterator[tuple[dict[str, str], float]]:
    for reading in readings:
        buckets, seconds = fill_times_of(reading)
        if buckets:
            yield {"cache": reading.cache}, seconds


def _buckets(readings: list[Reading]) -> Iterator[tuple[dict[str, str], int]]:
    for reading in readings:
        for bound, count in fill_times_of(reading)[0]:
            yield {"cache": reading.cache, "le": bound}, count
