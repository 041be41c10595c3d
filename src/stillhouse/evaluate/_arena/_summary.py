"""The arena in a sentence, and what to know before believing it."""

from collections.abc import Iterator, Sequence

from stillhouse.evaluate._arena._results import (
    Agreement,
    ArenaModel,
    Claim,
    Contrast,
    JudgeResult,
    PairResult,
)
from stillhouse.evaluate._results import Estimate

_SPLITS = {"held_out": "held-out prompts", "train": "training prompts", "all": "prompts"}
_MOST_NAMED = 4
_MUCH_POSITION_BIAS = 0.25
_POOR_KAPPA = 0.4  # "fair" ends there in the usual reading (Landis & Koch 1977)
_MUCH_CUT = 0.05


def verdict_sentence(
    models: Sequence[ArenaModel], pairs: Sequence[PairResult], *, num_prompts: int, split: str
) -> str:
    """Who leads and which differences hold, as a reader can repeat it.

    Args:
        models: The highest rated first.
        pairs: All pairs of models, the higher rated first in each.
        num_prompts: That the models answered.
        split: Where these are from.
    """
    where = f"on {num_prompts:,} {_SPLITS[split]}"
    if len(models) == 2:
        return f"{_of_two(pairs[0], where)}."
    return f"{_leaders(models)} {where}; {_what_holds(pairs)}."


def doubts(
    models: Sequence[ArenaModel],
    pairs: Sequence[PairResult],
    judge: JudgeResult,
    *,
    split: str,
    further: Sequence[str],
) -> tuple[str, ...]:
    """Everything that may make the ranking say something else than it seems to.

    Args:
        models: The highest rated first.
        pairs: All pairs of models.
        judge: Who judged, and what it was held against.
        split: Where the prompts are from.
        further: Sentences that come before all others.
    """
    found = [
        *further,
        *_about_validation(judge.agreements),
        *_about_position(judge.order.position_bias),
        *_about_length(pairs),
        *_about_answers(models),
    ]
    if split != "held_out":
        found.append(
            "The prompts are not marked as held out: a student that was trained on them looks "
            "better here than it is."
        )
    return tuple(found)


def _of_two(pair: PairResult, where: str) -> str:
    rate = _share(pair.a_win_rate) if pair.a_win_rate else "its share is not known"
    claim, reverse = pair.contrast.claim, pair.contrast.reverse
    if claim.verdict == "better":
        return f"{pair.a} is better than {pair.b} {where}: it wins {rate} of the pairs"
    if claim.verdict == "inconclusive" and reverse.verdict == "inconclusive":
        return (
            f"{pair.a} and {pair.b} are not told apart {where}: {pair.a} wins {rate} of the "
            f"pairs{_needed(claim)}"
        )
    if claim.verdict == reverse.verdict:
        return (
            f"{pair.a} and {pair.b} are as good as each other within the margin {where}: {pair.a} "
            f"wins {rate} of the pairs"
        )
    return f"{_no_worse(pair)} within the margin {where}: {pair.a} wins {rate} of the pairs"


def _leaders(models: Sequence[ArenaModel]) -> str:
    leading = [model.name for model in models if model.standing.best_rank == 1]
    if len(leading) == 1:
        return f"{leading[0]} is better than all {len(models) - 1} others"
    return f"{_listed(leading)} may be the best of {len(models)}"


def _what_holds(pairs: Sequence[PairResult]) -> str:
    still_open = [pair for pair in pairs if not _is_apart(pair.contrast)]
    num_apart = len(pairs) - len(still_open)
    if not still_open:
        return f"all {len(pairs)} differences hold"
    said = [f"{num_apart} of {len(pairs)} differences hold"]
    if len(still_open) <= _MOST_NAMED:
        for pair in still_open:
            said.append(_no_worse(pair) or f"{pair.a} and {pair.b} are not told apart")
    return "; ".join(said)


def _no_worse(pair: PairResult) -> str:
    """That the lower rated model is no worse, or else the higher; empty where both are open."""
    if pair.contrast.reverse.verdict == "non_inferior":
        return f"{pair.b} is no worse than {pair.a}"
    if pair.contrast.claim.verdict == "non_inferior":
        return f"{pair.a} is no worse than {pair.b}"
    return ""


def _is_apart(contrast: Contrast) -> bool:
    return "better" in (contrast.claim.verdict, contrast.reverse.verdict)


def _about_validation(agreements: Sequence[Agreement]) -> Iterator[str]:
    if not agreements:
        yield (
            "The judge is not validated: nobody has compared it with people on this task, so its "
            "preferences may not be theirs. Label some pairs and give them with --gold."
        )
    for one in agreements:
        whom = "labels" if one.source == "labels" else "known answers"
        if one.kappa is None:
            yield (
                f"How far the judge agrees with the {whom} beyond chance cannot be said: one of "
                "the two says the same of every pair."
            )
        elif one.kappa.low < _POOR_KAPPA:
            yield (
                f"The judge's agreement with the {whom} beyond chance (kappa) is "
                f"{_plain(one.kappa)} on {one.num_pairs:,} pairs: that it is at least "
                f"{_POOR_KAPPA} is not shown."
            )


def _about_position(bias: Estimate) -> Iterator[str]:
    if bias.value > _MUCH_POSITION_BIAS:
        yield (
            f"The judge goes by the place of an answer in {_share(bias)} of the pairs. These count "
            "as ties, which hides differences."
        )


def _about_length(pairs: Sequence[PairResult]) -> Iterator[str]:
    changed = [
        f"{pair.a} from {pair.b}"
        for pair in pairs
        if pair.contrast_equal_length is not None
        and _is_apart(pair.contrast) != _is_apart(pair.contrast_equal_length)
    ]
    if changed:
        shown = _listed(changed[:_MOST_NAMED])
        more = f" and {len(changed) - _MOST_NAMED} more" if len(changed) > _MOST_NAMED else ""
        yield (
            f"Length matters: telling {shown}{more} depends on whether the lengths of answers are "
            "allowed for."
        )


def _about_answers(models: Sequence[ArenaModel]) -> Iterator[str]:
    for model in models:
        if model.num_cut > _MUCH_CUT * model.num_answers:
            yield (
                f"{model.num_cut:,} of {model.num_answers:,} answers of {model.name} are cut off "
                "at sampling.max_tokens, which a judge holds against them. Raise it."
            )
        if model.num_missing:
            yield (
                f"{model.name} gave no answer to {model.num_missing:,} prompts; these are left "
                "out, and may be the hard ones."
            )


def _needed(claim: Claim) -> str:
    needed = claim.num_groups_needed
    return "" if needed is None else f"; about {needed:,} prompts would tell"


def _share(rate: Estimate) -> str:
    return f"{100 * rate.value:.0f} % [{100 * rate.low:.0f}, {100 * rate.high:.0f}]"


def _plain(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def _listed(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} and {names[-1]}"
