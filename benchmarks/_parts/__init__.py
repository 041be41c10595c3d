"""What the benchmarks that run in parts share: their command line, processes, goals, pages."""

from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[1]
