"""Where a scan's learning curve goes with more prompts, and how far that can be known."""

from collections.abc import Sequence

import numpy as np

from stillhouse.pipeline._scan_results import CurvePoint, Forecast
from stillhouse.statistics import CallsFor, Interval, YieldCurve, fit_yield_curve

_FEWEST_POINTS = 3
_NUM_DRAWN = 25
_FURTHEST = 10.0  # times the prompts that were seen
_TRUSTED = 2.0
_NO_ERROR = 1e-9
_NORMAL_WIDTH = 2 * 1.959964  # of a 95 % interval, in standard errors


def forecast(
    curve: Sequence[CurvePoint], *, target: float
) -> tuple[tuple[Forecast, ...], CallsFor | None]:
    """The curve through the points up to ten times as many prompts, and what the target takes.

    Returns:
        Nothing where fewer than 3 points show no bend.
    """
    if len(curve) < _FEWEST_POINTS:
        return (), None
    fitted = fitted_curve([(point.num_rows, point.agreement) for point in curve])
    seen = curve[-1].num_rows
    rows = np.unique(np.geomspace(curve[0].num_rows, _FURTHEST * seen, _NUM_DRAWN).round())
    found = [
        Forecast(
            num_rows=int(number),
            agreement=agreement_at(fitted, float(number)),
            is_beyond=bool(number > _TRUSTED * seen),
        )
        for number in rows
    ]
    return tuple(found), fitted.calls_for(1 - target)


def fitted_curve(points: Sequence[tuple[float, Interval]]) -> YieldCurve:
    """The falling curve of errors through agreements, by calls or rows."""
    return fit_yield_curve(
        [number for number, _ in points],
        # Errors that are all zero have no size that the search for an interval could begin with.
        [max(1 - agreement.value, _NO_ERROR) for _, agreement in points],
        [standard_error(agreement) for _, agreement in points],
    )


def agreement_at(fitted: YieldCurve, number: float, *, standard_error: float = 0.0) -> Interval:
    """The agreement that a curve of errors has at a number of calls."""
    error = fitted.predict(number, standard_error=standard_error)
    return Interval(
        1 - error.value,
        max(0.0, 1 - error.high),
        min(1.0, 1 - error.low),
        n=error.n,
        num_clusters=error.num_clusters,
    )


def standard_error(interval: Interval) -> float:
    """The standard error that a 95 % interval of this width stands for; more than 0."""
    return max((interval.high - interval.low) / _NORMAL_WIDTH, 1e-6)
