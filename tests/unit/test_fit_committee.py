"""Dawid-Skene against a loop, a hand-worked case, and teachers whose reliability is known."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from stillhouse.errors import ConfigError, DataError, ShapeError
from stillhouse.fit import dawid_skene


def _one_hot(labels, num_labels):
    return np.eye(num_labels)[labels]


def _simulated(accuracies, *, num_rows=2_000, num_labels=4, seed=0):
    """The right labels, and the votes of teachers who err uniformly."""
    draws = np.random.default_rng(seed)
    right = draws.integers(num_labels, size=num_rows)
    votes = []
    for accuracy in accuracies:
        is_wrong = draws.random(num_rows) >= accuracy
        given = (right + is_wrong * draws.integers(1, num_labels, num_rows)) % num_labels
        votes.append(_one_hot(given, num_labels))
    return right, votes


def _naive(votes, *, smoothing, rounds):
    """The same EM, one number at a time."""
    num_rows, num_labels = votes[0].shape
    posterior = np.array(
        [
            [
                sum(v[i, k] for v in votes) / sum(v[i].sum() for v in votes)
                for k in range(num_labels)
            ]
            for i in range(num_rows)
        ]
    )
    for _ in range(rounds):
        matrices = []
        for v in votes:
            counts = np.zeros((num_labels, num_labels))
            for i in range(num_rows):
                for k in range(num_labels):
                    for m in range(num_labels):
                        counts[k, m] += posterior[i, k] * v[i, m]
            right = (sum(counts[k, k] for k in range(num_labels)) + 0.5) / (counts.sum() + 1)
            for k in range(num_labels):
                for m in range(num_labels):
                    typical = right if k == m else (1 - right) / (num_labels - 1)
                    counts[k, m] += smoothing * typical
                counts[k] /= counts[k].sum()
            matrices.append(counts)
        prior = posterior.mean(axis=0)
        new = np.zeros_like(posterior)
        for i in range(num_rows):
            for k in range(num_labels):
                new[i, k] = prior[k]
                for v, matrix in zip(votes, matrices, strict=True):
                    for m in range(num_labels):
                        new[i, k] *= matrix[k, m] ** v[i, m]
            new[i] /= new[i].sum()
        posterior = new
    return posterior, matrices


@pytest.mark.parametrize("rounds", [1, 3])
def test_the_rounds_are_those_of_a_naive_loop(rounds: int) -> None:
    _, votes = _simulated([0.9, 0.7, 0.5], num_rows=30, num_labels=3)
    votes[1][:5] = 0.0  # a teacher that was not asked
    found = dawid_skene(votes, smoothing=0.7, max_rounds=rounds, tolerance=0.0)
    posterior, matrices = _naive(votes, smoothing=0.7, rounds=rounds)
    np.testing.assert_allclose(found.posterior_NL, posterior, rtol=1e-9)
    np.testing.assert_allclose(found.confusion_TLL, matrices, rtol=1e-9)
    assert (found.num_rounds, found.has_converged) == (rounds, False)


def test_a_reliable_teacher_outvotes_two_that_guess() -> None:
    right, votes = _simulated([0.95, 0.4, 0.4])
    majority = sum(votes).argmax(axis=1)
    found = dawid_skene(votes)
    settled = found.posterior_NL.argmax(axis=1)
    assert found.has_converged
    assert (settled == right).mean() > 0.93 > (majority == right).mean() + 0.15


def test_reliability_and_confusions_are_recovered() -> None:
    accuracies = [0.9, 0.8, 0.6]
    right, votes = _simulated(accuracies, num_rows=20_000)
    found = dawid_skene(votes)
    np.testing.assert_allclose(found.reliability_T, accuracies, atol=0.02)
    for of_teacher, given in zip(found.confusion_TLL, votes, strict=True):
        counts = _one_hot(right, 4).T @ given
        true = counts / counts.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(of_teacher, true, atol=0.03)


def test_a_teacher_that_swaps_two_labels_is_still_of_use() -> None:
    right, votes = _simulated([0.9, 0.9, 0.9])
    votes[2] = votes[2][:, [1, 0, 2, 3]]
    found = dawid_skene(votes)
    assert found.confusion_TLL[2, 0, 1] > 0.8
    # Two teachers alone would leave every disagreement open.
    assert (found.posterior_NL.argmax(axis=1) == right).mean() > 0.95


def test_teachers_that_agree_are_believed() -> None:
    labels = np.array([0, 1, 2, 0, 1, 2])
    found = dawid_skene([_one_hot(labels, 3)] * 2)
    assert (found.posterior_NL.argmax(axis=1) == labels).all()
    assert found.posterior_NL.max(axis=1).min() > 0.9


def test_split_votes_of_a_teacher_count_in_part() -> None:
    _, votes = _simulated([0.9, 0.9], num_rows=400)
    votes[1][0] = [1.0, 0.0, 0.0, 0.0]

    def first_if(vote: list[float]) -> float:
        votes[0][0] = vote
        return float(dawid_skene(votes).posterior_NL[0, 0])

    split = first_if([0.5, 0.5, 0.0, 0.0])
    assert first_if([1.0, 0.0, 0.0, 0.0]) > split > first_if([0.0, 1.0, 0.0, 0.0])


def test_a_prior_of_each_row_settles_what_one_teacher_got_wrong() -> None:
    right, votes = _simulated([0.6], seed=3)
    draws = np.random.default_rng(4)
    is_off = draws.random(len(right)) < 0.1
    guess = np.where(is_off, (right + draws.integers(1, 4, len(right))) % 4, right)
    prior = np.where(_one_hot(guess, 4) > 0, 0.9, 0.1 / 3)  # as right as it claims to be
    found = dawid_skene(votes, prior_NL=prior, smoothing=20.0)
    assert (found.posterior_NL.argmax(axis=1) == right).mean() > 0.89
    assert found.reliability_T[0] == pytest.approx(0.6, abs=0.03)


def test_sparse_votes_are_those_of_dense_ones() -> None:
    _, votes = _simulated([0.9, 0.6], num_rows=100)
    dense, sparse = dawid_skene(votes), dawid_skene([csr_array(v) for v in votes])
    np.testing.assert_array_equal(dense.posterior_NL, sparse.posterior_NL)


def test_rows_in_another_order_get_the_same_answers() -> None:
    _, votes = _simulated([0.9, 0.6, 0.6], num_rows=200)
    order = np.random.default_rng(1).permutation(200)
    straight, shuffled = dawid_skene(votes), dawid_skene([v[order] for v in votes])
    np.testing.assert_allclose(straight.posterior_NL[order], shuffled.posterior_NL, atol=1e-9)


def test_what_cannot_be_settled_is_refused() -> None:
    one = _one_hot(np.array([0, 1]), 2)
    with pytest.raises(DataError, match="no vote to weigh"):
        dawid_skene([])
    with pytest.raises(DataError, match="no vote to weigh"):
        dawid_skene([np.zeros((0, 2))])
    with pytest.raises(ShapeError, match="for the same rows"):
        dawid_skene([one, _one_hot(np.array([0, 1, 1]), 2)])
    with pytest.raises(ShapeError, match="for the same rows"):
        dawid_skene([one], prior_NL=np.ones((3, 2)) / 2)
    with pytest.raises(DataError, match="A row has no vote"):
        dawid_skene([np.array([[1.0, 0.0], [0.0, 0.0]])])
    with pytest.raises(DataError, match="A teacher has no vote"):
        dawid_skene([one, np.zeros((2, 2))])
    with pytest.raises(DataError, match="not finite"):
        dawid_skene([np.array([[np.nan, 1.0], [0.0, 1.0]])])
    with pytest.raises(DataError, match="negative"):
        dawid_skene([one * -1.0])
    with pytest.raises(DataError, match="prior"):
        dawid_skene([one], prior_NL=np.array([[np.inf, 0.0], [0.5, 0.5]]))
    with pytest.raises(ConfigError, match="smoothing=0"):
        dawid_skene([one], smoothing=0.0)
