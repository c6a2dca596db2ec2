"""Metrics: what is exported, and how caches are told apart."""
