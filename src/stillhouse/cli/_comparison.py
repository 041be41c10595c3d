"""An evaluation's models side by side, small enough for a terminal."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from stillhouse.cli._output import table_text

if TYPE_CHECKING:
    from stillhouse.evaluate import Estimate, EvaluationResults, ModelResult

_ORDER = {"teacher": 0, "student": 1, "untrained": 2}
_UNKNOWN = "-"


def comparison_text(results: "EvaluationResults") -> str:
    """A table with one column per model: teacher, students, the untrained student."""
    models = sorted(results.models, key=lambda model: _ORDER[model.role])
    rows = [[label, *(cell(model) for model in models)] for label, cell in _ROWS]
    shown = [row for row in rows if any(text != _UNKNOWN for text in row[1:])]
    note = f"{results.num_prompts:,} held-out prompts, {results.num_tokens:,} tokens; [95 %]"
    return f"{table_text(['', *(model.name for model in models)], shown)}\n{note}"


def _estimate(estimate: "Estimate | None", *, as_percent: bool = False) -> str:
    if estimate is None:
        return _UNKNOWN
    values = [estimate.value, estimate.low, estimate.high]
    if as_percent:
        value, low, high = (f"{100 * number:.1f}" for number in values)
        return f"{value} % [{low}, {high}]"
    value, low, high = (_number(number) for number in values)
    return f"{value} [{low}, {high}]"


def _number(number: float) -> str:
    """Three digits or so: an untrained student's perplexity runs into the millions."""
    if abs(number) < 100:
        return f"{number:.2f}"
    if abs(number) < 1e4:
        return f"{number:,.0f}"
    if abs(number) < 1e6:
        return f"{number / 1e3:.0f} k"
    return f"{number / 1e6:.1f} M" if abs(number) < 1e9 else f"{number:.1e}"


def _speed(model: "ModelResult") -> str:
    speed = model.generation_tokens_per_s
    return _UNKNOWN if speed is None else f"{speed:,.0f}"


_ROWS: tuple[tuple[str, "Callable[[ModelResult], str]"], ...] = (
    ("KL to teacher, nats", lambda model: _estimate(model.forward_kl_nats)),
    ("same first choice", lambda model: _estimate(model.top1_agreement, as_percent=True)),
    ("perplexity", lambda model: _estimate(model.teacher_text_perplexity)),
    ("looping answers", lambda model: _estimate(model.looping_fraction, as_percent=True)),
    ("parameters", lambda model: f"{model.num_parameters / 1e6:,.1f} M"),
    ("layers", lambda model: str(model.num_layers)),
    ("tokens/s", _speed),
)
