"""A yield curve in sentences, for who makes the student and for who owns the teacher."""

from stillhouse.pipeline._yield_results import HeldBackCheck, Price, YieldPoint
from stillhouse.statistics import CallsFor, Interval


def maker_text(calls: CallsFor, price: Price, best: YieldPoint, ceiling: Interval) -> str:
    """The shopping list."""
    target = f"{1 - calls.target:.1%} agreement"
    if calls.verdict == "not_reachable":
        return (
            f"{target} is out of reach of this student: the curve levels off at "
            f"{ceiling.value:.1%} [{ceiling.low:.1%}, {ceiling.high:.1%}]. Take another student "
            "before more calls."
        )
    if calls.value is not None and calls.value <= best.calls:
        return f"{target} takes about {_calls(calls)}{_usd(price)}; you have {best.calls:,.0f}."
    if calls.verdict == "open":
        known = (
            f"from {two_digits(calls.low):,.0f} calls on"
            if calls.low is not None
            else "perhaps never"
        )
        return (
            f"{target} is reached {known}, or never: the data do not tell. With "
            f"{best.calls:,.0f} calls it stands at {best.agreement.value:.1%}."
        )
    return f"{target} takes about {_calls(calls)}{_usd(price)}; you have {best.calls:,.0f}."


def owner_text(calls: CallsFor, price: Price, best: YieldPoint) -> str:
    """The price at which the task can be copied."""
    at_best = (
        f"{best.calls:,.0f} calls copy {best.agreement.value:.1%} "
        f"[{best.agreement.low:.1%}, {best.agreement.high:.1%}] of what the teacher says"
    )
    cost = "" if price.usd_per_call is None else f" for {_money(best.calls * price.usd_per_call)}"
    if calls.value is None:
        return f"{at_best}{cost}; {1 - calls.target:.1%} was not shown to be for sale."
    return (
        f"{at_best}{cost}; {1 - calls.target:.1%} can be had for {_calls(calls)}{_usd(price)}. A "
        "limit on calls below that keeps the task from being copied so far by one account."
    )


def verdict_text(calls: CallsFor, check: HeldBackCheck) -> str:
    """The one sentence, with what the check of it gave."""
    target = f"{1 - calls.target:.1%} agreement with the teacher"
    if calls.value is None:
        first = f"{target} is not in sight"
    else:
        first = f"{target} takes about {_calls(calls)}"
    outcome = "held" if check.is_inside else "did not hold"
    return (
        f"{first}; the prediction of {check.calls:,.0f} calls from fewer {outcome} "
        f"({check.predicted.low:.1%} to {check.predicted.high:.1%} predicted, "
        f"{check.measured:.1%} measured)."
    )


def _calls(calls: CallsFor) -> str:
    value = f"{two_digits(calls.value or 0.0):,.0f} calls"
    low = "?" if calls.low is None else f"{two_digits(calls.low):,.0f}"
    high = "no end" if calls.high is None else f"{two_digits(calls.high):,.0f}"
    return f"{value} [{low} to {high}]"


def _usd(price: Price) -> str:
    if price.value_usd is None:
        return ""
    low = "?" if price.low_usd is None else _money(price.low_usd)
    high = "no end" if price.high_usd is None else _money(price.high_usd)
    return f", {_money(price.value_usd)} [{low} to {high}] at logged prices"


def _money(usd: float) -> str:
    return f"${usd:,.2f}" if usd >= 1 else f"${usd:.2g}"


def two_digits(number: float) -> float:
    """To two digits: a curve knows no more."""
    return float(f"{number:.2g}")
