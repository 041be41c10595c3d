"""The arena's tables as rows of text: standings, win rates, pairs, the judge, the costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stillhouse.evaluate._arena._report._words import (
    contrast_text,
    points,
    rank_text,
    signed_points,
)
from stillhouse.evaluate._arena._results import (
    Agreement,
    ArenaModel,
    ArenaResults,
    Contrast,
    OrderEffects,
    PairResult,
)
from stillhouse.evaluate._report._table import NOT_MEASURED
from stillhouse.evaluate._results import Estimate
from stillhouse.pages import StageCost, estimate_interval, estimate_value, percent

_PROBLEMS = {
    "no_verdict": "answers without a verdict",
    "several_verdicts": "answers with several verdicts",
    "empty": "empty answers",
    "cut_off": "answers cut off before the verdict",
    "refused": "refusals to judge",
    "no_answer": "answers that never came",
}
_SAME, _HALF, _FIRST, _SECOND = "c-stage-2", "c-stage-6", "c-judged", "c-equal"


@dataclass(frozen=True)
class StandingRow:
    """One model in the table of standings."""

    name: str
    teacher: str
    rank: str
    rating: str
    rank_equal_length: str
    rating_equal_length: str
    win_rate: str
    win_interval: str
    chars: str
    trouble: str


def standing_rows(results: ArenaResults) -> list[StandingRow]:
    """The highest rated first."""
    return [_standing_row(model) for model in results.models]


def _standing_row(model: ArenaModel) -> StandingRow:
    equal = model.standing_equal_length
    trouble = [
        f"{number:,} {what}"
        for number, what in ((model.num_cut, "cut"), (model.num_missing, "missing"))
        if number
    ]
    return StandingRow(
        name=model.name,
        teacher=_origin(model),
        rank=rank_text(model.standing),
        rating=points(model.standing.rating),
        rank_equal_length=rank_text(equal) if equal else NOT_MEASURED,
        rating_equal_length=points(equal.rating) if equal else "",
        win_rate=estimate_value(model.win_rate, is_fraction=True),
        win_interval=estimate_interval(model.win_rate, is_fraction=True),
        chars=f"{model.answer_chars.value:,.0f}",
        trouble=", ".join(trouble),
    )


def _origin(model: ArenaModel) -> str:
    """Who answered, with the one name that the answers give where that says more."""
    if len(model.answered_by) != 1 or model.answered_by[0] in model.teacher:
        return model.teacher
    return f"{model.teacher} ({model.answered_by[0]})"


@dataclass(frozen=True)
class WinCell:
    """How often the row's model wins against the column's.

    Attributes:
        value: In percent; empty on the diagonal, and where nothing was judged.
        interval: The same.
        tint: 0 to 100, how far from half it is.
        color: Whose side it is on.
    """

    value: str = ""
    interval: str = ""
    tint: int = 0
    color: str = ""


def win_matrix(results: ArenaResults) -> list[list[WinCell]]:
    """Rows and columns in the order of the models."""
    names = [model.name for model in results.models]
    return [[_win_cell(results, row, column) for column in names] for row in names]


def _win_cell(results: ArenaResults, row: str, column: str) -> WinCell:
    pair = None if row == column else results.pair(row, column)
    if pair is None or pair.a_win_rate is None:
        return WinCell()
    rate = pair.a_win_rate if pair.a == row else _inverted(pair.a_win_rate)
    return WinCell(
        estimate_value(rate, is_fraction=True),
        estimate_interval(rate, is_fraction=True),
        tint=round(abs(rate.value - 0.5) * 110),
        color=_FIRST if rate.value >= 0.5 else _SECOND,
    )


def _inverted(rate: Estimate) -> Estimate:
    ends = {"value": 1 - rate.value, "low": 1 - rate.high, "high": 1 - rate.low}
    return rate.model_copy(update=ends)


@dataclass(frozen=True)
class PairRow:
    """Two models: what was counted and what holds.

    Attributes:
        parts: Wins, ties and losses of `a` in percent of the pairs, for the bar.
    """

    a: str
    b: str
    counts: tuple[int, int, int]
    parts: tuple[float, float, float]
    details: str
    difference: str
    verdict: str
    is_open: bool
    verdict_equal_length: str
    is_changed: bool


def pair_rows(results: ArenaResults) -> list[PairRow]:
    """Every pair of models, in the order of the results."""
    return [_pair_row(pair) for pair in results.pairs]


def _pair_row(pair: PairResult) -> PairRow:
    counts = (pair.a_wins, pair.ties, pair.b_wins)
    total = sum(counts) or 1
    equal = pair.contrast_equal_length
    verdict = contrast_text(pair, pair.contrast)
    verdict_equal = contrast_text(pair, equal) if equal else ""
    details = [
        f"{number:,} {what}"
        for number, what in (
            (pair.num_identical, "identical"),
            (pair.num_unreadable, "without a verdict"),
        )
        if number
    ]
    return PairRow(
        a=pair.a,
        b=pair.b,
        counts=counts,
        parts=(100 * counts[0] / total, 100 * counts[1] / total, 100 * counts[2] / total),
        details=", ".join(details),
        difference=signed_points(pair.contrast.difference),
        verdict=verdict,
        is_open=set(_verdicts(pair.contrast)) == {"inconclusive"},
        verdict_equal_length=verdict_equal,
        is_changed=equal is not None and _verdicts(equal) != _verdicts(pair.contrast),
    )


def _verdicts(contrast: Contrast) -> tuple[str, str]:
    return contrast.claim.verdict, contrast.reverse.verdict


@dataclass(frozen=True)
class Share:
    """A part of a whole, for a stacked bar and its legend."""

    label: str
    color: str
    fraction: float
    text: str


def order_shares(order: OrderEffects) -> list[Share]:
    """What swapping the answers did, as parts of all pairs that were judged twice."""
    bias, half = order.position_bias.value, order.half_decided.value
    first = bias * order.first_place.value if order.first_place else 0.0
    shares = (
        ("same verdict in both orders", _SAME, 1 - bias - half),
        ("one order decided, the other a tie", _HALF, half),
        ("the first place won both times", _FIRST, first),
        ("the second place won both times", _SECOND, bias - first),
    )
    return [
        Share(label, color, max(value, 0.0), percent(max(value, 0.0)))
        for label, color, value in shares
    ]


def problem_lines(problems: Mapping[str, int]) -> list[tuple[str, str]]:
    """Why answers of the judge count nowhere, each with how many do."""
    return [
        (_PROBLEMS.get(name, name.replace("_", " ")), f"{number:,}")
        for name, number in problems.items()
    ]


@dataclass(frozen=True)
class AgreementView:
    """The judge against somebody else, in words and a table."""

    heading: str
    lines: tuple[tuple[str, str, str], ...]
    counts: tuple[tuple[int, int, int], ...]
    num_pairs: str
    other: str


def agreement_views(agreements: Sequence[Agreement]) -> list[AgreementView]:
    """One for everything that the judge was held against."""
    return [_agreement_view(one) for one in agreements]


def _agreement_view(one: Agreement) -> AgreementView:
    is_labels = one.source == "labels"
    lines = [("same verdict", *_percent_of(one.agreement))]
    if one.decided_agreement is not None:
        lines.append(("same winner, where both name one", *_percent_of(one.decided_agreement)))
    if one.kappa is not None:
        kappa = (estimate_value(one.kappa), estimate_interval(one.kappa))
        lines.append(("beyond chance (Cohen\N{RIGHT SINGLE QUOTATION MARK}s kappa)", *kappa))
    missing = f", {one.num_unreadable:,} more without a verdict" if one.num_unreadable else ""
    return AgreementView(
        heading=f"Against {'labelled pairs' if is_labels else 'known answers'} ({one.name})",
        lines=tuple(lines),
        counts=one.counts,
        num_pairs=f"{one.num_pairs:,} pairs{missing}",
        other="label" if is_labels else "grader",
    )


def _percent_of(estimate: Estimate) -> tuple[str, str]:
    return (
        estimate_value(estimate, is_fraction=True),
        estimate_interval(estimate, is_fraction=True),
    )


def stage_costs(results: ArenaResults) -> list[StageCost]:
    """What each model's answers took, then the judge."""
    usages = {f"answers of {model.name}": model.usage for model in results.models}
    return [
        StageCost(
            stage=name,
            seconds=usage.seconds,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cost_usd=usage.cost_usd,
        )
        for name, usage in {**usages, "judge": results.judge.usage}.items()
    ]
