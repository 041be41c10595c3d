"""The closed forms against root finding, against other forms of them, and at their edges."""

import itertools
import math

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy.optimize import brentq

from stillhouse.economics import (
    Range,
    break_even_range,
    break_even_volume,
    copying_ratio,
    detection_needed,
    discount,
    exactly,
    harvest_usd,
    largest_teacher_share,
    penalty_needed,
    product,
    royalty_ceiling,
    saving_per_request,
    share_of,
    total,
    whole_requests,
)
from stillhouse.errors import DataError

EXACT = 1e-9
amounts = st.floats(1e-3, 1e6)
prices = st.floats(1e-6, 10.0)
shares = st.floats(0.0, 1.0)
hostile = st.sampled_from([math.nan, math.inf, -math.inf, -1.0, -1e-300])


@given(amounts, prices, prices, st.floats(0.0, 0.95), st.floats(0.0, 0.01))
def test_the_break_even_volume_is_where_both_bills_are_equal(
    fixed: float, teacher: float, student: float, share: float, refresh: float
) -> None:
    saving = saving_per_request(teacher, student, teacher_share=share, refresh_usd=refresh)
    assume(saving > 1e-6)
    found = break_even_volume(fixed, saving)
    assert found is not None

    def gap(requests: float) -> float:
        # Request by request: each asks the student, and some of them the teacher too.
        with_student = fixed + requests * (student + share * teacher + refresh)
        return requests * teacher - with_student

    root = brentq(gap, 0.0, 4 * found, xtol=1e-12 * found, rtol=1e-14)
    assert root == pytest.approx(found, rel=EXACT)


def test_the_break_even_volume_of_numbers_worked_by_hand() -> None:
    # 300 / ((1 - 0.25) x 0.02 - 0.004 - 0.001) = 300 / 0.01
    saving = saving_per_request(0.02, 0.004, teacher_share=0.25, refresh_usd=0.001)
    assert saving == pytest.approx(0.01, rel=EXACT)
    assert break_even_volume(300.0, saving) == pytest.approx(30_000.0, rel=EXACT)


@given(prices, prices, st.floats(0.0, 0.01))
def test_beyond_the_largest_share_for_the_teacher_nothing_pays_back(
    teacher: float, student: float, refresh: float
) -> None:
    most = largest_teacher_share(teacher, student, refresh_usd=refresh)
    if most is None:
        assert student + refresh >= teacher
        return
    assume(most > 1e-6)

    def saving(share: float) -> float:
        return saving_per_request(teacher, student, teacher_share=share, refresh_usd=refresh)

    assert brentq(saving, 0.0, 1.0, xtol=1e-14) == pytest.approx(most, abs=EXACT)
    assert break_even_volume(1.0, saving(most * 0.999)) is not None
    assert break_even_volume(1.0, saving(min(most * 1.001 + 1e-9, 1.0))) is None


def test_a_student_that_is_no_cheaper_never_pays_back() -> None:
    assert break_even_volume(10.0, saving_per_request(0.01, 0.01)) is None
    assert break_even_volume(10.0, saving_per_request(0.01, 0.02)) is None
    assert break_even_volume(10.0, saving_per_request(0.0, 0.0)) is None
    assert break_even_volume(0.0, saving_per_request(0.02, 0.01)) == 0.0
    assert break_even_volume(10.0, saving_per_request(0.02, 0.001, teacher_share=1.0)) is None
    assert break_even_volume(1e300, 1e-300) is None  # a volume that no float holds
    assert largest_teacher_share(0.01, 0.02) is None


@given(amounts, prices, prices, shares, prices, st.floats(1.01, 10.0))
def test_the_volume_falls_with_the_teachers_price_and_rises_with_all_else(
    fixed: float, teacher: float, student: float, share: float, refresh: float, by: float
) -> None:
    def volume(f: float, t: float, s: float, e: float, r: float) -> float:
        found = break_even_volume(f, saving_per_request(t, s, teacher_share=e, refresh_usd=r))
        return math.inf if found is None else found

    now = volume(fixed, teacher, student, share, refresh)
    assert volume(fixed, teacher * by, student, share, refresh) <= now
    assert volume(fixed * by, teacher, student, share, refresh) >= now
    assert volume(fixed, teacher, student * by, share, refresh) >= now
    assert volume(fixed, teacher, student, min(1.0, share * by), refresh) >= now
    assert volume(fixed, teacher, student, share, refresh * by) >= now


