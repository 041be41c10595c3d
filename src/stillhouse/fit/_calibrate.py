"""A student's probabilities, fitted to rows that it did not learn from and measured on them.

Letters: N rows, L labels.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from stillhouse.classifiers import Calibration, Classifier, calibrated, probabilities
from stillhouse.fit._rows import Flags, Floats, TaskRows

_FEWEST_ROWS = 30  # with fewer, a temperature is further off than none
_HALVES = "stillhouse.fit calibration"


@dataclass(frozen=True)
class Calibrated:
    """A calibrated student and its answers to the rows that were set aside.

    Attributes:
        classifier: The student.
        given_NL: (N, L) its probabilities.
        before_NL: (N, L) the same without any calibration.
        unseen_NL: (N, L) the same where each half of the rows is calibrated on the other half, by
            which calibration is judged; None where there were too few rows to calibrate on.
    """

    classifier: Classifier
    given_NL: Floats
    before_NL: Floats
    unseen_NL: Floats | None


def calibrated_student(classifier: Classifier, aside: TaskRows) -> Calibrated:
    """The student calibrated on rows that were set aside, where these are enough.

    Args:
        classifier: As it was fitted.
        aside: Rows that it did not learn from, with what is expected of it.
    """
    before_NL = probabilities(classifier.with_calibration(Calibration()), aside.texts)
    usable_N = _is_usable(classifier, aside)
    halves_N = _halves(aside)
    if min((usable_N & half_N).sum() for half_N in (halves_N, ~halves_N)) < _FEWEST_ROWS / 2:
        return Calibrated(classifier, probabilities(classifier, aside.texts), before_NL, None)
    unseen_NL = np.empty_like(before_NL)
    for half_N in (halves_N, ~halves_N):
        there, here = aside.chosen(np.flatnonzero(~half_N)), aside.chosen(np.flatnonzero(half_N))
        half = calibrated(classifier, there.texts, there.targets_NL)
        unseen_NL[half_N] = probabilities(half, here.texts)
    student = calibrated(classifier, aside.texts, aside.targets_NL)
    return Calibrated(student, probabilities(student, aside.texts), before_NL, unseen_NL)


def _is_usable(classifier: Classifier, aside: TaskRows) -> Flags:
    """(N,) whether a row is mostly of labels that the student can answer with."""
    if classifier.is_multiple:
        return np.ones(len(aside), dtype=np.bool_)
    learnt_L = classifier.common.space.is_learnt_L
    return np.asarray(aside.targets_NL[:, learnt_L].sum(axis=1) > 0.5)


def _halves(aside: TaskRows) -> Flags:
    """(N,) which half a row is in, groups whole, whatever other rows there are."""
    digests = [hashlib.sha256(f"{_HALVES}:{unit}".encode()) for unit in aside.units]
    return np.array([digest.digest()[0] % 2 == 0 for digest in digests], dtype=np.bool_)
