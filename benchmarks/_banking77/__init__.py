"""The parts of the benchmark of task students."""
