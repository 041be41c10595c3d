"""Students against their teacher on held-out prompts, as numbers with intervals and a report.

`evaluate_task` judges students of a task, with verdicts that hold; `TaskScorer` only scores them,
as `TeacherScorer` does token by token; `arena` ranks any models by what a judge says of their
answers. The settings and results load without torch; the measuring, with torch, when `evaluate` is
first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from stillhouse.evaluate._arena import (
    ArenaConfig,
    ArenaModel,
    ArenaResults,
    Ask,
    ComparisonRow,
    PairResult,
    Standing,
    read_arena_results,
)
from stillhouse.evaluate._benchmarks import (
    BenchmarkComparison,
    BenchmarkModel,
    BenchmarkResult,
    BenchmarkResults,
    BenchmarkRow,
    BenchmarksConfig,
    read_benchmark_results,
)
from stillhouse.evaluate._config import EvaluateConfig, Goals
from stillhouse.evaluate._report import render_report
from stillhouse.evaluate._results import Estimate, EvaluationResults, read_results
from stillhouse.evaluate._service_records import (
    Latency,
    ServiceSummary,
    Share,
    VersionService,
)
from stillhouse.evaluate._task import (
    LearningPoint,
    SystemResult,
    TaskComparison,
    TaskEstimate,
    TaskEvaluateConfig,
    TaskResults,
    read_task_results,
    render_task_report,
)

if TYPE_CHECKING:
    from stillhouse.evaluate._arena._arena import arena
    from stillhouse.evaluate._benchmarks._run import benchmarks
    from stillhouse.evaluate._evaluate import EvaluationRow, evaluate
    from stillhouse.evaluate._provenance import provenance_of
    from stillhouse.evaluate._score import TeacherScorer, TokenScores
    from stillhouse.evaluate._service import service_summary
    from stillhouse.evaluate._task._evaluate_task import evaluate_task
    from stillhouse.evaluate._task._predictions import PredictionRow
    from stillhouse.evaluate._task._scorer import TaskScorer
    from stillhouse.evaluate._texts import Written, write_texts

__all__ = [
    "evaluate",
    "EvaluateConfig",
    "Goals",
    "EvaluationResults",
    "EvaluationRow",
    "read_results",
    "render_report",
    "Estimate",
    "evaluate_task",
    "TaskEvaluateConfig",
    "TaskResults",
    "TaskEstimate",
    "TaskComparison",
    "SystemResult",
    "LearningPoint",
    "PredictionRow",
    "read_task_results",
    "render_task_report",
    "TaskScorer",
    "TeacherScorer",
    "TokenScores",
    "write_texts",
    "Written",
    "provenance_of",
    "service_summary",
    "ServiceSummary",
    "VersionService",
    "Share",
    "Latency",
    "arena",
    "ArenaConfig",
    "Ask",
    "ArenaResults",
    "ArenaModel",
    "PairResult",
    "Standing",
    "ComparisonRow",
    "read_arena_results",
    "benchmarks",
    "BenchmarksConfig",
    "BenchmarkResults",
    "BenchmarkResult",
    "BenchmarkComparison",
    "BenchmarkModel",
    "BenchmarkRow",
    "read_benchmark_results",
]


_ON_DEMAND = {
    "evaluate": "_evaluate",
    "EvaluationRow": "_evaluate",
    "evaluate_task": "_task._evaluate_task",
    "PredictionRow": "_task._predictions",
    "TaskScorer": "_task._scorer",
    "TeacherScorer": "_score",
    "TokenScores": "_score",
    "write_texts": "_texts",
    "Written": "_texts",
    "provenance_of": "_provenance",
    "service_summary": "_service",
    "arena": "_arena._arena",
    "benchmarks": "_benchmarks._run",
}


def __getattr__(name: str) -> Any:
    if name not in _ON_DEMAND:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ON_DEMAND[name]}"), name)
