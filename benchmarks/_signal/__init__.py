"""The parts of the benchmark of the signal store."""
