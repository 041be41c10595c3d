"""Several teachers who disagree: what is right, and how reliable each of them is.

Letters: N rows, L labels, T teachers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stillhouse.errors import ConfigError, DataError, ShapeError

Floats = npt.NDArray[np.float64]

Votes = Any
"""(N, L) shares of one teacher's answers, dense or scipy sparse; rows sum to 1, or to 0 where it
gave none."""

_TINY = 1e-300


@dataclass(frozen=True)
class Committee:
    """What is probably right, and what the teachers make of it.

    Attributes:
        posterior_NL: (N, L) probability of each label to be the right one; rows sum to 1.
        confusion_TLL: (T, L, L) how often a teacher gives the last label where the one before it
            is right; rows sum to 1.
        reliability_T: (T,) fraction of a teacher's answers that are expected to be right.
        num_rounds: Rounds until the posterior stood still.
        has_converged: Whether it did.
    """

    posterior_NL: Floats
    confusion_TLL: Floats
    reliability_T: Floats
    num_rounds: int
    has_converged: bool


def dawid_skene(
    votes_T: Sequence[Votes],
    *,
    prior_NL: Floats | None = None,
    smoothing: float = 1.0,
    max_rounds: int = 200,
    tolerance: float = 1e-3,
) -> Committee:
    """The right labels by expectation maximisation over the teachers' confusion matrices.

    It begins with the shares of the votes, in which each teacher counts alike, and then weighs
    each by how reliable it turns out to be on the label in question. A matrix row with few answers
    is drawn towards the teacher's reliability over all labels.

    Args:
        votes_T: By teacher, what it answered to each row.
        prior_NL: (N, L) what is expected of each row before the votes, such as the probabilities
            of a student that did not see the row. None estimates one prior for all rows.
        smoothing: Strength of that draw, in answers; above 0.
        max_rounds: Most rounds, 1 or more.
        tolerance: Largest change of a probability in the last round.

    Source: Dawid & Skene 1979, "Maximum Likelihood Estimation of Observer Error-Rates Using the
    EM Algorithm", JRSS C 28:20; the prior of each row: Raykar et al. 2010, "Learning From Crowds",
    JMLR 11:1297.

    Raises:
        ShapeError: the teachers' votes differ in shape.
        DataError: there is no teacher or row, a number is not finite or negative, a teacher gave
            no answer, or a row has neither a vote nor a prior of its own.
        ConfigError: `smoothing` is not above 0.
    """
    if not 0 < smoothing < np.inf:
        raise ConfigError(f"smoothing={smoothing} is no number of answers. Give one above 0.")
    votes = [_checked(votes_NL) for votes_NL in votes_T]
    _check_together(votes, prior_NL)
    posterior_NL = _shares(votes, prior_NL)
    num_rounds, change = 0, np.inf
    while num_rounds < max_rounds and change > tolerance:
        confusion_TLL = np.stack([_confusion(posterior_NL, one, smoothing) for one in votes])
        prior = posterior_NL.mean(axis=0) if prior_NL is None else prior_NL
        new_NL = _posterior(votes, confusion_TLL, _log(prior))
        change = float(np.abs(new_NL - posterior_NL).max())
        posterior_NL = new_NL
        num_rounds += 1
    return Committee(
        posterior_NL=posterior_NL,
        confusion_TLL=confusion_TLL,
        reliability_T=np.array([_reliability(posterior_NL, one) for one in votes]),
        num_rounds=num_rounds,
        has_converged=change <= tolerance,
    )


def _checked(votes_NL: Votes) -> Votes:
    from scipy.sparse import csr_array

    votes = csr_array(votes_NL, dtype=np.float64)
    if not np.isfinite(votes.data).all() or (votes.data < 0).any():
        raise DataError("Votes are not finite, or negative. Give shares of a teacher's answers.")
    return votes


def _check_together(votes: Sequence[Votes], prior_NL: Floats | None) -> None:
    if not votes or not votes[0].shape[0]:
        raise DataError("There is no vote to weigh. Give the answers of at least one teacher.")
    shapes = [one.shape for one in votes] + ([] if prior_NL is None else [prior_NL.shape])
    if len(set(shapes)) > 1:
        raise ShapeError(f"Votes and prior have shapes {shapes}. Give them for the same rows.")
    if not all(one.sum() > 0 for one in votes):
        raise DataError("A teacher has no vote. Leave it out.")
    if prior_NL is None and (sum(one.sum(axis=1) for one in votes) <= 0).any():
        raise DataError("A row has no vote. Leave it out, or give a prior of each row.")
    if prior_NL is not None and not (np.isfinite(prior_NL).all() and (prior_NL >= 0).all()):
        raise DataError("The prior is not finite, or negative. Give probabilities.")


def _shares(votes: Sequence[Votes], prior_NL: Floats | None) -> Floats:
    """(N, L) where to begin: the votes alike, and the prior as one vote more."""
    shares_NL = sum(one.toarray() for one in votes)
    if prior_NL is not None:
        shares_NL = shares_NL + prior_NL
    return np.asarray(shares_NL / shares_NL.sum(axis=1, keepdims=True))


def _confusion(posterior_NL: Floats, votes_NL: Votes, smoothing: float) -> Floats:
    """(L, L) how often the teacher gives each label where the first is right."""
    counts_LL = (votes_NL.T @ posterior_NL).T
    num_labels = len(counts_LL)
    # Half an answer of each kind: a teacher that was never wrong here is not taken to be perfect.
    right = (np.trace(counts_LL) + 0.5) / (counts_LL.sum() + 1.0)
    typical_LL = np.full((num_labels, num_labels), (1.0 - right) / max(num_labels - 1, 1))
    np.fill_diagonal(typical_LL, right)
    counts_LL = counts_LL + smoothing * typical_LL
    return np.asarray(counts_LL / counts_LL.sum(axis=1, keepdims=True))


def _posterior(votes: Sequence[Votes], confusion_TLL: Floats, log_prior: Floats) -> Floats:
    logits_NL = log_prior + sum(
        one @ _log(confusion_LL).T for one, confusion_LL in zip(votes, confusion_TLL, strict=True)
    )
    raised_NL = np.exp(logits_NL - logits_NL.max(axis=1, keepdims=True))
    return np.asarray(raised_NL / raised_NL.sum(axis=1, keepdims=True))


def _reliability(posterior_NL: Floats, votes_NL: Votes) -> float:
    return float(votes_NL.multiply(posterior_NL).sum() / votes_NL.sum())


def _log(probabilities: Floats) -> Floats:
    return np.log(np.maximum(probabilities, _TINY))
