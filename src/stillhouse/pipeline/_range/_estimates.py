"""From scores to estimates with intervals.

Letters: P held-out prompts.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stillhouse.errors import DataError
from stillhouse.pipeline._range._measure import Scores
from stillhouse.pipeline._range._results import Cost, Quality
from stillhouse.statistics import (
    Interval,
    clustered_bootstrap,
    fraction_interval,
    paired_bootstrap_ratio,
)

Floats = npt.NDArray[np.float64]
_LEAST_GAP = 0.05  # of right answers, between base and teacher


def quality_of(
    student: Scores, base: Scores, teacher: Scores, clusters: Sequence[str], *, seed: int
) -> Quality:
    """How good a student is.

    Raises:
        DataError: the teacher is hardly better than the base, so that there is nothing to copy.
    """
    return Quality(
        gap_closed=_gap_closed(student, base, teacher, clusters, seed),
        kl_nats=kl_of(student, clusters, seed=seed),
        right=right_of(student, clusters, seed=seed),
    )


def kl_of(scores: Scores, clusters: Sequence[str], *, seed: int) -> Interval:
    """KL(teacher || model) per token."""
    return clustered_bootstrap(scores.kl_P, scores.tokens_P, clusters=list(clusters), seed=seed)


def right_of(scores: Scores, clusters: Sequence[str], *, seed: int) -> Interval | None:
    """Share of right answers; exact where none or all are, which resampling takes for certain."""
    if scores.right_P is None:
        return None
    num, total = sum(scores.right_P), len(scores.right_P)
    if num in (0, total):
        return fraction_interval(round(num), total)
    return clustered_bootstrap(scores.right_P, np.ones(total), clusters=list(clusters), seed=seed)


def _gap_closed(
    student: Scores, base: Scores, teacher: Scores, clusters: Sequence[str], seed: int
) -> Interval:
    labels = list(clusters)
    if student.right_P is None or base.right_P is None or teacher.right_P is None:
        ratio = paired_bootstrap_ratio(
            (student.kl_P, student.tokens_P), (base.kl_P, base.tokens_P), clusters=labels, seed=seed
        )
        return Interval(1 - ratio.value, 1 - ratio.high, 1 - ratio.low, ratio.n, ratio.num_clusters)
    student_P, base_P, teacher_P = (
        np.array(one.right_P, dtype=np.float64) for one in (student, base, teacher)
    )
    gap = float((teacher_P - base_P).mean())
    if gap < _LEAST_GAP:
        raise DataError(
            f"The teacher is right in {teacher_P.mean():.0%} of held-out prompts and the base of "
            f"the students in {base_P.mean():.0%}, so there is nothing to copy. Teach it more, or "
            "take a harder task."
        )
    if (student_P == base_P).all():  # nothing varies, and nothing was gained
        exact = fraction_interval(0, len(student_P))
        return Interval(0.0, 0.0, exact.high / gap, exact.n, exact.num_clusters)
    ones_P = np.ones(len(student_P))
    return paired_bootstrap_ratio(
        (student_P - base_P, ones_P), (teacher_P - base_P, ones_P), clusters=labels, seed=seed
    )


def cost_of(
    *,
    refused: Interval | None,
    lost_logprobs: Interval | None,
    lost_reasoning: Interval | None,
    worse: Interval | None,
    nll_nats: Interval | None,
    time_ratio: float | None,
) -> Cost:
    """The parts, and the share of honest requests that are worse off for any of them."""
    parts = [one for one in (refused, lost_logprobs, lost_reasoning, worse) if one is not None]
    value, low, high = (
        1.0 - float(np.prod([1.0 - min(1.0, max(0.0, getattr(one, end))) for one in parts]))
        for end in ("value", "low", "high")
    )
    return Cost(
        share=Interval(
            value,
            low,
            high,
            n=min((one.n for one in parts), default=0),
            num_clusters=min((one.num_clusters for one in parts), default=0),
        ),
        refused=refused,
        lost_logprobs=lost_logprobs,
        lost_reasoning=lost_reasoning,
        worse=worse,
        nll_nats=nll_nats,
        time_ratio=time_ratio,
    )
