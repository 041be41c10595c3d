from itertools import pairwise

import numpy as np
import pytest
from detection_cases import KEY, SCHEMES, marked_text, profile_of
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.watermark import (
    NullLaw,
    drawn_scores,
    locate,
    locate_marks,
    null_law,
    zipf_law,
)

EXPONENTIAL = NullLaw("exponential")
LAW = zipf_law(2.0, 2000)


@pytest.mark.parametrize("scheme", ["gumbel", "dual_gumbel", "kgw", "synthid"])
def test_two_marked_parts_are_found_where_they_are(scheme: str) -> None:
    rng = np.random.default_rng(4)
    profile = profile_of(scheme)
    null = null_law(profile)
    length = 250 if scheme == "kgw" else 100
    scores = _unmarked(scheme, 2000, rng)
    for begin in (300, 1200):
        scores[begin : begin + length] = drawn_scores(profile, LAW, length, rng)
    spans = locate(scores, np.arange(2000) + 7, null)
    assert len(spans) == 2
    for span, begin in zip(spans, (300, 1200), strict=True):
        assert abs(span.start - 7 - begin) <= 25
        assert abs(span.end - 7 - begin - length) <= 25
        assert span.log10_p < -3


def test_unmarked_texts_have_no_marked_parts() -> None:
    rng = np.random.default_rng(5)
    positions = np.arange(400)
    alarms = [
        len(locate(rng.exponential(size=400), positions, EXPONENTIAL, level=0.05))
        for _ in range(600)
    ]
    # 30 are allowed; the correction is Bonferroni's, and keeps far below.
    assert sum(map(bool, alarms)) <= 30


@given(st.integers(0, 200), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=40)
def test_parts_do_not_overlap_and_lie_in_the_text(num_scores: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.exponential(rng.choice([1.0, 5.0], size=num_scores))
    spans = locate(scores, np.arange(num_scores) * 2, EXPONENTIAL, level=0.5)
    assert all(0 <= span.start < span.end <= 2 * num_scores for span in spans)
    assert all(a.end <= b.start for a, b in pairwise(spans))
    assert all(span.log10_p <= np.log10(0.5) for span in spans)


def test_a_marked_passage_in_a_text_is_told_by_its_tokens() -> None:
    rng = np.random.default_rng(6)
    passage = marked_text(100, zipf_law(4.0, 2000), rng)
    text = np.concatenate(
        [rng.integers(3000, 40_000, 500), passage, rng.integers(3000, 40_000, 400)]
    )
    (span,) = locate_marks(text, profile_of(), KEY)
    assert abs(span.start - 500) <= 25
    assert abs(span.end - 600) <= 25


@pytest.mark.parametrize(("scheme", "prf"), SCHEMES)
def test_a_text_of_no_length_has_no_parts(scheme: str, prf: str) -> None:
    assert locate_marks([], profile_of(scheme, prf), KEY) == []
    assert locate_marks([5, 6], profile_of(scheme, prf), KEY) == []


def _unmarked(scheme: str, size: int, rng: np.random.Generator) -> np.ndarray:
    if scheme == "kgw":
        return (rng.random(size) < 0.25).astype(float)
    if scheme == "synthid":
        return rng.binomial(30, 0.5, size).astype(float)
    if scheme == "dual_gumbel":
        return 0.9 * rng.exponential(size=size) + 0.1 * rng.exponential(size=size)
    return rng.exponential(size=size)
