"""The comparison table: one column per model, one row per metric."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from stillhouse.evaluate._results import Comparison, Estimate, EvaluationResults, ModelResult
from stillhouse.pages import (
    duration,
    estimate_interval,
    estimate_value,
    fixed,
    parameters,
    percent,
    size,
)

NOT_MEASURED = "\N{EM DASH}"
REFERENCE = "reference"

_OBJECTIVES = {"forward_kl": "forward KL", "reverse_kl": "reverse KL", "sft": "SFT"}


@dataclass(frozen=True)
class Cell:
    """What the table says of one model: a value and, small, what it rests on."""

    value: str
    detail: str = ""
    is_best: bool = False

    @property
    def is_quiet(self) -> bool:
        """Whether there is no number to see."""
        return self.value in (NOT_MEASURED, REFERENCE)


@dataclass(frozen=True)
class Row:
    """One metric. `hint` says which way is better and from how much the values come."""

    label: str
    hint: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class RowGroup:
    """Rows under one heading."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Metric:
    """How an `Estimate` of a model is read."""

    label: str
    direction: str
    of: Callable[[ModelResult], Estimate | None]
    is_fraction: bool = False
    is_lower_better: bool = True
    is_against_teacher: bool = True
    unit: str = ""


METRICS: dict[str, Metric] = {
    "forward_kl_nats": Metric(
        "Forward KL to the teacher",
        "nats per token, lower is closer",
        lambda model: model.forward_kl_nats,
        unit="nats",
    ),
    "top1_agreement": Metric(
        "Same most likely token",
        "of tokens, higher is closer",
        lambda model: model.top1_agreement,
        is_fraction=True,
        is_lower_better=False,
    ),
    "teacher_text_perplexity": Metric(
        "Perplexity of the teacher\N{RIGHT SINGLE QUOTATION MARK}s text",
        "lower is closer",
        lambda model: model.teacher_text_perplexity,
        is_against_teacher=False,
    ),
    "looping_fraction": Metric(
        "Completions that loop",
        "a 3-gram three times, lower is better",
        lambda model: model.looping_fraction,
        is_fraction=True,
        is_against_teacher=False,
    ),
}
"""By field of `ModelResult`."""


def comparison_table(results: EvaluationResults) -> list[RowGroup]:
    """The rows of the table, in the order of `results.models`."""
    models = results.models
    closeness = [_metric_row(metric, models) for metric in METRICS.values()]
    return [
        RowGroup("Closeness, on held-out prompts", tuple(row for row in closeness if row)),
        RowGroup("Size and speed", _size_rows(models)),
    ]


@dataclass(frozen=True)
class ComparisonLine:
    """A paired comparison in words and numbers."""

    label: str
    pair: str
    difference: str
    interval: str
    ratio: str
    verdict: str


def comparison_lines(comparisons: Sequence[Comparison]) -> list[ComparisonLine]:
    """The paired comparisons as the page shows them; fractions differ by percentage points."""
    return [_comparison_line(comparison) for comparison in comparisons]


def _comparison_line(comparison: Comparison) -> ComparisonLine:
    metric = METRICS.get(comparison.metric)
    is_fraction = metric is not None and metric.is_fraction
    unit = " points" if is_fraction else f" {metric.unit}" if metric and metric.unit else ""
    percent_sign = "\N{NO-BREAK SPACE}%"
    difference = estimate_value(comparison.difference, is_fraction=is_fraction)
    interval = estimate_interval(comparison.difference, is_fraction=is_fraction)
    ratio = comparison.ratio
    return ComparisonLine(
        label=metric.label if metric else comparison.metric.replace("_", " "),
        pair=f"{comparison.a} minus {comparison.b}",
        difference=difference.removesuffix(percent_sign) + unit,
        interval=interval.removesuffix(percent_sign),
        ratio=f"ratio {estimate_value(ratio)} [{estimate_interval(ratio)}]" if ratio else "",
        verdict=comparison.verdict,
    )


