"""Which chart shows what: from results and losses to drawings.

A figure with nothing to draw is None and the page says so in words.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from stillhouse.evaluate._results import EvaluationResults, ModelResult
from stillhouse.pages import (
    Axes,
    Bar,
    Figure,
    Point,
    Series,
    bar_chart,
    duration,
    fixed,
    line_chart,
    parameters,
    size,
    times,
)

_STUDENT_COLORS = ("c-student", "c-student-2", "c-student-3", "c-student-4")
_WIDE_PX, _NARROW_PX = 500.0, 340.0
_MAX_DRAWN_POINTS = 400
_LOG_FROM_RATIO = 8.0
"""An axis that spans more than this ratio is logarithmic: below it a linear one reads better."""


@dataclass(frozen=True)
class TrainingCurve:
    """The losses of one training run.

    Attributes:
        name: The model's name in the results, so that its colour is the same everywhere.
        points: (step, training loss in nats per token), by step.
        held_out: The same on held-out examples, where it was measured.
    """

    name: str
    points: tuple[tuple[int, float], ...]
    held_out: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class BarPanel:
    """One quantity of the models as bars."""

    title: str
    headline: str
    drawing: Markup


def model_colors(results: EvaluationResults) -> dict[str, str]:
    """The colour class of each model: one per student, fixed for teacher and untrained."""
    colors = {}
    num_students = 0
    for model in results.models:
        if model.role == "student":
            colors[model.name] = _STUDENT_COLORS[num_students % len(_STUDENT_COLORS)]
            num_students += 1
        else:
            colors[model.name] = f"c-{model.role}"
    return colors


def loss_figure(curves: Sequence[TrainingCurve], colors: Mapping[str, str]) -> Figure | None:
    """Training loss over steps: each step faint, the running mean bold, held-out as dots."""
    curves = [curve for curve in curves if _finite(curve.points)]
    if not curves:
        return None
    window = max(max(len(curve.points) for curve in curves) // 20, 1)
    series = [_loss_series(curve, colors.get(curve.name, "c-student"), window) for curve in curves]
    is_log = _is_wide_range([value for one in series for _, value in one.points])
    axes = Axes("optimiser step", _nats("loss, nats per token", is_log), is_log_y=is_log)
    notes = []
    if window > 1:
        notes.append(f"Bold: mean over {window // 2 * 2 + 1} steps. Faint: single steps.")
    if any(curve.held_out for curve in curves):
        notes.append("Dots: loss on held-out examples.")
    return _figure(series, axes, "Training loss over steps", note=" ".join(notes))


def position_figure(results: EvaluationResults, colors: Mapping[str, str]) -> Figure | None:
    """Forward KL over the position in the completion, with 95 % bands."""
    series = [
        _position_series(model, colors[model.name]) for model in results.models if model.by_position
    ]
    if not series:
        return None
    is_log = _is_wide_range([value for one in series for _, value in one.points])
    axes = Axes("token of the completion", _nats("nats per token", is_log), is_log_y=is_log)
    return _figure(series, axes, "Forward KL to the teacher by position in the completion")


def size_panels(results: EvaluationResults, colors: Mapping[str, str]) -> list[BarPanel]:
    """Parameters, bytes, memory, speed and latency; models of one shape are drawn once."""
    models = _distinct_shapes(results)
    teacher, student = results.teacher, results.student
    panels = []
    for title, measure, write, words in _SIZE_MEASURES:
        bars = [
            Bar(model.name, colors[model.name], value, write(value))
            for model in models
            if (value := measure(model)) is not None
        ]
        if not bars:
            continue
        headline = ""
        if teacher and student:
            headline = compare(measure(teacher), measure(student), words)
        label = f"{title}: " + ", ".join(f"{bar.label} {bar.text}" for bar in bars)
        panels.append(BarPanel(title, headline, bar_chart(bars, width=300, label=label)))
    return panels


def compare(teacher: float | None, student: float | None, words: tuple[str, str]) -> str:
    """How many times less or more the student has: `1.9x smaller`; empty if unknown.

    Args:
        words: What to say if the student has less, and if it has more.
    """
    if not teacher or not student:
        return ""
    if teacher >= student:
        return f"{times(teacher / student)} {words[0]}"
    return f"{times(student / teacher)} {words[1]}"


_SIZE_MEASURES: tuple[
    tuple[str, Callable[[ModelResult], float | None], Callable[[float], str], tuple[str, str]], ...
] = (
    (
        "Parameters",
        lambda model: model.num_parameters,
        lambda value: parameters(round(value)),
        ("fewer", "more"),
    ),
    ("Layers", lambda model: model.num_layers, lambda value: fixed(value, 0), ("fewer", "more")),
    (
        "Weights on disk",
        lambda model: model.weight_bytes,
        lambda value: size(round(value)),
        ("smaller", "larger"),
    ),
    (
        "Memory while generating",
        lambda model: model.memory_bytes,
        lambda value: size(round(value)),
        ("less", "more"),
    ),
    (
        "Generation, whole batch",
        lambda model: model.generation_tokens_per_s,
        lambda value: f"{fixed(value, 0)} tokens/s",
        ("slower", "faster"),
    ),
    (
        "One completion alone, median",
        lambda model: model.latency_s_per_completion,
        duration,
        ("faster", "slower"),
    ),
)


def running_mean(points: Sequence[Point], window: int) -> tuple[Point, ...]:
    """The mean over `window` points around each; fewer at the ends, equally to both sides."""
    half = window // 2
    sums = [0.0, *itertools.accumulate(value for _, value in points)]
    smoothed = []
    for index, (x, _) in enumerate(points):
        reach = min(half, index, len(points) - 1 - index)
        total = sums[index + reach + 1] - sums[index - reach]
        smoothed.append((x, total / (2 * reach + 1)))
    return tuple(smoothed)


def _figure(series: Sequence[Series], axes: Axes, label: str, *, note: str = "") -> Figure:
    return Figure(
        wide=line_chart(series, axes, width=_WIDE_PX, height=320, label=label),
        narrow=line_chart(series, axes, width=_NARROW_PX, height=270, label=label),
        note=note,
    )


def _loss_series(curve: TrainingCurve, color: str, window: int) -> Series:
    points = _finite(curve.points)
    return Series(
        label=curve.name,
        color=color,
        points=_thinned(running_mean(points, window)),
        faint=_thinned(points) if window > 1 else (),
        dots=_finite(curve.held_out),
    )


def _position_series(model: ModelResult, color: str) -> Series:
    points = sorted(model.by_position, key=lambda point: point.position)
    return Series(
        label=model.name,
        color=color,
        points=tuple((point.position, point.forward_kl.value) for point in points),
        band=tuple(
            (point.position, point.forward_kl.low, point.forward_kl.high) for point in points
        ),
        is_dashed=model.role == "untrained",
    )


def _distinct_shapes(results: EvaluationResults) -> list[ModelResult]:
    """Teacher and students, without those whose size another one already shows."""
    shown: dict[tuple[int, int, int], ModelResult] = {}
    for model in results.models:
        if model.role != "untrained":
            shape = (model.num_parameters, model.num_layers, model.weight_bytes)
            shown.setdefault(shape, model)
    return list(shown.values())


def _finite(points: Sequence[tuple[int, float]]) -> tuple[Point, ...]:
    return tuple((float(x), y) for x, y in points if math.isfinite(y))


def _thinned(points: tuple[Point, ...]) -> tuple[Point, ...]:
    """At most about `_MAX_DRAWN_POINTS`, evenly spaced, the last one always among them."""
    stride = math.ceil(len(points) / _MAX_DRAWN_POINTS)
    return points[::stride] if stride <= 1 else (*points[:-1:stride], points[-1])


def _is_wide_range(values: Sequence[float]) -> bool:
    return min(values) > 0 and max(values) / min(values) > _LOG_FROM_RATIO


def _nats(label: str, is_log: bool) -> str:
    return f"{label} (log scale)" if is_log else label