def ranges(low: float, high: float) -> st.SearchStrategy[Range]:
    ends = st.tuples(*[st.floats(low, high)] * 3).map(sorted)
    return ends.map(lambda three: Range(low=three[0], value=three[1], high=three[2]))


@given(
    ranges(0.0, 1e4), ranges(0.0, 1.0), ranges(0.0, 1.0), ranges(0.0, 1.0), ranges(0.0, 0.1),
    st.tuples(*[st.floats(0.0, 1.0)] * 5),
)  # fmt: skip
def test_the_range_holds_the_volume_of_every_point_in_the_box(
    fixed: Range, teacher: Range, student: Range, share: Range, refresh: Range, at: tuple[float]
) -> None:
    found = break_even_range(fixed, teacher, student, teacher_share=share, refresh_usd=refresh)
    box = (fixed, teacher, student, share, refresh)
    f, t, s, e, r = (
        min(max(one.low + x * (one.high - one.low), one.low), one.high)
        for one, x in zip(box, at, strict=True)
    )
    volume = break_even_volume(f, saving_per_request(t, s, teacher_share=e, refresh_usd=r))
    slack = 1 + 1e-9
    if found.low is None:
        assert volume is None
    if volume is not None:
        assert found.low is not None
        assert found.low <= volume * slack
        assert found.high is None or volume <= found.high * slack


def test_whole_requests_are_rounded_up_and_not_by_a_hair() -> None:
    assert whole_requests(break_even_volume(3.0, 0.0002)) == 15_000
    assert whole_requests(10.001) == 11
    assert whole_requests(0.0) == 0
    assert whole_requests(None) is None


@given(shares, amounts, st.floats(0.0, 1e6), st.floats(0.0, 1.0), st.floats(0.0, 50.0))
def test_the_royalty_ceiling_is_where_a_buyer_does_not_mind(
    chance: float, penalty: float, evasion: float, rate: float, years: float
) -> None:
    later = {"rate_per_year": rate, "years": years}
    found = royalty_ceiling(chance, penalty, evasion, **later)
    # The same mean from the two outcomes, discounted continuously.
    worth = math.exp(-years * math.log1p(rate))
    caught, free = evasion + penalty * worth, evasion
    assert found == pytest.approx(chance * caught + (1 - chance) * free, rel=EXACT)
    assert royalty_ceiling(chance, penalty, evasion) >= found * (1 - 1e-12)


@given(shares, st.floats(0.0, 1e6), shares)
def test_without_detection_or_evasion_nothing_can_be_asked(
    chance: float, penalty: float, rate: float
) -> None:
    assert royalty_ceiling(0.0, penalty, 0.0, rate_per_year=rate, years=1.0) == 0.0
    assert royalty_ceiling(chance, 0.0, 0.0) == 0.0
    assert royalty_ceiling(0.0, penalty, 7.0) == 7.0
    assert royalty_ceiling(1.0, penalty, 0.0) == penalty


@given(st.floats(0.01, 1.0), amounts, st.floats(0.0, 1e4), st.floats(0.0, 0.3), st.floats(0.0, 9.0))
def test_detection_and_penalty_that_a_royalty_needs_give_it_back(
    chance: float, penalty: float, evasion: float, rate: float, years: float
) -> None:
    later = {"rate_per_year": rate, "years": years}
    royalty = royalty_ceiling(chance, penalty, evasion, **later)
    assume(royalty - evasion > 1e-6 * royalty)
    needed = detection_needed(royalty, penalty, evasion, **later)
    due = penalty_needed(royalty, chance, evasion, **later)
    assert needed == pytest.approx(chance, rel=1e-6)
    assert due == pytest.approx(penalty, rel=1e-6)
    assert needed is not None
    again = royalty_ceiling(needed, penalty, evasion, **later)
    assert again == pytest.approx(royalty, rel=EXACT)


@given(prices, amounts, amounts)
def test_ceilings_rise_with_detection_penalty_and_the_cost_of_evading(
    by: float, penalty: float, evasion: float
) -> None:
    now = royalty_ceiling(0.4, penalty, evasion)
    assert royalty_ceiling(0.5, penalty, evasion) > now
    assert royalty_ceiling(0.4, penalty * (1 + by), evasion) > now
    assert royalty_ceiling(0.4, penalty, evasion * (1 + by)) > now
    assert royalty_ceiling(0.4, penalty, evasion, rate_per_year=by, years=1.0) < now


