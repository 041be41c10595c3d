"""Who judged an arena, and how far that is to be trusted."""

from collections.abc import Sequence

from stillhouse.errors import DataError
from stillhouse.evaluate._arena._agreement import label_agreement, reference_agreement
from stillhouse.evaluate._arena._comparisons import Comparison
from stillhouse.evaluate._arena._config import ArenaConfig
from stillhouse.evaluate._arena._estimates import fraction_estimate
from stillhouse.evaluate._arena._hold import Held, Judge
from stillhouse.evaluate._arena._judging import count_problems
from stillhouse.evaluate._arena._results import Agreement, JudgeResult, OrderEffects
from stillhouse.records import Usage


def judge_result(held: Held, judge: Judge, config: ArenaConfig) -> JudgeResult:
    """Who judged, what the order of the answers did, and how far others agree.

    Raises:
        DataError: no pair has a verdict in both orders.
    """
    outcomes = [one.outcome for one in held.comparisons]
    usages = [held.judgements.manifest.usage]
    if held.labelled is not None:
        outcomes += held.labelled.outcomes
        usages.append(held.labelled.artifact.manifest.usage)
    teacher = held.judgements.manifest.teacher
    return JudgeResult(
        teacher=teacher.id if teacher else judge.spec,
        template=f"{judge.template.name}, version {judge.template.version}",
        template_sha256=judge.template.sha256,
        num_asked=sum(len(outcome.judgements) for outcome in outcomes),
        problems=count_problems(outcomes),
        order=_order_effects(held.comparisons, seed=config.seed),
        agreements=_agreements(held, config),
        usage=_together(usages),
    )


def _order_effects(comparisons: Sequence[Comparison], *, seed: int) -> OrderEffects:
    twice = [one for one in comparisons if one.outcome.order_effect is not None]
    if not twice:
        raise DataError("No pair has a verdict in both orders. Give another judge.")
    groups = [one.duel.group for one in twice]
    by_place = [one for one in twice if one.outcome.order_effect in ("first", "second")]
    first = [one.outcome.order_effect == "first" for one in by_place]
    in_place = [one.duel.group for one in by_place]
    half = [one.outcome.order_effect == "half" for one in twice]
    flips = [one.outcome.order_effect in ("first", "second") for one in twice]
    return OrderEffects(
        num_pairs=len(twice),
        position_bias=fraction_estimate(flips, groups, seed=seed),
        first_place=fraction_estimate(first, in_place, seed=seed) if first else None,
        half_decided=fraction_estimate(half, groups, seed=seed),
    )


def _agreements(held: Held, config: ArenaConfig) -> tuple[Agreement, ...]:
    found = []
    if held.labelled is not None:
        gold, outcomes, _ = held.labelled
        found.append(label_agreement(gold, outcomes, seed=config.seed))
    if config.reference_grader is not None:
        against = reference_agreement(
            held.comparisons, held.chosen.prompts, config.reference_grader, seed=config.seed
        )
        found += [against] if against is not None else []
    return tuple(found)


def _together(usages: Sequence[Usage]) -> Usage:
    costs = [usage.cost_usd for usage in usages]
    known = [cost for cost in costs if cost is not None]
    return Usage(
        prompt_tokens=sum(usage.prompt_tokens for usage in usages),
        completion_tokens=sum(usage.completion_tokens for usage in usages),
        cost_usd=sum(known) if len(known) == len(costs) else None,
        seconds=sum(usage.seconds for usage in usages),
    )
