"""The accounts in sentences."""

from stillhouse.economics._break_even import BreakEvenVolume, whole_requests
from stillhouse.economics._drivers import Drivers
from stillhouse.economics._inputs import Inputs
from stillhouse.pages import money, significant

_THOUSAND = 1_000


def verdict_of(drivers: Drivers | None, even: BreakEvenVolume | None, inputs: Inputs) -> str:
    """The one sentence, or what keeps it from being said."""
    if drivers is None or even is None:
        return f"Whether it pays back is unknown. {inputs.missing[0]}"
    spent = f"{money(drivers.fixed_usd)} were spent before the first request"
    rates = [
        f"1,000 answers cost {money(_THOUSAND * drivers.teacher_usd)} of the teacher and "
        f"{money(_THOUSAND * drivers.student_usd)} of the student"
    ]
    if drivers.teacher_share > 0:
        rates.append(f"{drivers.teacher_share:.1%} of requests need both")
    if drivers.refresh_usd > 0:
        rates.append(
            f"refreshing it costs {money(_THOUSAND * drivers.refresh_usd)} for 1,000 requests"
        )
    told = "; ".join(rates)
    if even.requests is None:
        return f"It never pays back: {told}; {spent}."
    return f"It pays back after {requests_text(even)} requests: {spent}; {told}."


def requests_text(even: BreakEvenVolume) -> str:
    """`12,300 [11,000 to 14,000]`, with `never` where an end does not exist."""
    number = count_text(even.requests)
    low, high = count_text(even.low), count_text(even.high)
    return number if low == number == high else f"{number} [{low} to {high}]"


def count_text(requests: float | None) -> str:
    """Requests with three digits; `never` for None."""
    whole = whole_requests(requests)
    return "never" if whole is None else significant(float(whole))
