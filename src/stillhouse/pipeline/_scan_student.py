"""Cheap students that answer with whole answers, and how sure they are of each.

Letters: N prompts, L answers that a student can give.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.classifiers import Classifier, fit_ngram, probabilities
from stillhouse.pipeline._scan_config import ScanStudent

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Answering = Callable[[Sequence[str]], "Given"]

_OTHER = "\N{NULL}other"
"""Stands for all answers that were seen too seldom to be given. No answer can be it."""


@dataclass(frozen=True)
class Given:
    """What a student answers.

    Attributes:
        answers: N answers; None where it has none to give.
        confidence_N: (N,) the probability of each; -1 where there is none, so that no threshold
            lets it through.
    """

    answers: tuple[str | None, ...]
    confidence_N: Floats

    def agrees_N(self, expected: Sequence[str | None]) -> Flags:
        """(N,) whether each is what was expected; never where nothing valid was."""
        pairs = zip(self.answers, expected, strict=True)
        return np.array([ours is not None and ours == theirs for ours, theirs in pairs], np.bool_)


def fit_student(
    kind: ScanStudent, texts: Sequence[str], answers: Sequence[str], *, least: int, seed: int
) -> Answering:
    """A student that gives whole answers as if each were a label.

    Args:
        kind: How it reads.
        texts: N texts, one at least.
        answers: What the teacher answered to each.
        least: Answers that were seen less often are not given: a text that looks like theirs gets
            no answer. 1 where the answers are all there are.
        seed: Of the rows that settings are chosen on.

    Returns:
        The student. Where there is one answer alone it gives that to everything, surely.
    """
    seen = Counter(answers)
    known = {answer for answer, times in seen.items() if times >= least}
    targets = [answer if answer in known else _OTHER for answer in answers]
    labels = sorted(set(targets))
    if len(labels) == 1:
        only = None if labels[0] == _OTHER else labels[0]
        return lambda given: Given((only,) * len(given), np.full(len(given), _sure(only)))
    targets_NL = np.zeros((len(texts), len(labels)))
    targets_NL[np.arange(len(texts)), [labels.index(target) for target in targets]] = 1.0
    classifier = _fit(kind, texts, targets_NL, labels, seed)

    def answer(given: Sequence[str]) -> Given:
        given_NL = probabilities(classifier, given)
        best_N = given_NL.argmax(axis=1)
        chosen = [None if labels[best] == _OTHER else labels[best] for best in best_N]
        confidence_N = np.where([one is None for one in chosen], -1.0, given_NL.max(axis=1))
        return Given(tuple(chosen), confidence_N)

    return answer


def _fit(
    kind: ScanStudent, texts: Sequence[str], targets_NL: Floats, labels: Sequence[str], seed: int
) -> Classifier:
    if kind == "ngram":
        return fit_ngram(texts, targets_NL, labels=labels, seed=seed)
    from stillhouse.classifiers import fit_embedding  # needs torch

    return fit_embedding(texts, targets_NL, labels=labels, seed=seed)


def _sure(answer: str | None) -> float:
    return -1.0 if answer is None else 1.0
