"""What all students that answer with labels have in common.

Letters: N texts, L labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from stillhouse.classifiers._calibration import Calibration, fit_calibration
from stillhouse.classifiers._labels import Floats, LabelSpace, checked_targets
from stillhouse.classifiers._texts import is_blank
from stillhouse.errors import DataError, ShapeError
from stillhouse.records import Record

Kind = Literal["ngram", "embedding", "encoder"]
States = npt.NDArray[np.float32]


class FitReport(Record):
    """What making a classifier showed.

    The figures are of held-out rows of the training set and were used to choose settings: they are
    no measurement of the student.
    """

    num_rows: int
    num_held_out: int = 0
    """Training rows that settings were chosen on, held out in turn."""
    held_out_nats: float | None = None
    """Mean cross-entropy there."""
    held_out_agreement: float | None = None
    """Mean probability that the targets give to the student's answer there."""
    l2: float | None = None
    """The penalty of a linear head."""
    best_epoch: int | None = None
    """The epoch whose weights were kept, from 1."""
    unseen_labels: tuple[str, ...] = ()
    """Labels that no row had."""
    warnings: tuple[str, ...] = ()
    """What a user should know, one line each."""


@dataclass(frozen=True)
class Stored:
    """What a classifier is on disk, beside what all kinds have.

    Attributes:
        kind: Who reads it.
        settings: Plain JSON data.
        arrays: Tensors by name.
        texts: Contents of further files by name.
    """

    kind: Kind
    settings: dict[str, Any]
    arrays: Mapping[str, npt.NDArray[Any]]
    texts: Mapping[str, str] = field(default_factory=dict)

    @property
    def num_bytes(self) -> int:
        """Of arrays and files; the settings are negligible."""
        in_arrays = sum(array.nbytes for array in self.arrays.values())
        return in_arrays + sum(len(text.encode()) for text in self.texts.values())


@dataclass(frozen=True)
class Common:
    """What every classifier knows beside its own weights.

    Attributes:
        space: The labels.
        calibration: How logits become probabilities.
        report: What making it showed.
    """

    space: LabelSpace
    calibration: Calibration
    report: FitReport


@dataclass(frozen=True)
class Classifier(Protocol):
    """A student that answers a text with a distribution over labels.

    Attributes:
        common: Labels, calibration and report.
    """

    common: Common

    @property
    def kind(self) -> Kind:
        """Which kind of student it is."""

    @property
    def num_parameters(self) -> int:
        """Weights that an answer may use."""

    def logits(self, texts: Sequence[str], states_ND: States | None = None) -> Floats:
        """(N, L) float64, before calibration.

        A text does not change what another one gets. Texts that say nothing, empty ones among
        them, get the logarithm of the prior.

        Args:
            texts: N texts.
            states_ND: What `states` gave for them, so that they are not read again.
        """

    def states(self, texts: Sequence[str]) -> States | None:
        """(N, D) float32 states of the texts in its encoder; None where it has none."""
        return None

    def stored(self) -> Stored:
        """What to write to disk."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of all columns."""
        return self.common.space.names

    @property
    def is_multiple(self) -> bool:
        """Whether a text has any number of labels, each with a probability of its own."""
        return self.common.space.is_multiple

    @property
    def calibration(self) -> Calibration:
        """How logits become probabilities."""
        return self.common.calibration

    @property
    def report(self) -> FitReport:
        """What making it showed."""
        return self.common.report

    @property
    def num_bytes(self) -> int:
        """Size on disk."""
        return self.stored().num_bytes

    def with_calibration(self, calibration: Calibration) -> Self:
        """The same student with another calibration."""
        return replace(self, common=replace(self.common, calibration=calibration))


C = TypeVar("C", bound=Classifier)


def probabilities(
    classifier: Classifier, texts: Sequence[str], *, states_ND: States | None = None
) -> Floats:
    """(N, L) calibrated probabilities; rows sum to 1 unless a text may have several labels.

    A blank text gets how frequent the labels were in training, and so does each text for labels
    that training had no row of.

    Args:
        classifier: A student.
        texts: N texts.
        states_ND: What `classifier.states` gave for them, for who needs both and reads once.

    Raises:
        ShapeError: there is not one state a text.
    """
    if states_ND is not None and len(states_ND) != len(texts):
        raise ShapeError(
            f"{len(states_ND)} states for {len(texts)} texts. Give those of these very texts."
        )
    space = classifier.common.space
    learnt_NS = classifier.calibration.probabilities(
        classifier.logits(texts, states_ND)[:, space.is_learnt_L], is_multiple=space.is_multiple
    )
    given_NL = space.spread(learnt_NS)
    blank_N = [is_blank(text) for text in texts]
    given_NL[blank_N] = space.prior_L
    return given_NL


def calibrated(classifier: C, texts: Sequence[str], targets_NL: npt.ArrayLike) -> C:
    """The same student, its probabilities fitted to rows that it did not learn from.

    Args:
        classifier: A student.
        texts: N held-out texts; blank ones are left out, and so are labels without a training row.
        targets_NL: (N, L) probabilities of their labels.

    Returns:
        A student with a temperature (one label a text) or a slope and an offset for each label.

    Raises:
        ShapeError: lengths do not fit together.
        DataError: there are no rows, or targets are no probabilities.
    """
    space = classifier.common.space
    kept, targets_NS = answerable(space, texts, targets_NL)
    if not kept:
        raise DataError(
            f"None of {len(texts)} rows to calibrate on has a text and a label that the student "
            "learnt. Give held-out rows of the same task."
        )
    logits_NS = classifier.logits(kept)[:, space.is_learnt_L]
    return classifier.with_calibration(
        fit_calibration(logits_NS, targets_NS, is_multiple=space.is_multiple)
    )


def answerable(
    space: LabelSpace, texts: Sequence[str], targets_NL: npt.ArrayLike
) -> tuple[list[str], Floats]:
    """The texts that say something and have a label that can be learnt, and their targets.

    Args:
        space: The labels.
        texts: N texts.
        targets_NL: (N, L) probabilities of all labels.

    Returns:
        K texts and (K, S) probabilities of the labels that can be learnt.

    Raises:
        ShapeError: lengths do not fit together.
        DataError: there are no rows, or targets are no probabilities.
    """
    targets = checked_targets(
        targets_NL, len(texts), len(space.names), is_multiple=space.is_multiple
    )[:, space.is_learnt_L]
    is_kept_N = np.array([not is_blank(text) for text in texts])
    if not space.is_multiple:
        mass_N = targets.sum(axis=1)
        is_kept_N &= mass_N > 0.5  # most of it on labels that can be learnt
        targets = targets / np.maximum(mass_N, 0.5)[:, None]
    kept = [text for text, is_kept in zip(texts, is_kept_N, strict=True) if is_kept]
    return kept, np.asarray(targets[is_kept_N])
