"""The report: one HTML file that needs no network, no script and no other file."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import jinja2
from markupsafe import Markup

from stillhouse.evaluate._report._figures import (
    Figure,
    compare,
    loss_figure,
    model_colors,
    position_figure,
    size_panels,
    stage_color,
    stage_figure,
)
from stillhouse.evaluate._report._inputs import CountRow, LineageNode, StageCost, TrainingCurve
from stillhouse.evaluate._report._lineage import lineage_drawing
from stillhouse.evaluate._report._numbers import (
    UNKNOWN,
    duration,
    estimate_interval,
    estimate_value,
    fixed,
    money,
    parameters,
    percent,
)
from stillhouse.evaluate._report._table import METRICS, comparison_lines, comparison_table
from stillhouse.evaluate._results import EvaluationResults

_MAX_TEXT_CHARS = 600
"""Longer prompts and completions are cut on the page; results.json holds them whole."""

# Characters that HTML and XML forbid or that a UTF-8 file cannot carry.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True)
class Tile:
    """A key figure; `before` is what it was without training, where that was measured."""

    label: str
    value: str
    details: tuple[str, ...]
    before: str = ""


def render_report(
    results: EvaluationResults,
    *,
    training: Mapping[str, TrainingCurve],
    stages: Sequence[StageCost],
    counts: Sequence[CountRow],
    lineage: Sequence[LineageNode],
    command: str,
    environment: Mapping[str, str],
) -> str:
    """The report as the text of one HTML file, to be written as UTF-8.

    Args:
        training: Loss curves by model name.
        command: What a reader types to get the same results.
        environment: What it ran on, in the order shown.

    Raises:
        DataError: the lineage names a node twice, an unknown parent, or forms a cycle.
    """
    colors = model_colors(results)
    page = _environment().get_template("report.html.jinja")
    return page.render(
        results=results,
        colors=colors,
        created=_utc(results.created_utc),
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
        stages=_stage_rows(stages),
        stages_total=_stage_total(stages),
        stage_figure=stage_figure(stages),
        lineage=_lineage_figure(lineage, colors),
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
        (f"cost {_total_cost(stages)}", *([f"{tokens:,} tokens"] if tokens else [])),
    )


@dataclass(frozen=True)
class StageRow:
    """One line of the table of stages."""

    name: str
    color: str
    time: str
    share: str
    prompt_tokens: str
    completion_tokens: str
    cost: str


def _stage_rows(stages: Sequence[StageCost]) -> list[StageRow]:
    total_s = sum(stage.seconds for stage in stages)
    return [
        StageRow(
            name=stage.stage,
            color=stage_color(index),
            time=duration(stage.seconds),
            share=percent(stage.seconds / total_s) if total_s > 0 else "",
            prompt_tokens=_count_or_dash(stage.prompt_tokens),
            completion_tokens=_count_or_dash(stage.completion_tokens),
            cost=money(stage.cost_usd),
        )
        for index, stage in enumerate(stages)
    ]


def _stage_total(stages: Sequence[StageCost]) -> StageRow:
    return StageRow(
        name="Total",
        color="",
        time=duration(sum(stage.seconds for stage in stages)),
        share="",
        prompt_tokens=_count_or_dash(sum(stage.prompt_tokens for stage in stages)),
        completion_tokens=_count_or_dash(sum(stage.completion_tokens for stage in stages)),
        cost=_total_cost(stages),
    )


def _total_cost(stages: Sequence[StageCost]) -> str:
    """The sum, or what is known of it: an unknown part must not look like nothing."""
    known = [stage.cost_usd for stage in stages if stage.cost_usd is not None]
    if len(known) == len(stages):
        return money(sum(known))
    return f"{money(sum(known))} + {UNKNOWN}" if sum(known) > 0 else UNKNOWN


def _count_or_dash(count: int) -> str:
    return f"{count:,}" if count else "\N{EN DASH}"


def _lineage_figure(lineage: Sequence[LineageNode], colors: Mapping[str, str]) -> Figure | None:
    if not lineage:
        return None
    return Figure(
        wide=lineage_drawing(lineage, colors, width=1040, is_vertical=False),
        narrow=lineage_drawing(lineage, colors, width=340, is_vertical=True),
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("stillhouse.evaluate", "_report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    environment.filters["cut"] = _cut
    environment.filters["share"] = percent
    return environment


def _printable(value: object) -> object:
    """Replaces what no HTML file may hold, in every text that the template prints."""
    if isinstance(value, Markup):
        return Markup(_UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value))
    if isinstance(value, str):
        return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value)
    return value


def _cut(text: str) -> str:
    if len(text) <= _MAX_TEXT_CHARS:
        return text
    left = len(text) - _MAX_TEXT_CHARS
    return f"{text[:_MAX_TEXT_CHARS].rstrip()} \N{HORIZONTAL ELLIPSIS} [{left:,} characters more]"


def _utc(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
