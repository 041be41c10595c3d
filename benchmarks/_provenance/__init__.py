"""The parts of the benchmark of provenance."""
