"""Standard benchmarks through lm-evaluation-harness, and what a student forgot of its base.

Settings and results load neither torch nor the harness; the run does, when it is asked for.
"""

from typing import TYPE_CHECKING, Any

from stillhouse.evaluate._benchmarks._config import BenchmarksConfig
from stillhouse.evaluate._benchmarks._results import (
    BenchmarkComparison,
    BenchmarkModel,
    BenchmarkResult,
    BenchmarkResults,
    BenchmarkRow,
    read_benchmark_results,
)

if TYPE_CHECKING:
    from stillhouse.evaluate._benchmarks._run import benchmarks

__all__ = [
    "benchmarks",
    "BenchmarksConfig",
    "BenchmarkResults",
    "BenchmarkResult",
    "BenchmarkComparison",
    "BenchmarkModel",
    "BenchmarkRow",
    "read_benchmark_results",
]


def __getattr__(name: str) -> Any:
    if name != "benchmarks":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from stillhouse.evaluate._benchmarks._run import benchmarks

    return benchmarks
