"""The report: one HTML file that needs no network, no script and no other file."""

from collections.abc import Mapping, Sequence

from stillhouse.evaluate._report._figures import (
    TrainingCurve,
    compare,
    loss_figure,
    model_colors,
    position_figure,
    size_panels,
)
from stillhouse.evaluate._report._table import METRICS, comparison_lines, comparison_table
from stillhouse.evaluate._results import EvaluationResults
from stillhouse.pages import (
    CountRow,
    LineageNode,
    Provenance,
    StageCost,
    Tile,
    duration,
    estimate_interval,
    estimate_value,
    fixed,
    lineage_figure,
    page_environment,
    parameters,
    stage_figure,
    stage_rows,
    stage_total,
    total_cost,
    utc_text,
)


def render_report(
    results: EvaluationResults,
    *,
    training: Mapping[str, TrainingCurve],
    stages: Sequence[StageCost],
    counts: Sequence[CountRow],
    lineage: Sequence[LineageNode],
    command: str,
    environment: Mapping[str, str],
    provenance: Provenance | None = None,
) -> str:
    """The report as the text of one HTML file, to be written as UTF-8.

    Args:
        training: Loss curves by model name.
        command: What a reader types to get the same results.
        environment: What it ran on, in the order shown.
        provenance: Terms, signatures and who pays, where they were looked up.

    Raises:
        DataError: the lineage names a node twice, an unknown parent, or forms a cycle.
    """
    colors = model_colors(results)
    page = page_environment("stillhouse.evaluate", "_report").get_template("report.html.jinja")
    return page.render(
        results=results,
        colors=colors,
        created=utc_text(results.created_utc),
        seconds=duration(results.seconds),
        num_students=sum(model.role == "student" for model in results.models),
        tiles=key_figures(results, stages),
        table=comparison_table(results),
        comparisons=comparison_lines(results.comparisons),
        loss=loss_figure([*training.values()], colors),
        by_position=position_figure(results, colors),
        size_panels=size_panels(results, colors),
        counts=counts,
        largest_count=max((row.num_in for row in counts), default=0),
        stages=stage_rows(stages),
        stages_total=stage_total(stages),
        stage_figure=stage_figure(stages),
        lineage=lineage_figure(lineage, colors),
        provenance=provenance,
        command=command,
        environment=environment,
    )


def key_figures(results: EvaluationResults, stages: Sequence[StageCost]) -> list[Tile]:
    """The four or five numbers to remember; a number that was not measured has no tile."""
    tiles = [
        _before_and_after("Distance to the teacher", "forward_kl_nats", results),
        _before_and_after("Same most likely token", "top1_agreement", results),
        _size_tile(results),
        _speed_tile(results),
        _cost_tile(stages),
    ]
    return [tile for tile in tiles if tile is not None]


def _before_and_after(label: str, field: str, results: EvaluationResults) -> Tile | None:
    metric = METRICS[field]
    student = results.student
    after = metric.of(student) if student else None
    if after is None:
        return None
    before = metric.of(results.untrained) if results.untrained else None
    value = estimate_value(after, is_fraction=metric.is_fraction)
    interval = estimate_interval(after, is_fraction=metric.is_fraction)
    what = "forward KL, nats per token" if metric.unit else "of held-out tokens"
    return Tile(
        label,
        value,
        (what, f"95\N{NO-BREAK SPACE}% interval {interval}"),
        before=estimate_value(before, is_fraction=metric.is_fraction) if before else "",
    )


def _size_tile(results: EvaluationResults) -> Tile | None:
    teacher, student = results.teacher, results.student
    if teacher is None or student is None:
        return None
    value = compare(teacher.num_parameters, student.num_parameters, ("smaller", "larger"))
    detail = f"{parameters(student.num_parameters)} of {parameters(teacher.num_parameters)}"
    return Tile("Size", value, (detail, "parameters"))


def _speed_tile(results: EvaluationResults) -> Tile | None:
    teacher, student = results.teacher, results.student
    if teacher is None or student is None:
        return None
    of_teacher, of_student = teacher.generation_tokens_per_s, student.generation_tokens_per_s
    if of_teacher is None or of_student is None:
        return None
    value = compare(of_teacher, of_student, ("slower", "faster"))
    detail = f"{fixed(of_student, 0)} against {fixed(of_teacher, 0)}"
    return Tile("Speed", value, (detail, "tokens/s, whole batch"))


def _cost_tile(stages: Sequence[StageCost]) -> Tile | None:
    if not stages:
        return None
    tokens = sum(stage.prompt_tokens + stage.completion_tokens for stage in stages)
    return Tile(
        "Time, all stages",
        duration(sum(stage.seconds for stage in stages)),
        (f"cost {total_cost(stages)}", *([f"{tokens:,} tokens"] if tokens else [])),
    )
