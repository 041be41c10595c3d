"""Two systems on the same rows: how far apart they are, and the verdict.

Letters: N rows, C clusters.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from stillhouse.errors import ConfigError, DataError
from stillhouse.statistics._evidence import Evidence, Question, evidence_of_scores
from stillhouse.statistics._interval import (
    Floats,
    Interval,
    check_confidence,
    check_fraction_margin,
    check_margin,
    cluster_places,
    finite_scores,
    same_length,
)
from stillhouse.statistics._paired import (
    PairedCounts,
    binary_non_inferiority_test,
    mcnemar_exact,
    paired_counts,
    tango_interval,
)
from stillhouse.statistics._power import rows_for_non_inferiority
from stillhouse.statistics._verdict import PairedComparison, verdict_of


def compare_paired(
    a_N: npt.ArrayLike,
    b_N: npt.ArrayLike,
    *,
    margin: float,
    clusters: npt.ArrayLike | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    bounds: tuple[float, float] | None = None,
) -> PairedComparison:
    """Verdict on two systems' graded scores on the same rows.

    The interval is the paired bootstrap over clusters (BCa) or the cluster-robust t interval, at
    each end the one that reaches further: the first follows skewness, the second few clusters.
    The p-values belong to that interval.

    Args:
        margin: Tolerated loss in the unit of the scores, 0 or more.
        clusters: (N,) labels of rows that hang together; without them each row stands alone.
        seed: Of the resamples.
        bounds: Least and greatest score that the grader can give. With them, data that bear
            neither method (fewer than 10 clusters, or all clusters with one and the same
            difference) get the interval that the bounds alone warrant; without, they are refused.

    Raises:
        ShapeError: lengths differ.
        DataError: there is no row, a score is not finite or out of bounds, or the data bear no
            interval and there are no bounds.
        ConfigError: margin, confidence or bounds are out of range.
    """
    check_margin(margin)
    check_confidence(confidence)
    a, b = finite_scores("scores of a", a_N), finite_scores("scores of b", b_N)
    same_length("scores of a and b", a, b)
    span = None if bounds is None else _span(bounds, a, b, margin)
    places_N, num_clusters = cluster_places(clusters, len(a))
    question = Question(margin, confidence, seed, span)
    return _judged(evidence_of_scores(a, b, places_N, num_clusters, question), question, None)


def bounded_mean(scores_N: npt.ArrayLike, *, clusters: npt.ArrayLike) -> Interval:
    """The mean of scores in [0, 1] with an interval in it that few clusters bear too.

    That of the difference from a system that always scores 0: see `compare_paired` with bounds.

    Args:
        scores_N: (N,) in [0, 1].
        clusters: (N,) labels of rows that hang together.

    Raises:
        ShapeError: lengths differ.
        DataError: there is no row, or a score is not in [0, 1].
    """
    scores = finite_scores("scores", scores_N)
    found = compare_paired(
        scores, np.zeros(len(scores)), margin=0.0, clusters=clusters, bounds=(0.0, 1.0)
    ).difference
    return replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0))


def compare_paired_binary(
    a_N: npt.ArrayLike,
    b_N: npt.ArrayLike,
    *,
    margin: float,
    clusters: npt.ArrayLike | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> PairedComparison:
    """Verdict on two systems that are right (1) or wrong (0) on the same rows.

    Where each row is its own cluster: Tango's score interval and test, and the exact McNemar
    test, all of which hold from one row on. Else the methods of `compare_paired`.

    Args:
        margin: Tolerated loss as a fraction, in [0, 1).
        clusters: (N,) labels of rows that hang together; without them each row stands alone.
        seed: Of the resamples, where clusters hold several rows.

    Raises:
        ShapeError: lengths differ.
        DataError: there is no row, or a score is neither 0 nor 1.
        ConfigError: margin or confidence is out of range.
    """
    check_fraction_margin(margin)
    check_confidence(confidence)
    counts = paired_counts(a_N, b_N)
    places_N, num_clusters = cluster_places(clusters, counts.n)
    if num_clusters == counts.n:
        return _of_counts(counts, margin, confidence)
    a, b = finite_scores("scores of a", a_N), finite_scores("scores of b", b_N)
    question = Question(margin, confidence, seed, span=1.0)
    evidence = evidence_of_scores(a, b, places_N, num_clusters, question)
    return _judged(evidence, question, counts.discordance)


def _of_counts(counts: PairedCounts, margin: float, confidence: float) -> PairedComparison:
    interval = tango_interval(counts, confidence=confidence)
    verdict = verdict_of(interval, margin)
    n_needed = None
    if verdict == "inconclusive" and counts.difference > -margin:
        error = (1 - confidence) / 2
        needed = rows_for_non_inferiority(
            margin, counts.discordance, counts.difference, error=error
        )
        n_needed = max(counts.n + 1, needed)
    return PairedComparison(
        difference=interval,
        margin=margin,
        verdict=verdict,
        p_non_inferior=binary_non_inferiority_test(counts, margin=margin),
        p_superior=binary_non_inferiority_test(counts, margin=0.0),
        p_different=mcnemar_exact(counts),
        n_needed=n_needed,
        discordance=counts.discordance,
        confidence=confidence,
    )


def _judged(evidence: Evidence, question: Question, discordance: float | None) -> PairedComparison:
    verdict = verdict_of(evidence.interval, question.margin)
    n_needed = None
    if verdict == "inconclusive" and evidence.n_needed is not None:
        n_needed = max(evidence.interval.n + 1, evidence.n_needed)
    return PairedComparison(
        difference=evidence.interval,
        margin=question.margin,
        verdict=verdict,
        p_non_inferior=evidence.p_non_inferior,
        p_superior=evidence.p_superior,
        p_different=min(1.0, 2 * min(evidence.p_superior, evidence.p_inferior)),
        n_needed=n_needed,
        discordance=discordance,
        confidence=question.confidence,
    )


def _span(bounds: tuple[float, float], a_N: Floats, b_N: Floats, margin: float) -> float:
    low, high = bounds
    if not low < high:
        raise ConfigError(f"bounds={bounds} are no range. Give the least and greatest score.")
    least, greatest = min(a_N.min(), b_N.min()), max(a_N.max(), b_N.max())
    if least < low or greatest > high:
        raise DataError(
            f"Scores run from {least:g} to {greatest:g} with bounds={bounds}. Give bounds that "
            "hold for every score."
        )
    if margin >= high - low:
        raise ConfigError(
            f"margin={margin} is the whole range of scores, {bounds}. Give it in the unit of the "
            "scores: 2 points of 100 are 0.02 where scores run from 0 to 1."
        )
    return float(high - low)
