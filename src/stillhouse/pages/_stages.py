"""What each stage took, as a bar and as the rows of a table."""

from collections.abc import Sequence
from dataclasses import dataclass

from stillhouse.pages._charts import Bar, Figure, stacked_bar
from stillhouse.pages._inputs import StageCost
from stillhouse.pages._numbers import UNKNOWN, duration, money, percent

_NUM_STAGE_COLORS = 6
_PAGE_PX, _NARROW_PX = 1040.0, 340.0


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


def stage_rows(stages: Sequence[StageCost]) -> list[StageRow]:
    """One row a stage."""
    total_s = sum(stage.seconds for stage in stages)
    return [
        StageRow(
            name=stage.stage,
            color=_stage_color(index),
            time=duration(stage.seconds),
            share=percent(stage.seconds / total_s) if total_s > 0 else "",
            prompt_tokens=_count_or_dash(stage.prompt_tokens),
            completion_tokens=_count_or_dash(stage.completion_tokens),
            cost=money(stage.cost_usd),
        )
        for index, stage in enumerate(stages)
    ]


def stage_total(stages: Sequence[StageCost]) -> StageRow:
    """The sum over all stages."""
    return StageRow(
        name="Total",
        color="",
        time=duration(sum(stage.seconds for stage in stages)),
        share="",
        prompt_tokens=_count_or_dash(sum(stage.prompt_tokens for stage in stages)),
        completion_tokens=_count_or_dash(sum(stage.completion_tokens for stage in stages)),
        cost=total_cost(stages),
    )


def stage_figure(stages: Sequence[StageCost]) -> Figure | None:
    """One bar of the whole time, cut into stages."""
    total_s = sum(stage.seconds for stage in stages)
    if total_s <= 0:
        return None
    bars = [
        Bar(stage.stage, _stage_color(index), stage.seconds, duration(stage.seconds))
        for index, stage in enumerate(stages)
    ]
    label = "Time by stage: " + ", ".join(
        f"{bar.label} {percent(bar.value / total_s)}" for bar in bars
    )
    return Figure(
        wide=stacked_bar(bars, width=_PAGE_PX, label=label),
        narrow=stacked_bar(bars, width=_NARROW_PX, label=label),
    )


def total_cost(stages: Sequence[StageCost]) -> str:
    """The sum, or what is known of it: an unknown part must not look like nothing."""
    known = [stage.cost_usd for stage in stages if stage.cost_usd is not None]
    if len(known) == len(stages):
        return money(sum(known))
    return f"{money(sum(known))} + {UNKNOWN}" if sum(known) > 0 else UNKNOWN


def _count_or_dash(count: int) -> str:
    return f"{count:,}" if count else "\N{EN DASH}"


def _stage_color(index: int) -> str:
    """The colour class of the n-th stage."""
    return f"c-stage-{index % _NUM_STAGE_COLORS + 1}"
