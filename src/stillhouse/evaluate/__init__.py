"""Students against their teacher on held-out prompts, as numbers with intervals and a report.

The settings and results load without torch; the measuring, with torch, when `evaluate` is first
asked for.
"""

from typing import TYPE_CHECKING, Any

from stillhouse.evaluate._config import EvaluateConfig, Goals
from stillhouse.evaluate._report import render_report
from stillhouse.evaluate._results import EvaluationResults, read_results

if TYPE_CHECKING:
    from stillhouse.evaluate._evaluate import EvaluationRow, evaluate

__all__ = [
    "evaluate",
    "EvaluateConfig",
    "Goals",
    "EvaluationResults",
    "EvaluationRow",
    "read_results",
    "render_report",
]


def __getattr__(name: str) -> Any:
    if name not in ("evaluate", "EvaluationRow"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from stillhouse.evaluate import _evaluate

    return getattr(_evaluate, name)
