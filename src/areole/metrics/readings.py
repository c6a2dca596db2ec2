"""What is exported of each cache, under which names; read when it is asked for, so that no hit does anything for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from .._core.fill_times import BOUNDS
from .._state.live_caches import live_caches

__all__ = ["COUNTERS", "GAUGES", "Instrument", "Reading", "fill_times_of", "read_all", "values_of"]


class Instrument(NamedTuple):
    """One number of each cache: its name, what it says, and from which fields of `cache_info()` it is.

    `causes` are for evictions: one number for each cause.
    """

    name: str
    text: str
    field: str = ""
    causes: tuple[tuple[str, str], ...] = ()


COUNTERS: Final = (
    Instrument("hits", "Lookups that found a live value; of caches with stats=True, and of shared caches", "hits"),
    Instrument("misses", "Lookups that found none", "misses"),
    Instrument("waits", "Misses that waited for another caller's fill", "waits"),
    Instrument("fills", "Runs of a fill function", "fills"),
    Instrument("fill_failures", "Runs of a fill function that raised", "failures"),
    Instrument(
        "evictions",
        "Values that were removed, by cause: the cache was full, a new value was too large, the ttl had passed",
        causes=(("evicted", "evicted"), ("oversize", "oversize"), ("expired", "expirations")),
    ),
    Instrument("stale_hits", "Lookups that were served a value past its ttl", "stale_hits"),
    Instrument("background_fills", "Fills that began in the background", "background_fills"),
    Instrument("hung_fills", "Background fills that took longer than their hard_timeout", "hung_fills"),
    Instrument("shared_hits", "Misses that a shared cache had the value for", "shared_hits"),
    Instrument("local_hits", "Lookups of a shared cache that its local copies answered", "local_hits"),
    Instrument("refused_stores", "Values that were not stored, as their key was changed meanwhile", "refused_stores"),
    Instrument("rejected", "Stored values that could not be used", "rejected"),
    Instrument("backend_errors", "Calls that the store has failed", "backend_errors"),
)
GAUGES: Final = (
    Instrument("items", "Live values", "currsize"),
    Instrument("max_items", "The limit in items", "maxsize"),
    Instrument("bytes", "What the values are charged, where they are weighed", "size_in_bytes"),
    Instrument("max_bytes", "The limit in bytes", "max_bytes"),
)


class Reading(NamedTuple):
    """One cache at one moment: its label, its numbers, and its fill times; None: they are not noted."""

    cache: str
    info: dict[str, int | None]
    fill_times: tuple[list[int], float] | None


def read_all() -> list[Reading]:
    return [_read(state, live) for state, live in live_caches.labelled()]


def _read(state: Any, live: Any) -> Reading:
    info = live.info_of(state)._asdict()
    info["evicted"] = info["evictions"] - info.get("oversize", 0)
    times = getattr(state, "fill_times", None)
    return Reading(live.label, info, None if times is None else times.read())


def values_of(instrument: Instrument, readings: list[Reading]) -> Iterator[tuple[dict[str, str], int]]:
    """Return the numbers of an instrument with their labels, of the caches that have it."""
    for reading in readings:
        for cause, field in instrument.causes or (("", instrument.field),):
            value = reading.info.get(field)
            if value is not None:
                yield {"cache": reading.cache, **({"cause": cause} if cause else {})}, value


def fill_times_of(reading: Reading) -> tuple[list[tuple[str, int]], float]:
    """Return how many fills took at most so many seconds, by the bound as text, and the sum of all."""
    if reading.fill_times is None:
        return [], 0.0
    counts, seconds = reading.fill_times
    bounds = [*map(str, BOUNDS), "+Inf"]
    return [(bound, sum(counts[: number + 1])) for number, bound in enumerate(bounds)], seconds
