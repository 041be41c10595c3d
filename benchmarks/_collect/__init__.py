"""The parts of `benchmarks/collect.py`."""
