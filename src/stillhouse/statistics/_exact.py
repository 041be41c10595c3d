"""Exact intervals for fractions of independent items."""

from scipy.special import betaincinv

from stillhouse.errors import DataError
from stillhouse.statistics._bootstrap import Interval


def fraction_interval(successes: int, total: int, *, confidence: float = 0.95) -> Interval:
    """The fraction `successes / total` with its Clopper-Pearson interval.

    It covers at least `confidence` at every true fraction, also where nothing or everything
    succeeded; there a bootstrap would claim certainty. The items must be independent: one for
    each cluster.

    Raises:
        DataError: there are no items, or more successes than items.
    """
    if not 0 <= successes <= total or total == 0:
        raise DataError(
            f"{successes} of {total} is no fraction. Give at least one item, and no more successes "
            "than items."
        )
    tail = (1 - confidence) / 2
    failures = total - successes
    low = float(betaincinv(successes, failures + 1, tail)) if successes else 0.0
    high = float(betaincinv(successes + 1, failures, 1 - tail)) if failures else 1.0
    return Interval(successes / total, low, high, n=total, num_clusters=total)
