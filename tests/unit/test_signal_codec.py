"""Top-k with a tail: what is left of 1, computed where float32 cannot."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.errors import ShapeError
from stillhouse.signal import TopKSignal, tail_logprob


def log(*probabilities: float) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(np.array([probabilities])).astype(np.float32)


def test_the_tail_by_hand() -> None:
    signal = TopKSignal.of([[7, 3], [5, 9]], np.concatenate([log(0.5, 0.3), log(0.6, 0.25)]))
    assert signal.tail_logprob == pytest.approx([math.log(0.2), math.log(0.15)], abs=1e-6)
    assert (signal.ids.dtype, signal.logprobs.dtype, signal.tail_logprob.dtype) == (
        np.int32,
        np.float32,
        np.float32,
    )
    assert len(signal) == 2


def test_a_small_tail_keeps_its_digits() -> None:
    # A float32 sum of 4,096 terms would be off by more than this tail.
    tail = 1e-6
    values = np.full((1, 4096), (1 - tail) / 4096)
    logprobs = np.log(values).astype(np.float32)
    exact = 1 - np.exp(logprobs.astype(np.float64)).sum()
    found = math.exp(tail_logprob(logprobs)[0])
    assert found == pytest.approx(exact, rel=1e-6)


def test_what_float32_cannot_know_is_no_tail() -> None:
    assert tail_logprob(log(1.0)) == -np.inf
    assert tail_logprob(log(0.75, 0.25)) == -np.inf
    assert tail_logprob(log(0.75, 0.25 + 1e-6)) == -np.inf  # rounding made it more than 1
    assert tail_logprob(log(1.0, 0.0)) == -np.inf  # a token that the teacher rules out
    assert tail_logprob(log(0.75, 0.25 - 1e-5))[0] == pytest.approx(math.log(1e-5), rel=1e-2)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(-40, 40), min_size=2, max_size=40),
    st.integers(1, 40),
)
def test_kept_and_tail_are_the_whole_mass(row: list[float], k: int) -> None:
    logits = np.sort(np.array(row))[::-1]
    logprobs = logits - np.logaddexp.reduce(logits)
    kept = logprobs[:k].astype(np.float32)
    tail = tail_logprob(kept[None])[0]
    mass = np.exp(kept.astype(np.float64)).sum() + np.exp(np.float64(tail))
    # Each float32 log-probability is off by half its last digit.
    resolution = np.finfo(np.float32).eps
    rounding = (np.exp(kept.astype(np.float64)) * np.abs(kept) * resolution).sum()
    assert abs(mass - 1) <= rounding + 2 * resolution
    assert not np.isnan(tail)


def test_truncation_moves_mass_into_the_tail() -> None:
    signal = TopKSignal.of([[4, 2, 9]], log(0.5, 0.25, 0.125))
    shorter = signal.truncated(1)
    assert shorter.ids.tolist() == [[4]]
    assert shorter.logprobs.tolist() == signal.logprobs[:, :1].tolist()
    assert shorter.tail_logprob == pytest.approx([math.log(0.5)])
    same = signal.truncated(3)
    assert np.array_equal(same.tail_logprob, signal.tail_logprob)


def test_an_empty_completion_has_an_empty_signal() -> None:
    signal = TopKSignal.of(np.zeros((0, 4)), np.zeros((0, 4)))
    assert len(signal) == 0
    assert signal.tail_logprob.shape == (0,)


@pytest.mark.parametrize(
    ("ids", "logprobs", "tail"),
    [((2, 3), (2, 4), 2), ((2, 3), (2, 3), 1), ((3, 3), (2, 3), 2), ((2,), (2,), 3)],
)
def test_arrays_that_do_not_fit_are_refused(
    ids: tuple[int, ...], logprobs: tuple[int, ...], tail: int
) -> None:
    with pytest.raises(ShapeError, match=r"one shape \(n, K\)"):
        TopKSignal(
            ids=np.zeros(ids, dtype=np.int32),
            logprobs=np.zeros(logprobs, dtype=np.float32),
            tail_logprob=np.zeros(tail, dtype=np.float32),
        )
