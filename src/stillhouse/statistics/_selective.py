"""How well confidence separates right answers from wrong ones.

Rows are independent, one for each cluster. Letters: N rows, K thresholds.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, expit, logit, ndtri, stdtrit

from stillhouse.errors import DataError
from stillhouse.statistics._fractions import fraction_upper_bound
from stillhouse.statistics._interval import (
    MIN_CLUSTERS,
    Floats,
    Integers,
    Interval,
    binary_scores,
    check_confidence,
    cluster_places,
    finite_scores,
    same_length,
)

_HALVINGS = 60
_ROUNDING = 1e-20  # of a variance


@dataclass(frozen=True)
class RiskCoverage:
    """What is wrong among the answers that are kept, by how many are kept.

    Attributes:
        threshold_K: Least confidence that is kept, falling.
        coverage_K: Fraction of rows that is kept, rising to 1.
        kept_K: Rows that are kept.
        risk_K: Fraction of them that is wrong.
        low_K: Lower end of its exact interval, each on its own.
        high_K: Upper end.
        aurc: Area under the curve: mean risk over all coverages, with its interval.
    """

    threshold_K: Floats
    coverage_K: Floats
    kept_K: Integers
    risk_K: Floats
    low_K: Floats
    high_K: Floats
    aurc: Interval


def auroc(
    scores_N: npt.ArrayLike,
    positive_N: npt.ArrayLike,
    *,
    clusters: npt.ArrayLike | None = None,
    confidence: float = 0.95,
) -> Interval:
    """Chance that a positive row has a higher score than a negative one; ties count half.

    The interval is DeLong's, robust to clusters, on the scale of log-odds, with Student's t of the
    rarer kind. It asks nothing of how scores are distributed: intervals from Hanley and McNeil's
    variance cover 88 % where one kind scatters twice as far as the other, this one 94 to 97 %.
    Where the kinds are perfectly apart, so that nothing scatters, it is Newcombe's interval, which
    needs no scatter.

    Source: DeLong, DeLong & Clarke-Pearson 1988, "Comparing the Areas under Two or More Correlated
    Receiver Operating Characteristic Curves"; clusters as Obuchowski 1997, Biometrics 53:567;
    Newcombe 2006, "Confidence intervals for an effect size measure based on the Mann-Whitney
    statistic. Part 2", Statistics in Medicine 25:559, method 5.

    Args:
        scores_N: Any finite numbers, such as confidences.
        positive_N: 1 for the kind whose scores should be higher, such as right answers, else 0.
        clusters: (N,) labels of rows that hang together; without them each row stands alone.

    Raises:
        ShapeError: lengths differ.
        DataError: there is no row, a value is not finite, or all rows are of one kind.
        ConfigError: `confidence` is out of range.
    """
    check_confidence(confidence)
    scores = finite_scores("scores", scores_N)
    positive = binary_scores("positive", positive_N) == 1
    same_length("scores and positive", scores, positive)
    num_positive = int(positive.sum())
    num_negative = len(positive) - num_positive
    if not num_positive or not num_negative:
        raise DataError(
            f"{num_positive} rows are positive and {num_negative} are not. Give rows of both kinds."
        )
    places_N, num_clusters = cluster_places(clusters, len(scores))
    wins_N = _wins(scores, positive)
    value = float(wins_N[positive].mean())
    pulls_N = (wins_N - value) / np.where(positive, num_positive, num_negative)
    sums_C = np.bincount(places_N, pulls_N, minlength=num_clusters)
    rarer = min(len(np.unique(places_N[positive])), len(np.unique(places_N[~positive])))
    variance = float(sums_C @ sums_C) * rarer / max(1, rarer - 1)
    tail = (1 - confidence) / 2
    if rarer < 2 or variance < _ROUNDING or not 0 < value < 1:
        z = float(ndtri(1 - tail))
        high = _area_end(value, num_positive, num_negative, z)
        low = 1 - _area_end(1 - value, num_positive, num_negative, z)
    else:
        reach = float(stdtrit(rarer - 1, 1 - tail)) * math.sqrt(variance) / (value * (1 - value))
        low, high = (float(expit(logit(value) + side * reach)) for side in (-1, 1))
    return Interval(value, low, high, len(scores), num_clusters)


def risk_coverage(
    confidences_N: npt.ArrayLike, wrong_N: npt.ArrayLike, *, confidence: float = 0.95
) -> RiskCoverage:
    """The fraction wrong among the most confident answers, for each number of them.

    Rows of equal confidence are kept together; the area takes them in random order. The area's
    interval is symmetric on a log scale with the delta method's standard error and Student's t of
    the rarer of right and wrong; where nothing is wrong it reaches to the area that the exact bound
    of that allows at worst.

    Source: El-Yaniv & Wiener 2010, "On the Foundations of Noise-free Selective Classification";
    the area as Geifman, Uziel & El-Yaniv 2019, "Bias-Reduced Uncertainty Estimation for Deep Neural
    Classifiers", arXiv:1805.08206.

    Args:
        confidences_N: Any finite numbers.
        wrong_N: 1 where the answer is wrong, else 0.
        confidence: Of each point's interval, and of the area's.

    Raises:
        ShapeError: lengths differ.
        DataError: there is no row, or a value is not finite or not 0 or 1.
        ConfigError: `confidence` is out of range.
    """
    check_confidence(confidence)
    stated = finite_scores("confidences", confidences_N)
    wrong = binary_scores("wrong", wrong_N)
    same_length("confidences and wrong", stated, wrong)
    order_N = np.argsort(-stated, kind="stable")
    stated, wrong = stated[order_N], wrong[order_N]
    lasts_K = np.flatnonzero(np.append(stated[1:] != stated[:-1], True))
    kept_K = lasts_K + 1
    wrong_K = np.cumsum(wrong)[lasts_K]
    right_K = kept_K - wrong_K
    tail = (1 - confidence) / 2
    # The exact ends as in `fraction_interval`; a count of 0 is replaced only to be masked.
    low_K = betaincinv(np.maximum(wrong_K, 1), right_K + 1, tail)
    high_K = betaincinv(wrong_K + 1, np.maximum(right_K, 1), 1 - tail)
    return RiskCoverage(
        threshold_K=stated[lasts_K],
        coverage_K=kept_K / len(stated),
        kept_K=kept_K,
        risk_K=wrong_K / kept_K,
        low_K=np.where(wrong_K > 0, low_K, 0.0),
        high_K=np.where(right_K > 0, high_K, 1.0),
        aurc=_area_of_risk(wrong, lasts_K, confidence),
    )


def _area_of_risk(wrong_N: Floats, lasts_K: Integers, confidence: float) -> Interval:
    """Area under the curve; rows are sorted by falling confidence, runs of equal ones end so."""
    n = len(wrong_N)
    firsts_K = np.concatenate([[0], lasts_K[:-1] + 1])
    sizes_K = np.diff([*firsts_K, n])

    def run_means(values_N: Floats) -> Floats:
        return np.repeat(np.add.reduceat(values_N, firsts_K) / sizes_K, sizes_K)

    places_N = np.arange(1, n + 1)
    # A wrong row at place i adds to the risk of each later number kept: sum of 1/k for k >= i.
    weights_N = run_means(np.cumsum(1 / places_N[::-1])[::-1])
    area = float(wrong_N @ weights_N) / n
    unseen = fraction_upper_bound(0, n, confidence=1 - (1 - confidence) / 2)
    if not wrong_N.any():
        # All of that share in front: risk 1 up to there, then falling as share / coverage.
        return Interval(0.0, 0.0, unseen * (1 - math.log(unseen)), n, n)
    if wrong_N.all():
        return Interval(1.0, 1 - unseen * (1 - math.log(unseen)), 1.0, n, n)
    if n < MIN_CLUSTERS:
        return Interval(area, 0.0, 1.0, n, n)
    # Influence of a row: its own term, and that more confident company thins others' errors.
    later_N = run_means(np.cumsum((run_means(wrong_N) / places_N)[::-1])[::-1])
    pulls_N = wrong_N * weights_N - later_N
    error = float(np.std(pulls_N, ddof=1)) / math.sqrt(n)
    rarer = min(int(wrong_N.sum()), n - int(wrong_N.sum()))
    reach = float(stdtrit(max(1, rarer - 1), 1 - (1 - confidence) / 2))
    spread = math.exp(reach * error / area)
    return Interval(area, area / spread, min(1.0, area * spread), n, n)


def _area_end(value: float, num_positive: int, num_negative: int, z: float) -> float:
    """The largest area of which the estimate `value` is `z` standard errors below."""
    others = (num_positive + num_negative) / 2 - 1
    low, high = value, 1.0
    for _ in range(_HALVINGS):
        area = (low + high) / 2
        variance = 1 + others * ((1 - area) / (2 - area) + area / (1 + area))
        variance *= area * (1 - area) / (num_positive * num_negative)
        low, high = (area, high) if area - value < z * math.sqrt(variance) else (low, area)
    return (low + high) / 2


def _midranks(scores_N: Floats) -> Floats:
    """Ranks from 1, equal scores sharing their mean rank."""
    _, places_N, counts = np.unique(scores_N, return_inverse=True, return_counts=True)
    lasts = np.cumsum(counts)
    ranks: Floats = (lasts - (counts - 1) / 2)[places_N]
    return ranks


def _wins(scores_N: Floats, positive_N: npt.NDArray[np.bool_]) -> Floats:
    """Share of the other kind that lies on the right side of each row; ties count half."""
    below_N = _midranks(scores_N)  # overall, less those among its own kind: of the other kind
    for kind_N in (positive_N, ~positive_N):
        below_N[kind_N] -= _midranks(scores_N[kind_N])
    others_N = np.where(positive_N, (~positive_N).sum(), positive_N.sum())
    wins_N: Floats = np.where(positive_N, below_N, others_N - below_N) / others_N
    return wins_N
