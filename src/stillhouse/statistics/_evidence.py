"""What scores on the same rows say about two systems: an interval and the tests that match it.

Letters: N rows, C clusters.
"""

import math
from dataclasses import dataclass

import numpy as np

from stillhouse.errors import DataError
from stillhouse.statistics._bootstrap import resampled_difference
from stillhouse.statistics._interval import MIN_CLUSTERS, Floats, Integers, Interval
from stillhouse.statistics._paired_means import PairedMeans, paired_means
from stillhouse.statistics._power import rows_for_gap

_NUM_RESAMPLES = 2000
_POWER = 0.8


@dataclass(frozen=True)
class Question:
    """What is asked of two systems.

    Attributes:
        margin: Tolerated loss, in the unit of the scores.
        confidence: Of the two-sided interval.
        seed: Of the resamples.
        span: Differences lie in [-span, span]; None where scores have no known limits.
    """

    margin: float
    confidence: float
    seed: int
    span: float | None


@dataclass(frozen=True)
class Evidence:
    """An interval of the difference and one-sided p-values that match it.

    Attributes:
        interval: Of `a` minus `b`.
        p_non_inferior: Against "`a` is worse by the margin or more".
        p_superior: Against "`a` is not better".
        p_inferior: Against "`a` is not worse".
        n_needed: Rows that would show non-inferiority at 80 % power if all is as observed, where
            the observed difference is above -margin.
    """

    interval: Interval
    p_non_inferior: float
    p_superior: float
    p_inferior: float
    n_needed: int | None


def evidence_of_scores(
    a_N: Floats, b_N: Floats, places_N: Integers, num_clusters: int, question: Question
) -> Evidence:
    """The evidence in graded scores, by the method that the data bear.

    Raises:
        DataError: without a known span of scores, there are fewer than 10 clusters, or all
            clusters have one and the same difference.
    """
    if num_clusters < MIN_CLUSTERS:
        return _of_few_clusters(a_N - b_N, num_clusters, question)
    means = paired_means(a_N, b_N, clusters=places_N)
    if means.standard_error == 0:
        return _of_equal_clusters(means, question)
    return _of_resamples(a_N, b_N, places_N, means, question)


def _of_resamples(
    a_N: Floats, b_N: Floats, places_N: Integers, means: PairedMeans, question: Question
) -> Evidence:
    """At each end the wider of bootstrap and t interval, and the p-values of that.

    BCa follows skewness but is short for few clusters and rare differences, t the reverse.
    """
    ones_N = np.ones(len(a_N))
    resampled = resampled_difference(
        (a_N, ones_N),
        (b_N, ones_N),
        clusters=places_N,
        num_resamples=_NUM_RESAMPLES,
        seed=question.seed,
    )
    both = [resampled.interval(question.confidence), means.interval(question.confidence)]
    return Evidence(
        Interval(
            means.difference,
            min(part.low for part in both),
            max(part.high for part in both),
            means.n,
            means.num_clusters,
        ),
        p_non_inferior=max(part.p_above(-question.margin) for part in (resampled, means)),
        p_superior=max(part.p_above(0.0) for part in (resampled, means)),
        p_inferior=max(part.p_below(0.0) for part in (resampled, means)),
        n_needed=_rows_at_variance(means, question),
    )


def _rows_at_variance(means: PairedMeans, question: Question) -> int | None:
    gap = means.difference + question.margin
    if gap <= 0:
        return None
    variance = means.n * means.standard_error**2  # of one row, clustering included
    error = (1 - question.confidence) / 2
    return rows_for_gap(gap, variance, variance, error=error, power=_POWER)


def _of_few_clusters(difference_N: Floats, num_clusters: int, question: Question) -> Evidence:
    """Nothing is claimed: the interval is all that the scores allow."""
    if question.span is None:
        raise DataError(
            f"{num_clusters} clusters are too few to compare graded scores. Measure at least "
            f"{MIN_CLUSTERS}, or say between which bounds scores lie."
        )
    n, value = len(difference_N), float(difference_N.mean())
    interval = Interval(value, -question.span, question.span, n, num_clusters)
    n_needed = math.ceil(MIN_CLUSTERS * n / num_clusters) if value > -question.margin else None
    return Evidence(interval, 1.0, 1.0, 1.0, n_needed)


def _of_equal_clusters(means: PairedMeans, question: Question) -> Evidence:
    """All clusters have one difference, so only the fraction of unseen others is bounded.

    Were a fraction s of clusters different, C would show none of them in (1 - s)**C of all cases,
    and they could move the mean by s times the way to the end of the scores.
    """
    if question.span is None:
        raise DataError(
            f"All {means.num_clusters} clusters differ by the same {means.difference:g}, so their "
            "spread is unknown. Measure more rows, or say between which bounds scores lie."
        )
    value, span = means.difference, question.span
    tail = (1 - question.confidence) / 2
    unseen = -math.expm1(math.log(tail) / means.num_clusters)

    def p_above(threshold: float, value: float) -> float:
        if value <= threshold:
            return 1.0
        share = min(1.0, (value - threshold) / (value + span))
        return float((1 - share) ** means.num_clusters)

    gap = value + question.margin
    n_needed = None
    if gap > 0:
        share = gap / (value + span)
        clusters = math.log(tail) / math.log1p(-share) if share < 1 else 1.0
        n_needed = math.ceil(clusters * means.n / means.num_clusters)
    return Evidence(
        Interval(
            value,
            value - (value + span) * unseen,
            value + (span - value) * unseen,
            means.n,
            means.num_clusters,
        ),
        p_non_inferior=p_above(-question.margin, value),
        p_superior=p_above(0.0, value),
        p_inferior=p_above(0.0, -value),
        n_needed=n_needed,
    )
