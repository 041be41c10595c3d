"""The labels of a classifier, and the rows that teach it.

Letters: N rows, L labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.errors import DataError, ShapeError

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_SUM_TOLERANCE = 1e-4  # of a row of probabilities that went through text or float32
_SHOWN_NAMES = 10


@dataclass(frozen=True)
class LabelSpace:
    """What a classifier answers with.

    Attributes:
        names: The labels, in the order of all columns.
        is_multiple: Whether a text has any number of them, each with a probability of its own.
        prior_L: (L,) how frequent they were in training, with one half of a row added to each, so
            that none is impossible. What is answered to a text that says nothing.
        is_learnt_L: (L,) whether training had rows for and against the label. The others keep
            their prior whatever the text says.
    """

    names: tuple[str, ...]
    is_multiple: bool
    prior_L: Floats
    is_learnt_L: Flags

    @property
    def unseen(self) -> tuple[str, ...]:
        """The labels that no row had."""
        added = self.prior_L.min()
        names = zip(self.names, self.prior_L, self.is_learnt_L, strict=True)
        return tuple(name for name, prior, learnt in names if not learnt and prior <= added)

    @property
    def prior_logits_L(self) -> Floats:
        """(L,) logits whose probabilities are the prior."""
        if self.is_multiple:
            return np.asarray(np.log(self.prior_L) - np.log1p(-self.prior_L))
        return np.log(self.prior_L)

    def complete(self, learnt_NS: Floats) -> Floats:
        """(N, L) logits from those of the learnt labels: the others get their prior.

        Args:
            learnt_NS: (N, S) logits of the S learnt labels.
        """
        if self.is_learnt_L.all():
            return learnt_NS
        logits_NL = np.empty((len(learnt_NS), len(self.names)))
        logits_NL[:, self.is_learnt_L] = learnt_NS
        others = ~self.is_learnt_L
        if self.is_multiple:
            logits_NL[:, others] = self.prior_logits_L[others]
            return logits_NL
        # The others have the same probability for every text; the learnt ones share the rest.
        rest = 1.0 - self.prior_L[others].sum()
        total_N1 = np.logaddexp.reduce(learnt_NS, axis=1, keepdims=True)
        logits_NL[:, others] = total_N1 + np.log(self.prior_L[others] / rest)
        return logits_NL

    def spread(self, learnt_NS: Floats) -> Floats:
        """(N, L) probabilities from those of the learnt labels: the others get their prior.

        Args:
            learnt_NS: (N, S) probabilities of the S learnt labels.
        """
        others = ~self.is_learnt_L
        given_NL = np.empty((len(learnt_NS), len(self.names)))
        given_NL[:, others] = self.prior_L[others]
        rest = 1.0 if self.is_multiple else 1.0 - self.prior_L[others].sum()
        given_NL[:, self.is_learnt_L] = learnt_NS * rest
        return given_NL


@dataclass(frozen=True)
class LabelledRows:
    """Checked rows to learn from.

    Attributes:
        texts: N texts.
        targets_NL: (N, L) float64, probabilities of each row's labels.
        weights_N: (N,) float64, how much each row counts; their mean is 1.
        space: The labels.
    """

    texts: tuple[str, ...]
    targets_NL: Floats
    weights_N: Floats
    space: LabelSpace

    @property
    def learnt_targets_NS(self) -> Floats:
        """(N, S) targets over the labels that can be learnt; rows of one-label tasks sum to 1."""
        learnt_NS = self.targets_NL[:, self.space.is_learnt_L]
        if self.space.is_multiple:
            return learnt_NS
        return np.asarray(learnt_NS / learnt_NS.sum(axis=1, keepdims=True))

    def warnings(self) -> tuple[str, ...]:
        """What a user should know about these rows, one line each."""
        unseen = self.space.unseen
        if not unseen:
            return ()
        return (
            f"{len(unseen)} of {len(self.space.names)} labels have no row to learn from "
            f"({shown_names(unseen)}); the student will hardly ever answer with them. Add rows, or "
            "take them out of the labels.",
        )


def labelled_rows(
    texts: Sequence[str],
    targets_NL: npt.ArrayLike,
    *,
    labels: Sequence[str],
    is_multiple: bool = False,
    weights_N: npt.ArrayLike | None = None,
) -> LabelledRows:
    """The rows, checked.

    Args:
        texts: N texts.
        targets_NL: (N, L) probabilities; rows sum to 1 unless a text may have several labels.
        labels: L names.
        is_multiple: Whether a text may have several.
        weights_N: (N,) how much each row counts, from 0; None counts all alike.

    Raises:
        ShapeError: lengths do not fit together.
        DataError: there are no rows, labels are too few or repeated, a number is not finite or out
            of range, a row does not sum to 1, or there is nothing to tell apart.
    """
    names = checked_names(labels, is_multiple=is_multiple)
    targets_NL = checked_targets(targets_NL, len(texts), len(names), is_multiple=is_multiple)
    weights_N = _checked_weights(weights_N, len(texts))
    space = _space(names, targets_NL, weights_N, is_multiple=is_multiple)
    return LabelledRows(tuple(texts), targets_NL, weights_N, space)


def checked_names(labels: Sequence[str], *, is_multiple: bool) -> tuple[str, ...]:
    """The labels of a classifier.

    Raises:
        DataError: one is given twice, or there are too few to tell apart.
    """
    names = tuple(labels)
    fewest = 1 if is_multiple else 2
    if len(names) < fewest:
        raise DataError(
            f"The labels are {list(names)}; a classifier needs at least {fewest}. "
            "Give all labels of the task."
        )
    repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if repeated:
        raise DataError(f"Labels are given twice: {shown_names(repeated)}. Give each once.")
    return names


def checked_targets(
    targets_NL: npt.ArrayLike, num_rows: int, num_labels: int, *, is_multiple: bool
) -> Floats:
    """(N, L) float64 targets.

    Raises:
        ShapeError: they have another shape.
        DataError: there are none, a number is not finite or out of range, or a row does not sum
            to 1.
    """
    targets = np.asarray(targets_NL, dtype=np.float64)
    if targets.shape != (num_rows, num_labels):
        raise ShapeError(
            f"The targets have the shape {targets.shape} for {num_rows} texts and {num_labels} "
            "labels. Give one row a text and one column a label."
        )
    if not num_rows:
        raise DataError("There are no rows. Give texts with labels.")
    bad = ~np.isfinite(targets).all(axis=1) | (targets < 0).any(axis=1) | (targets > 1).any(axis=1)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"{int(bad.sum())} of {num_rows} rows have targets that are no probabilities, the "
            f"first is row {row}. Give finite numbers between 0 and 1."
        )
    sums_N = targets.sum(axis=1)
    is_off = np.abs(sums_N - 1) > _SUM_TOLERANCE
    if not is_multiple and is_off.any():
        row = int(np.flatnonzero(is_off)[0])
        raise DataError(
            f"The targets of row {row} sum to {sums_N[row]:.6g}; those of a task with one label a "
            "text sum to 1. Leave out rows without a label, or say that a text may have several."
        )
    return targets if is_multiple else targets / sums_N[:, None]


def shown_names(names: Sequence[str]) -> str:
    """Names for a message, cut with a count when there are many."""
    cut = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return ", ".join(repr(name) for name in names[:_SHOWN_NAMES]) + cut


def _checked_weights(weights_N: npt.ArrayLike | None, num_rows: int) -> Floats:
    if weights_N is None:
        return np.ones(num_rows)
    weights = np.asarray(weights_N, dtype=np.float64)
    if weights.shape != (num_rows,):
        raise ShapeError(
            f"The weights have the shape {weights.shape} for {num_rows} rows. Give one a row."
        )
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise DataError(
            "Weights of rows must be finite, not negative and not all zero. Leave out the rows "
            "that are not to count."
        )
    return np.asarray(weights / weights.mean())


def _space(
    names: tuple[str, ...], targets_NL: Floats, weights_N: Floats, *, is_multiple: bool
) -> LabelSpace:
    mass_L = weights_N @ targets_NL
    room = len(targets_NL) if is_multiple else np.inf  # every row may have the label: no contrast
    is_learnt_L = (mass_L > 0) & (mass_L < room - 1e-9)
    fewest = 1 if is_multiple else 2
    if is_learnt_L.sum() < fewest:
        seen = [name for name, mass in zip(names, mass_L, strict=True) if mass > 0]
        raise DataError(
            f"All {len(targets_NL)} rows have the same label ({shown_names(seen) or 'none'}): "
            "there is nothing to tell apart. Add rows with other labels."
        )
    added = 0.5  # of a row: Jeffreys' prior, as for a fraction
    total = len(targets_NL) + added * (2 if is_multiple else len(names))
    return LabelSpace(names, is_multiple, (mass_L + added) / total, is_learnt_L)
