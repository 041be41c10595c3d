"""The cells of the table of systems: how figures and what belongs to them are written."""

from stillhouse.evaluate._report._table import NOT_MEASURED, Cell
from stillhouse.evaluate._task._records import SystemResult, TaskEstimate
from stillhouse.evaluate._task._report._words import (
    NBSP,
    dollars,
    milliseconds,
    share,
    share_interval,
)
from stillhouse.evaluate._task._results import TaskResults
from stillhouse.pages import decimals_of, duration, fixed, significant

_MOST_DIGITS = 5  # of the ends of a narrow interval: enough to tell them apart


def share_text(one: TaskEstimate) -> tuple[str, str]:
    """A fraction, in percent, and its interval."""
    return share(one), share_interval(one)


def plain_text(one: TaskEstimate) -> tuple[str, str]:
    """A number without a unit, and its interval."""
    decimals = min(max(decimals_of(one), 2), 3) if abs(one.high) < 10 else min(decimals_of(one), 1)
    low, high = fixed(one.low, decimals), fixed(one.high, decimals)
    return fixed(one.value, decimals), f"{low} to {high}"


def rate_text(one: TaskEstimate) -> tuple[str, str]:
    """How many a second, and its interval."""
    return significant(one.value), f"{significant(one.low)} to {significant(one.high)}"


def time_text(one: TaskEstimate) -> tuple[str, str]:
    """A time, and its interval with the unit once where both ends have it."""
    low, high = milliseconds(one.low), milliseconds(one.high)
    unit = NBSP + low.split(NBSP)[1]
    return milliseconds(
        one.value
    ), f"{low.removesuffix(unit) if high.endswith(unit) else low} to {high}"


def money_text(one: TaskEstimate) -> tuple[str, str]:
    """Dollars, and their interval where they were measured."""
    if one.method == "price":
        return dollars(one.value), "given"
    ends = dollars(one.low), dollars(one.high)
    for num_digits in range(3, _MOST_DIGITS + 1):
        if ends[0] != ends[1]:
            break
        ends = (f"${significant(one.low, num_digits)}", f"${significant(one.high, num_digits)}")
    return dollars(one.value), f"{ends[0]} to {ends[1].removeprefix('$')}"


def validation_cell(one: SystemResult) -> Cell:
    """What a training measured on rows that it did not learn from."""
    if one.validation is None:
        return Cell(NOT_MEASURED)
    found = one.validation
    interval = f"{100 * found.low:.1f} to {100 * found.high:.1f}{NBSP}%, n{NBSP}={NBSP}{found.n:,}"
    return Cell(f"{100 * found.agreement:.1f}{NBSP}%", interval)


def training_cell(one: SystemResult) -> Cell:
    """How long a training took, and what its cores cost."""
    if one.training_seconds is None:
        return Cell(NOT_MEASURED)
    cost = dollars(one.training_usd) if one.training_usd is not None else ""
    return Cell(duration(one.training_seconds), cost)


def break_even_cell(one: SystemResult, results: TaskResults) -> Cell:
    """From how many requests on a student has paid for itself."""
    even = results.break_even.get(one.name)
    if even is None:
        return Cell(NOT_MEASURED)
    if even.requests is None:
        return Cell("never", "no cheaper than the teacher")
    low = f"{significant(even.requests_low)}" if even.requests_low is not None else "?"
    high = f"{significant(even.requests_high)}" if even.requests_high is not None else "never"
    return Cell(significant(even.requests), f"{low} to {high}")
