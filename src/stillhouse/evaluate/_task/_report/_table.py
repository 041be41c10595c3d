"""The table of systems: one column a system, one row a figure."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from stillhouse.evaluate._report._table import NOT_MEASURED, REFERENCE, Cell, Row, RowGroup
from stillhouse.evaluate._task._records import Metric, SystemResult, TaskEstimate
from stillhouse.evaluate._task._report._cells import (
    break_even_cell,
    money_text,
    plain_text,
    rate_text,
    share_text,
    time_text,
    training_cell,
    validation_cell,
)
from stillhouse.evaluate._task._report._words import (
    ANSWERED_BY,
    METHODS,
    basis,
    quality_name,
    size_words,
)
from stillhouse.evaluate._task._results import TaskResults
from stillhouse.pages import parameters, size

_Of = Callable[[SystemResult], TaskEstimate | None]
_Text = Callable[[TaskEstimate], tuple[str, str]]


def systems_table(results: TaskResults) -> list[RowGroup]:
    """The rows of the table, in the order of `results.systems`; empty rows are left out."""
    groups = [
        RowGroup("Quality, on held-out messages", tuple(_quality_rows(results))),
        RowGroup("Confidence", tuple(_confidence_rows(results))),
        RowGroup("Speed and size", tuple(_speed_rows(results))),
        RowGroup("Cost", tuple(_cost_rows(results))),
    ]
    kept = [
        RowGroup(one.title, tuple(row for row in one.rows if _says_something(row)))
        for one in groups
    ]
    return [group for group in kept if group.rows]


def _quality_rows(results: TaskResults) -> list[Row]:
    facts = results.task
    rows = [_metric_row(results, "gold"), _metric_row(results, "agreement")]
    if facts.kind == "extraction":
        rows.append(
            _share_row(
                results,
                "Whole document like the teacher's",
                lambda one: one.document.agreement if one.document else None,
            )
        )
        rows.append(
            _share_row(
                results,
                "Whole document right",
                lambda one: one.document.gold if one.document else None,
            )
        )
    rows.append(
        _row(
            results,
            "Agreement beyond chance",
            "Cohen's kappa, 1 is perfect",
            lambda one: one.kappa,
            plain_text,
        )
    )
    if any(one.valid.value < 1 for one in results.systems):
        rows.append(_share_row(results, "Answers that the task allows", lambda one: one.valid))
    if facts.kind == "text":
        rows.append(
            _share_row(
                results, "Texts that loop", lambda one: one.text.looping if one.text else None
            )
        )
        rows.append(
            _row(
                results,
                "Words",
                "mean of a text",
                lambda one: one.text.words if one.text else None,
                plain_text,
            )
        )
    return rows


def _confidence_rows(results: TaskResults) -> list[Row]:
    def calibration_error(one: SystemResult) -> TaskEstimate | None:
        return one.calibration.calibration_error if one.calibration else None

    def auroc(one: SystemResult) -> TaskEstimate | None:
        return one.calibration.auroc if one.calibration else None

    return [
        _share_row(
            results,
            "Calibration error",
            calibration_error,
            "expected, freed of bias; lower is better",
        ),
        _share_row(results, "Sure where it is like the teacher", auroc, "AUROC, 50 % is a coin"),
        Row(
            "On validation rows",
            "agreement in training, which the choice rests on",
            tuple(validation_cell(one) for one in results.systems),
        ),
    ]


def _speed_rows(results: TaskResults) -> list[Row]:
    return [
        _row(
            results,
            "Time of one answer",
            "median, one message at a time",
            lambda one: one.latency.median_s if one.latency else None,
            time_text,
        ),
        _row(
            results,
            "Slowest of twenty",
            "95th percentile",
            lambda one: one.latency.p95_s if one.latency else None,
            time_text,
        ),
        _row(results, "Messages per second", "in batches", lambda one: one.per_second, rate_text),
        Row(
            "Parameters",
            "",
            tuple(
                Cell(parameters(one.num_parameters) if one.num_parameters else NOT_MEASURED)
                for one in results.systems
            ),
        ),
        Row(
            "Size",
            "on disk",
            tuple(
                Cell(size(one.num_bytes) if one.num_bytes else NOT_MEASURED)
                for one in results.systems
            ),
        ),
        Row(
            "Answers by",
            "",
            tuple(Cell(ANSWERED_BY[one.answered_by], one.kind) for one in results.systems),
        ),
    ]


def _cost_rows(results: TaskResults) -> list[Row]:
    return [
        _row(
            results,
            "1,000 answers",
            "by the assumptions below",
            lambda one: one.usd_per_1000,
            money_text,
        ),
        Row("Training", "", tuple(training_cell(one) for one in results.systems)),
        Row(
            "Pays back after",
            "requests",
            tuple(break_even_cell(one, results) for one in results.systems),
        ),
    ]


def _metric_row(results: TaskResults, metric: Metric) -> Row:
    row = _row(
        results,
        quality_name(results.task, metric),
        "",
        lambda one: one.quality(metric),
        share_text,
        of_teacher=REFERENCE if metric == "agreement" else "",
    )
    return _with_best(row, results, metric)


def _share_row(results: TaskResults, label: str, of: _Of, hint: str = "") -> Row:
    return _row(results, label, hint, of, share_text)


def _row(
    results: TaskResults, label: str, hint: str, of: _Of, text: _Text, *, of_teacher: str = ""
) -> Row:
    """The figures of all systems; what most of them rest on is said once, else beside each.

    Args:
        results: All.
        label: Of the row.
        hint: What the figure is.
        of: The figure of a system.
        text: Value and interval.
        of_teacher: What stands for the teacher's where it has none by its nature.
    """
    found = [of(one) for one in results.systems]
    bases = Counter(basis(one) for one in found if one is not None)
    common = bases.most_common(1)[0][0] if bases else ""
    method = common.rpartition(", ")[2]
    cells = []
    for system, one in zip(results.systems, found, strict=True):
        if one is None:
            is_teacher = system.role == "teacher" and of_teacher
            cells.append(Cell(of_teacher if is_teacher else NOT_MEASURED))
            continue
        value, detail = text(one)
        if basis(one) != common:
            what = size_words(one) if METHODS[one.method] == method else basis(one)
            detail = f"{detail} ({what})" if detail else what
        cells.append(Cell(value, detail))
    return Row(label, "; ".join(filter(None, (hint, common))), tuple(cells))


def _with_best(row: Row, results: TaskResults, metric: Metric) -> Row:
    """Marks the student that is better than every other, after correction."""
    names = [one.name for one in results.students]
    if len(names) < 2:
        return row
    beaten: dict[str, set[str]] = {name: set() for name in names}
    for one in results.comparisons:
        if (one.family, one.metric) == ("students", metric):
            if one.verdict == "better":
                beaten[one.a].add(one.b)
            elif one.verdict == "worse":
                beaten[one.b].add(one.a)
    best = {name for name in names if len(beaten[name]) == len(names) - 1}
    cells = [
        replace(cell, is_best=system.name in best)
        for system, cell in zip(results.systems, row.cells, strict=True)
    ]
    return Row(row.label, row.hint, tuple(cells))


def _says_something(row: Row) -> bool:
    return any(not cell.is_quiet for cell in row.cells)
