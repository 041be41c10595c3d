"""How far the judge agrees with people, or with a grader that knows the right answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from stillhouse.errors import DataError
from stillhouse.evaluate._arena._comparisons import Comparison
from stillhouse.evaluate._arena._estimates import estimate_of, fraction_estimate
from stillhouse.evaluate._arena._gold import Gold, gold_duels
from stillhouse.evaluate._arena._judging import Outcome
from stillhouse.evaluate._arena._results import Agreement
from stillhouse.evaluate._results import Estimate
from stillhouse.graders import GRADERS, Winner
from stillhouse.records import Prompt
from stillhouse.statistics import cohen_kappa
from stillhouse.tasks import GraderName

_ORDER: tuple[Winner, ...] = ("a", "tie", "b")


@dataclass(frozen=True)
class _Pair:
    """One pair of answers, as somebody and the judge see it."""

    theirs: Winner
    ours: Winner | None
    group: str


def label_agreement(gold: Gold, outcomes: Sequence[Outcome], *, seed: int) -> Agreement:
    """The judge against people; identical answers, which it is not asked about, do not count.

    Args:
        gold: Labelled pairs.
        outcomes: What the judge made of them, in their order.
        seed: Of the bootstrap.

    Raises:
        DataError: no verdict on them can be read.
    """
    duels = gold_duels(gold.rows, shows_reference=False)
    pairs = [
        _Pair(row.winner, outcome.winner, duel.group)
        for row, duel, outcome in zip(gold.rows, duels, outcomes, strict=True)
        if outcome.basis != "identical"
    ]
    counted = [pair for pair in pairs if pair.ours is not None]
    if not counted:
        raise DataError(f"The judge gave no verdict on the labelled pairs in {gold.name}.")
    return _agreement(pairs, counted, source="labels", name=gold.name, seed=seed)


def reference_agreement(
    comparisons: Sequence[Comparison],
    prompts: Sequence[Prompt],
    grader: GraderName,
    *,
    seed: int,
) -> Agreement | None:
    """The judge against a grader's preference, where prompts have a reference.

    Args:
        comparisons: What was judged.
        prompts: That they are about.
        grader: Name of the grader; a higher score wins, and equal ones are a tie.
        seed: Of the bootstrap.

    Returns:
        None where no pair with a reference was judged.

    Raises:
        RecordError: the grader cannot read a reference.
    """
    pairs = []
    for one in comparisons:
        reference = prompts[one.pairing.prompt].reference
        if reference is not None and one.outcome.basis != "identical":
            a, b = (GRADERS[grader].score(text, reference) for text in (one.duel.a, one.duel.b))
            preferred: Winner = "a" if a > b else "b" if b > a else "tie"
            pairs.append(_Pair(preferred, one.outcome.winner, one.duel.group))
    counted = [pair for pair in pairs if pair.ours is not None]
    if not counted:
        return None
    return _agreement(pairs, counted, source="references", name=grader, seed=seed)


def _agreement(
    pairs: Sequence[_Pair],
    counted: Sequence[_Pair],
    *,
    source: Literal["labels", "references"],
    name: str,
    seed: int,
) -> Agreement:
    decided = [pair for pair in counted if "tie" not in (pair.theirs, pair.ours)]
    return Agreement(
        source=source,
        name=name,
        num_pairs=len(counted),
        num_unreadable=len(pairs) - len(counted),
        agreement=_share_alike(counted, seed),
        kappa=_kappa(counted),
        decided_agreement=_share_alike(decided, seed) if decided else None,
        counts=tuple(_counts(counted, theirs) for theirs in _ORDER),
    )


def _counts(pairs: Sequence[_Pair], theirs: Winner) -> tuple[int, int, int]:
    ours = [pair.ours for pair in pairs if pair.theirs == theirs]
    return ours.count("a"), ours.count("tie"), ours.count("b")


def _share_alike(pairs: Sequence[_Pair], seed: int) -> Estimate:
    alike = [pair.theirs == pair.ours for pair in pairs]
    return fraction_estimate(alike, [pair.group for pair in pairs], seed=seed)


def _kappa(pairs: Sequence[_Pair]) -> Estimate | None:
    theirs, ours = [pair.theirs for pair in pairs], [str(pair.ours) for pair in pairs]
    if len({*theirs, *ours}) == 1:
        return None  # chance alone explains that
    groups = [pair.group for pair in pairs]
    return estimate_of(cohen_kappa(theirs, ours, clusters=groups))
