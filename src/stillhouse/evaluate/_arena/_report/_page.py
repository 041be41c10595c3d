"""The arena's page: no network, no script, no other file."""

from collections.abc import Mapping, Sequence

from stillhouse.evaluate._arena._report._forest import forest_figure
from stillhouse.evaluate._arena._report._tables import (
    Share,
    agreement_views,
    order_shares,
    pair_rows,
    problem_lines,
    stage_costs,
    standing_rows,
    win_matrix,
)
from stillhouse.evaluate._arena._report._words import rank_text
from stillhouse.evaluate._arena._results import ArenaExample, ArenaResults
from stillhouse.evaluate._results import Estimate
from stillhouse.pages import (
    Bar,
    Figure,
    LineageNode,
    Tile,
    duration,
    estimate_interval,
    estimate_value,
    lineage_figure,
    page_environment,
    stacked_bar,
    stage_figure,
    stage_rows,
    stage_total,
    total_cost,
    utc_text,
)

_HALF_PAGE_PX, _NARROW_PX = 500.0, 340.0
_SPLITS = {"held_out": "held-out prompts", "train": "training prompts", "all": "prompts"}


def render_arena_report(
    results: ArenaResults,
    *,
    lineage: Sequence[LineageNode],
    command: str,
    environment: Mapping[str, str],
) -> str:
    """The report as the text of one HTML file, to be written as UTF-8.

    Args:
        results: What was found.
        lineage: What it was made from.
        command: What a reader types to get the same.
        environment: What it ran on, in the order shown.
    """
    order, stages = results.judge.order, stage_costs(results)
    page = page_environment("stillhouse.evaluate", "_arena/_report").get_template(
        "arena.html.jinja"
    )
    return page.render(
        results=results,
        prompts_word=_SPLITS[results.split],
        created=utc_text(results.created_utc),
        seconds=duration(results.seconds),
        tiles=_tiles(results),
        forest=forest_figure(results.models),
        has_equal_length=any(one.standing_equal_length for one in results.models),
        standings=standing_rows(results),
        names=[model.name for model in results.models],
        matrix=win_matrix(results),
        pairs=pair_rows(results),
        order_shares=order_shares(order),
        order_figure=_order_figure(order_shares(order)),
        position_bias=_with_interval(order.position_bias),
        first_place=_with_interval(order.first_place) if order.first_place else "",
        long_answers=_with_interval(results.long_answer_wins) if results.long_answer_wins else "",
        problems=problem_lines(results.judge.problems),
        agreements=agreement_views(results.judge.agreements),
        examples=[(example, _outcome(example)) for example in results.examples],
        stages=stage_rows(stages),
        stages_total=stage_total(stages),
        stage_figure=stage_figure(stages),
        lineage=lineage_figure(lineage, {}),
        command=command,
        environment=environment,
    )


def _tiles(results: ArenaResults) -> list[Tile]:
    first, judge = results.models[0], results.judge
    num_counted = sum(pair.num_counted for pair in results.pairs)
    return [
        Tile(
            "In front", first.name, (f"rank {rank_text(first.standing)} of {len(results.models)}",)
        ),
        _trust_tile(results),
        Tile(
            "Place decides",
            estimate_value(judge.order.position_bias, is_fraction=True),
            (f"of {judge.order.num_pairs:,} pairs when answers", "change places; these are ties"),
        ),
        Tile("Pairs compared", f"{num_counted:,}", (f"of {results.num_possible:,} there are",)),
        Tile(
            "Cost",
            total_cost(stage_costs(results)),
            (f"{judge.num_asked:,} questions to the judge",),
        ),
    ]


def _trust_tile(results: ArenaResults) -> Tile:
    agreements = results.judge.agreements
    if not agreements:
        return Tile("Judge", "not validated", ("no labelled pairs were given",))
    one = agreements[0]
    kappa = (
        f"kappa {estimate_value(one.kappa)} [{estimate_interval(one.kappa)}]" if one.kappa else ""
    )
    whom = "labels" if one.source == "labels" else "known answers"
    value = estimate_value(one.agreement, is_fraction=True)
    return Tile("Judge agrees", value, tuple(filter(None, (f"with {whom}", kappa))))


def _order_figure(shares: Sequence[Share]) -> Figure:
    bars = [Bar(one.label, one.color, one.fraction, one.text) for one in shares if one.fraction]
    label = "Verdicts when the answers change places: " + ", ".join(
        f"{one.text} {one.label}" for one in shares
    )
    wide, narrow = (
        stacked_bar(bars, width=width, label=label) for width in (_HALF_PAGE_PX, _NARROW_PX)
    )
    return Figure(wide=wide, narrow=narrow)


def _with_interval(estimate: Estimate) -> str:
    value = estimate_value(estimate, is_fraction=True)
    return f"{value} [{estimate_interval(estimate, is_fraction=True)}]"


def _outcome(example: ArenaExample) -> str:
    if example.winner is None:
        return "no verdict that can be read"
    if example.order_effect is None:
        return "the same text: a tie"
    if example.winner != "tie":
        return f"{example.a if example.winner == 'a' else example.b} wins in both orders"
    if example.order_effect == "none":
        return "a tie in both orders"
    return "the verdict changes with the order: a tie"
