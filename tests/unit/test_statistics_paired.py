"""Paired intervals and tests against published tables, scipy and naive definitions."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.errors import ConfigError, DataError, ShapeError
from stillhouse.statistics import (
    Interval,
    PairedCounts,
    binary_equivalence_test,
    binary_non_inferiority_test,
    equivalence_test,
    mcnemar_exact,
    newcombe_interval,
    non_inferiority_test,
    paired_counts,
    paired_means,
    tango_interval,
)

# Complete response before and after consolidation therapy: Cavo et al. 2012, Blood 120:9, as in
# Fagerland, Lydersen & Laake 2017, "Statistical Analysis of Contingency Tables", chapter 8. The
# figures are those that its R package contingencytables prints (tests/testthat/test-ch8.R).
CAVO = PairedCounts(both=59, only_a=6, only_b=16, neither=80)

TABLES = st.builds(PairedCounts, *[st.integers(0, 60)] * 3, st.integers(1, 60))


def ends(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high


def naive_score(counts: PairedCounts, shift: float) -> float:
    """Tango's statistic, its nuisance parameter found by maximising the likelihood."""
    b, c, n = counts.only_a, counts.only_b, counts.n
    same = n - b - c

    def loss(only_b: float) -> float:
        cells = np.maximum([only_b + shift, only_b, 1 - 2 * only_b - shift], 1e-300)
        return -float(np.dot([b, c, same], np.log(cells)))

    found = scipy.optimize.minimize_scalar(
        loss,
        bounds=(max(0.0, -shift), (1 - shift) / 2),
        method="bounded",
        options={"xatol": 1e-12},
    )
    variance = n * (2 * found.x + shift * (1 - shift))
    return (b - c - n * shift) / math.sqrt(variance)


# Right or wrong


def test_published_figures_of_a_paired_table_are_met() -> None:
    assert CAVO.difference == pytest.approx(-0.0621, abs=5e-5)
    assert ends(tango_interval(CAVO)) == pytest.approx((-0.1240, -0.0054), abs=5e-5)
    assert ends(newcombe_interval(CAVO)) == pytest.approx((-0.1186, -0.0046), abs=5e-5)
    assert mcnemar_exact(CAVO) == pytest.approx(0.052479, abs=5e-7)
    assert mcnemar_exact(CAVO, is_mid_p=True) == pytest.approx(0.034690, abs=5e-7)
    # Asymptotic McNemar: two-sided P = 0.033006, and `a` is the worse one.
    assert 1 - binary_non_inferiority_test(CAVO, margin=0.0) == pytest.approx(0.033006 / 2, 1e-5)


@pytest.mark.parametrize(
    "counts",
    [
        CAVO,
        PairedCounts(1, 1, 7, 12),
        PairedCounts(0, 40, 20, 100),
        PairedCounts(50, 0, 5, 5),
        PairedCounts(190, 3, 0, 7),
    ],
)
def test_tango_ends_solve_the_score_equation_at_the_likeliest_table(counts: PairedCounts) -> None:
    low, high = ends(tango_interval(counts, confidence=0.9))
    z = scipy.stats.norm.ppf(0.95)
    assert naive_score(counts, low) == pytest.approx(z, abs=1e-4)
    assert naive_score(counts, high) == pytest.approx(-z, abs=1e-4)


@pytest.mark.parametrize("margin", [0.01, 0.05, 0.3])
def test_the_score_tests_are_those_of_the_likeliest_table(margin: float) -> None:
    normal = scipy.stats.norm
    below = normal.sf(naive_score(CAVO, -margin))
    above = normal.cdf(naive_score(CAVO, margin))
    assert binary_non_inferiority_test(CAVO, margin=margin) == pytest.approx(below, abs=1e-5)
    assert binary_equivalence_test(CAVO, margin=margin) == pytest.approx(
        max(below, above), abs=1e-5
    )


@pytest.mark.parametrize("n", [1, 3, 150, 3_000])
def test_systems_that_never_differed_have_an_honest_width(n: int) -> None:
    z2 = scipy.stats.norm.ppf(0.975) ** 2
    interval = tango_interval(PairedCounts(n, 0, 0, 0))
    # With no discordant row Tango's equation is z^2 = n d / (1 - d).
    assert ends(interval) == pytest.approx((-z2 / (n + z2), z2 / (n + z2)), abs=1e-12)
    low, high = ends(newcombe_interval(PairedCounts(n, 0, 0, 0)))
    assert low < 0 < high


@settings(deadline=None, derandomize=True, max_examples=60)
@given(TABLES)
def test_swapping_the_systems_turns_paired_intervals_round(counts: PairedCounts) -> None:
    swapped = PairedCounts(counts.both, counts.only_b, counts.only_a, counts.neither)
    for interval in (tango_interval, newcombe_interval):
        there, back = interval(counts), interval(swapped)
        assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=1e-9)
        assert -1 <= there.low <= there.value <= there.high <= 1
        assert (there.n, there.num_clusters) == (counts.n, counts.n)
    assert mcnemar_exact(swapped) == mcnemar_exact(counts)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(TABLES, st.floats(0.0, 0.5))
def test_the_interval_and_the_test_agree(counts: PairedCounts, margin: float) -> None:
    low = tango_interval(counts, confidence=0.95).low
    p = binary_non_inferiority_test(counts, margin=margin)
    if abs(low + margin) > 1e-9:
        assert (low > -margin) == (p < 0.025)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_the_sign_test_of_scipy(only_a: int, only_b: int) -> None:
    counts = PairedCounts(5, only_a, only_b, 5)
    expected = scipy.stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar_exact(counts) == pytest.approx(expected, rel=1e-12)
    assert mcnemar_exact(counts, is_mid_p=True) <= mcnemar_exact(counts)


