"""Students of a task, judged on its held-out messages: verdicts, results.json and a report.

Settings, results and report load without what measures; that is loaded when it is first asked for,
and loads torch only where a student needs it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from stillhouse.evaluate._task._config import TaskEvaluateConfig
from stillhouse.evaluate._task._records import (
    LearningPoint,
    SystemResult,
    TaskComparison,
    TaskEstimate,
)
from stillhouse.evaluate._task._report import RunFacts, render_task_report
from stillhouse.evaluate._task._results import TaskResults, read_task_results

if TYPE_CHECKING:
    from stillhouse.evaluate._task._evaluate_task import evaluate_task
    from stillhouse.evaluate._task._predictions import PredictionRow
    from stillhouse.evaluate._task._scorer import TaskScorer

__all__ = [
    "evaluate_task",
    "TaskEvaluateConfig",
    "TaskResults",
    "TaskEstimate",
    "TaskComparison",
    "SystemResult",
    "LearningPoint",
    "PredictionRow",
    "RunFacts",
    "read_task_results",
    "render_task_report",
    "TaskScorer",
]

_ON_DEMAND = {
    "evaluate_task": "_evaluate_task",
    "PredictionRow": "_predictions",
    "TaskScorer": "_scorer",
}


def __getattr__(name: str) -> Any:
    if name not in _ON_DEMAND:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ON_DEMAND[name]}"), name)