def _metric_row(metric: Metric, models: Sequence[ModelResult]) -> Row | None:
    estimates = [metric.of(model) for model in models]
    measured = [estimate for estimate in estimates if estimate is not None]
    if not measured:
        return None
    bases = {_basis(estimate) for estimate in measured}
    cells = [
        _estimate_cell(metric, model, estimate, shows_basis=len(bases) > 1)
        for model, estimate in zip(models, estimates, strict=True)
    ]
    hint = metric.direction + (f"; {bases.pop()}" if len(bases) == 1 else "")
    return Row(metric.label, hint, _with_best(cells, metric, models))


def _basis(estimate: Estimate) -> str:
    groups = f"{estimate.num_clusters:,}\N{NO-BREAK SPACE}groups"
    return f"n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{estimate.n:,} in {groups}"


def _estimate_cell(
    metric: Metric, model: ModelResult, estimate: Estimate | None, *, shows_basis: bool
) -> Cell:
    if estimate is None:
        is_reference = model.role == "teacher" and metric.is_against_teacher
        return Cell(REFERENCE if is_reference else NOT_MEASURED)
    detail = estimate_interval(estimate, is_fraction=metric.is_fraction)
    if shows_basis:
        detail += f" ({_basis(estimate)})"
    return Cell(estimate_value(estimate, is_fraction=metric.is_fraction), detail)


def _with_best(
    cells: Sequence[Cell], metric: Metric, models: Sequence[ModelResult]
) -> tuple[Cell, ...]:
    """Marks the best student where its interval lies clear of every other student's."""
    rivals = {
        index: estimate
        for index, model in enumerate(models)
        if model.role == "student" and (estimate := metric.of(model)) is not None
    }
    if len(rivals) < 2:
        return tuple(cells)
    sign = 1.0 if metric.is_lower_better else -1.0
    best = min(rivals, key=lambda index: sign * rivals[index].value)
    is_clear = all(
        rivals[best].high < other.low or rivals[best].low > other.high
        for index, other in rivals.items()
        if index != best
    )
    return tuple(
        replace(cell, is_best=is_clear and index == best) for index, cell in enumerate(cells)
    )


def _size_rows(models: Sequence[ModelResult]) -> tuple[Row, ...]:
    def row(label: str, hint: str, cell: Callable[[ModelResult], Cell]) -> Row:
        return Row(label, hint, tuple(cell(model) for model in models))

    rows = (
        row("Trained on", "objective", _objective_cell),
        row("KL on own texts", "nats, measured in training", _own_text_kl_cell),
        row("Parameters", "embeddings included", _parameters_cell),
        row("Layers", "transformer blocks", lambda model: Cell(str(model.num_layers))),
        row("Weights on disk", "", lambda model: Cell(size(model.weight_bytes))),
        row("Memory", "weights and cache while generating", _memory_cell),
        row("Generation", "tokens per second, whole batch", _speed_cell),
        row("Latency", "median per completion, one at a time", _latency_cell),
    )
    return tuple(row for row in rows if any(cell.value != NOT_MEASURED for cell in row.cells))


def _objective_cell(model: ModelResult) -> Cell:
    if model.objective is None:
        return Cell(NOT_MEASURED)
    name = _OBJECTIVES.get(model.objective, model.objective.replace("_", " "))
    return Cell(name, f"{model.num_steps:,} steps" if model.num_steps else "")


def _own_text_kl_cell(model: ModelResult) -> Cell:
    measured = model.own_text_kl
    if measured is None:
        return Cell(NOT_MEASURED)
    return Cell(fixed(measured.after_nats, 2), f"{fixed(measured.before_nats, 2)} before")


def _parameters_cell(model: ModelResult) -> Cell:
    share = model.num_embedding_parameters / model.num_parameters
    return Cell(parameters(model.num_parameters), f"{percent(share)} embedding")


def _memory_cell(model: ModelResult) -> Cell:
    return Cell(size(model.memory_bytes) if model.memory_bytes else NOT_MEASURED)


def _speed_cell(model: ModelResult) -> Cell:
    speed = model.generation_tokens_per_s
    return Cell(fixed(speed, 0) if speed else NOT_MEASURED)


def _latency_cell(model: ModelResult) -> Cell:
    latency_s = model.latency_s_per_completion
    return Cell(duration(latency_s) if latency_s else NOT_MEASURED)
