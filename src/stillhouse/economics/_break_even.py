"""From how many requests on a student has paid for itself: the one place where it is computed.

The teacher costs t a request, the student s. Of all requests the teacher still answers a share e,
after the student was asked in vain, and what keeps the student fresh costs r a request. F was spent
before the first request. After N requests the teacher alone would have cost N t, and the student
F + N (s + e t + r). Both are equal at

    N* = F / ((1 - e) t - s - r),

which exists where the denominator, what one request saves, is above 0. Solved for e, it exists as
long as e < 1 - (s + r) / t. Source: anchors/protection.md, section 6, with e = 0.
"""

import math

from stillhouse.economics._range import Range, check_amount, check_share
from stillhouse.records import Record

# A hair less, so that 3 / 0.0002 is 15,000 in binary too.
_HAIR = 1e-12


class BreakEvenVolume(Record):
    """Requests until a student has paid for itself; None where it never does."""

    requests: float | None
    low: float | None
    """At the ends of all ranges that favour the student."""
    high: float | None
    """At the other ends."""


def saving_per_request(
    teacher_usd: float, student_usd: float, *, teacher_share: float = 0.0, refresh_usd: float = 0.0
) -> float:
    """What one request saves, in US dollars; below 0 where the student costs more.

    Args:
        teacher_usd: Cost of one answer of the teacher, t.
        student_usd: Cost of one answer of the student, s.
        teacher_share: Share of requests for which the teacher is asked too, e in [0, 1].
        refresh_usd: Cost of keeping the student fresh, by request, r.

    Raises:
        DataError: an amount is negative or not finite, or the share outside [0, 1].
    """
    check_amount("The teacher's cost of an answer", teacher_usd)
    check_amount("The student's cost of an answer", student_usd)
    check_amount("The cost of refreshing", refresh_usd)
    check_share("The share of requests for the teacher", teacher_share)
    return (1 - teacher_share) * teacher_usd - student_usd - refresh_usd


def break_even_volume(fixed_usd: float, saving_usd: float) -> float | None:
    """Requests at which `saving_usd` each have paid for `fixed_usd`; None where they never do.

    Raises:
        DataError: `fixed_usd` is negative or not finite, or `saving_usd` is not finite.
    """
    check_amount("What was spent before the first request", fixed_usd)
    check_amount("The amount of what a request saves", abs(saving_usd))
    if saving_usd <= 0:
        return None
    volume = fixed_usd / saving_usd
    # A saving so small that floats cannot hold the volume is none.
    return volume if math.isfinite(volume) else None


def whole_requests(volume: float | None) -> int | None:
    """The first whole number of requests that is enough; None where none is."""
    return None if volume is None else math.ceil(volume * (1 - _HAIR))


def largest_teacher_share(
    teacher_usd: float, student_usd: float, *, refresh_usd: float = 0.0
) -> float | None:
    """The share of requests for the teacher below which a student pays back: 1 - (s + r) / t.

    Returns:
        None where it pays back at no share, since an answer of it is no cheaper.
    """
    if saving_per_request(teacher_usd, student_usd, refresh_usd=refresh_usd) <= 0:
        return None
    return 1 - (student_usd + refresh_usd) / teacher_usd


def break_even_range(
    fixed_usd: Range,
    teacher_usd: Range,
    student_usd: Range,
    *,
    teacher_share: Range,
    refresh_usd: Range,
) -> BreakEvenVolume:
    """N* and what it is at the ends of the ranges.

    N* falls with t and rises with all else, so that over the box of all ranges it lies between the
    two corners that are taken here.
    """

    def at(teacher: float, others: str) -> float | None:
        saving = saving_per_request(
            teacher,
            getattr(student_usd, others),
            teacher_share=getattr(teacher_share, others),
            refresh_usd=getattr(refresh_usd, others),
        )
        return break_even_volume(getattr(fixed_usd, others), saving)

    return BreakEvenVolume(
        requests=at(teacher_usd.value, "value"),
        low=at(teacher_usd.high, "low"),
        high=at(teacher_usd.low, "high"),
    )
