"""Metrics of all caches of this process: `areole.metrics.prometheus` and `areole.metrics.opentelemetry`."""