def test_a_royalty_out_of_reach_needs_more_than_certainty() -> None:
    assert detection_needed(101.0, 100.0, 0.0) is None
    assert detection_needed(100.0, 100.0, 0.0) == 1.0
    assert detection_needed(5.0, 0.0, 5.0) == 0.0
    assert detection_needed(5.0, 0.0, 4.0) is None
    assert penalty_needed(5.0, 0.0, 4.0) is None
    assert penalty_needed(5.0, 0.0, 5.0) == 0.0
    # 1,000 dollars in two years at 7 % are 873.44 today
    assert discount(0.07, 2.0) == pytest.approx(1 / 1.07 / 1.07, rel=EXACT)
    assert discount(0.0, 30.0) == discount(0.5, 0.0) == 1.0


def test_a_harvest_is_held_beside_the_training_run() -> None:
    # 13 million exchanges of 2,000 tokens at 15 dollars a million: protection.md, section 6
    assert harvest_usd(13e6, 2_000, 15.0) == pytest.approx(390_000.0, rel=EXACT)
    assert copying_ratio(390_000.0, 39e6) == pytest.approx(0.01, rel=EXACT)
    assert copying_ratio(0.0, 1.0) == 0.0
    with pytest.raises(DataError, match="cost nothing"):
        copying_ratio(1.0, 0.0)
    with pytest.raises(DataError, match="nothing that a royalty"):
        share_of(1.0, 0.0)
    assert share_of(1.0, 8.0) == 0.125


@given(hostile)
@example(math.nan)
def test_numbers_that_are_none_are_refused_wherever_they_are_given(bad: float) -> None:
    refused = [
        lambda: saving_per_request(bad, 0.1),
        lambda: saving_per_request(0.1, bad),
        lambda: saving_per_request(0.1, 0.1, refresh_usd=bad),
        lambda: saving_per_request(0.1, 0.1, teacher_share=bad),
        lambda: break_even_volume(bad, 1.0),
        lambda: harvest_usd(bad, 1.0, 1.0),
        lambda: harvest_usd(1.0, bad, 1.0),
        lambda: harvest_usd(1.0, 1.0, bad),
        lambda: copying_ratio(bad, 1.0),
        lambda: copying_ratio(1.0, bad),
        lambda: royalty_ceiling(bad, 1.0, 1.0),
        lambda: royalty_ceiling(0.5, bad, 1.0),
        lambda: royalty_ceiling(0.5, 1.0, bad),
        lambda: royalty_ceiling(0.5, 1.0, 1.0, rate_per_year=bad),
        lambda: royalty_ceiling(0.5, 1.0, 1.0, years=bad),
        lambda: detection_needed(bad, 1.0, 1.0),
        lambda: detection_needed(0.0, 1.0, bad),
        lambda: detection_needed(2.0, bad, 1.0),
        lambda: penalty_needed(bad, 0.5, 1.0),
        lambda: penalty_needed(2.0, bad, 1.0),
        lambda: penalty_needed(2.0, 0.5, bad),
        lambda: share_of(bad, 1.0),
        lambda: share_of(1.0, bad),
    ]
    for call in refused:
        with pytest.raises(DataError) as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_saving_may_be_negative_but_not_infinite(bad: float) -> None:
    with pytest.raises(DataError, match="finite"):
        break_even_volume(1.0, bad)
    for share in (1.0000001, 2.0):
        with pytest.raises(DataError, match="share from 0 to 1"):
            saving_per_request(0.1, 0.1, teacher_share=share)


@given(ranges(0.0, 9.0), ranges(0.0, 9.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_sums_and_products_of_ranges_hold_those_of_their_points(
    a: Range, b: Range, x: float, y: float
) -> None:
    one, other = a.low + x * (a.high - a.low), b.low + y * (b.high - b.low)
    slack = 1e-9
    added, multiplied = total([a, b]), product(a, b)
    assert added.low - slack <= one + other <= added.high + slack
    assert multiplied.low - slack <= one * other <= multiplied.high + slack
    assert product(a, exactly(2.0)).value == 2 * a.value


def test_ranges_are_in_order_and_factors_not_negative() -> None:
    for low, value, high in itertools.permutations((1.0, 2.0, 3.0)):
        if (low, value, high) != (1.0, 2.0, 3.0):
            with pytest.raises(ValueError, match="not within"):
                Range(low=low, value=value, high=high)
    with pytest.raises(ValueError, match="finite"):
        Range(low=0.0, value=math.nan, high=1.0)
    with pytest.raises(DataError, match="down to -1"):
        product(Range(low=-1.0, value=0.0, high=1.0), exactly(2.0))
    assert exactly(2.0).is_exact