def test_counts_are_those_of_the_rows() -> None:
    a, b = [1, 1, 0, 0, 1], [True, False, True, False, False]
    assert paired_counts(a, b) == PairedCounts(both=1, only_a=2, only_b=1, neither=1)


def test_a_system_that_is_worse_by_the_margin_seldom_passes() -> None:
    generator = np.random.default_rng(0)
    tables = generator.multinomial(1_000, [0.04, 0.06, 0.9], size=2_000)  # worse by 2 points
    passed = [
        binary_non_inferiority_test(PairedCounts(int(same), int(b), int(c), 0), margin=0.02) < 0.05
        for b, c, same in tables
    ]
    assert 0.03 <= np.mean(passed) <= 0.06  # 0.05, with three standard errors of a simulation


# Graded


def test_without_clusters_it_is_the_t_test_of_scipy() -> None:
    generator = np.random.default_rng(1)
    a, b = generator.random(40), generator.random(40)
    below = scipy.stats.ttest_1samp(a - b, -0.1, alternative="greater").pvalue
    above = scipy.stats.ttest_1samp(a - b, 0.1, alternative="less").pvalue
    assert non_inferiority_test(a, b, margin=0.1) == pytest.approx(below, rel=1e-10)
    assert equivalence_test(a, b, margin=0.1) == pytest.approx(max(below, above), rel=1e-10)
    interval = paired_means(a, b).interval(0.9)
    expected = scipy.stats.ttest_rel(a, b).confidence_interval(0.9)
    assert ends(interval) == pytest.approx((expected.low, expected.high), rel=1e-10)


def test_the_clustered_standard_error_is_that_of_a_naive_loop() -> None:
    generator = np.random.default_rng(2)
    a, b = generator.random(50), generator.random(50)
    clusters = generator.integers(0, 12, 50)
    mean = (a - b).mean()
    total = 0.0
    for cluster in range(12):
        inside = clusters == cluster
        total += sum((a - b)[i] - mean for i in np.flatnonzero(inside)) ** 2
    means = paired_means(a, b, clusters=clusters)
    assert means.standard_error == pytest.approx(math.sqrt(12 / 11 * total) / 50, rel=1e-12)
    assert (means.n, means.num_clusters) == (50, 12)


def test_copies_of_rows_are_no_new_evidence() -> None:
    generator = np.random.default_rng(3)
    a, b = generator.random(30) + 0.1, generator.random(30)
    once = non_inferiority_test(a, b, margin=0.05)
    copied = non_inferiority_test(
        np.repeat(a, 9), np.repeat(b, 9), margin=0.05, clusters=np.repeat(np.arange(30), 9)
    )
    assert copied == pytest.approx(once, rel=1e-9)
    assert non_inferiority_test(np.repeat(a, 9), np.repeat(b, 9), margin=0.05) != pytest.approx(
        once, rel=0.1
    )


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6])
def test_equal_differences_bear_no_test(constant: float) -> None:
    b = np.random.default_rng(4).random(20)
    with pytest.raises(DataError, match="spread is unknown"):
        non_inferiority_test(b + constant, b, margin=0.1)


# Refusals


@pytest.mark.parametrize(
    ("a", "b", "error", "words"),
    [
        ([], [], DataError, "nothing was measured"),
        ([1.0], [1.0, 0.0], ShapeError, "same rows"),
        ([float("nan"), 1.0], [1.0, 0.0], DataError, "1 of 2 scores of a are not finite"),
        ([[1.0, 0.0]], [[1.0, 0.0]], ShapeError, "one number for each row"),
        (["x", "y"], [1.0, 0.0], DataError, "not all numbers"),
        ([None, 1], [1.0, 0.0], DataError, "scores of a"),
    ],
)
def test_what_is_no_pair_of_scores_is_refused(
    a: Any, b: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        paired_counts(a, b)
    with pytest.raises(error, match=words):
        paired_means(a, b)


def test_other_bad_input_is_refused() -> None:
    with pytest.raises(DataError, match=r"hold 0\.5"):
        paired_counts([0.5], [1])
    with pytest.raises(DataError, match="no counts"):
        PairedCounts(0, 0, 0, 0)
    with pytest.raises(DataError, match="no counts"):
        PairedCounts(5, -1, 0, 0)
    with pytest.raises(DataError, match="one cluster"):
        paired_means([1.0, 2.0], [0.0, 0.5], clusters=["x", "x"])
    with pytest.raises(ShapeError, match="one label"):
        paired_means([1.0, 2.0], [0.0, 0.5], clusters=["x"])
    with pytest.raises(DataError, match="none missing"):
        paired_means([1.0, 2.0], [0.0, 0.5], clusters=["x", None])
    for margin in (-0.1, 1.0, 2.0, float("nan")):
        with pytest.raises(ConfigError, match=r"2 points are 0\.02"):
            binary_non_inferiority_test(CAVO, margin=margin)
    for margin in (-0.1, math.inf, float("nan")):
        with pytest.raises(ConfigError, match="no tolerated loss"):
            non_inferiority_test([1.0, 2.0], [0.0, 0.5], margin=margin)
    with pytest.raises(ConfigError, match="confidence"):
        tango_interval(CAVO, confidence=95)
