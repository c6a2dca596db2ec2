"""The settings of a Storage, as attributes: those of atomic_lru's, by the same names."""

from __future__ import annotations

from typing import Any

__all__ = ["StorageSettings"]


class StorageSettings:
    """Gives a store its settings to be read; nothing here is used by an operation."""

    __slots__ = ()
    _index: Any
    _default_ttl_given: float | None
    _idle_given: float | None
    _sweep_delay: float
    _most_swept: int
    _logs_sweeps: bool
    expiration_disabled: bool

    @property
    def size_limit_in_bytes(self) -> int | None:
        """The limit on what all values are charged, in bytes; None: there is none."""
        limit: int | None = self._index.max_weight
        return limit

    @property
    def max_items(self) -> int | None:
        """The limit on the number of values; None: there is none."""
        limit: int | None = self._index.max_items
        return limit

    @property
    def default_ttl(self) -> float | None:
        """For how many seconds a value is live if `set` says nothing; None: for ever."""
        return self._default_ttl_given

    @property
    def idle(self) -> float | None:
        """After how many seconds without a lookup a value expires; None: however long that is."""
        return self._idle_given

    @property
    def expiration_thread_delay(self) -> float:
        """Seconds between two sweeps."""
        return self._sweep_delay

    @property
    def expiration_thread_max_checks_per_iteration(self) -> int:
        """The most entries that one sweep removes; 0: there are no sweeps."""
        return self._most_swept

    @property
    def expiration_thread_log(self) -> bool:
        """Whether each sweep is logged."""
        return self._logs_sweeps

    def _shown_settings(self) -> str:
        """Write the settings that are not the default, for `repr`."""
        shown = [(name, getattr(self, name)) for name in _DEFAULTS]
        return "".join(f" {name}={value!r}" for name, value in shown if value != _DEFAULTS[name])


_DEFAULTS: dict[str, Any] = {
    "size_limit_in_bytes": None,
    "max_items": None,
    "default_ttl": None,
    "idle": None,
    "expiration_thread_delay": 10.0,
    "expiration_thread_max_checks_per_iteration": 10_000,
    "expiration_thread_log": False,
    "expiration_disabled": False,
}
