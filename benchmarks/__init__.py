"""Measurements of areole beside other caches. `python -m benchmarks.hits`, from the root of the checkout."""
