"""Kinds of cheap students that judge the same rows together.

Letters: N rows, M rows that were set aside, F features, L labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from stillhouse.classifiers import Features
from stillhouse.fit._crossfit import CrossFit, Judged, softened, taught_cross_fit
from stillhouse.fit._noise import estimate_noise, soundness
from stillhouse.fit._rows import Floats, Integers

_SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
_NUM_ROUNDS = 3  # a fourth corrects hardly anything more
_LEAST = 1e-12


@dataclass(frozen=True)
class Panel:
    """One kind of students, or two whose probabilities are mixed.

    Attributes:
        fits: By kind; the first is the one under which the answers are likelier.
        share: Of the second kind in the mean of the log-probabilities.
    """

    fits: tuple[CrossFit, ...]
    share: float

    @property
    def rate(self) -> float:
        """Fraction of the answers that are wrong at random."""
        return self.fits[0].noise.rate.value

    def probabilities(self) -> Floats:
        """(N, L) of the labels that are right, before the answers are known."""
        return self._mixed([fit.probabilities(fit.logits_NL) for fit in self.fits])

    def posterior(self, answers_N: Integers) -> Floats:
        """(N, L) of the labels that are right, once they are."""
        return soundness(self.probabilities(), answers_N, self.rate)

    def posterior_aside(self, features: Sequence[Features], answers_M: Integers) -> Floats:
        """(M, L) the same of rows that no student learnt from.

        Args:
            features: (M, F) by kind.
            answers_M: Numbers of the labels that were answered.
        """
        of_kinds = [
            fit.mean_probabilities(of_kind)
            for fit, of_kind in zip(self.fits, features, strict=True)
        ]
        return soundness(self._mixed(of_kinds), answers_M, self.rate)

    def _mixed(self, of_kinds: Sequence[Floats]) -> Floats:
        first_NL, *others = of_kinds
        if not others or not self.share:
            return first_NL
        mixed_NL = np.exp(
            (1 - self.share) * np.log(first_NL + _LEAST) + self.share * np.log(others[0] + _LEAST)
        )
        return np.asarray(mixed_NL / mixed_NL.sum(axis=1, keepdims=True))


def settled_panel(judged: Sequence[Judged], corrected: Sequence[CrossFit]) -> Panel:
    """Students that have learnt, a few times over, what all kinds together make of the rows.

    Here an answer does colour the corrections of its neighbours, a little.

    Args:
        judged: The rows, as one kind or two read them.
        corrected: What `corrected_cross_fit` made of each; the likelier one first.
    """
    answers_N, given_NL = judged[0].answers_N, judged[0].targets_NL
    panel = _best_share(Panel(tuple(corrected), 0.0), answers_N)
    for _ in range(_NUM_ROUNDS):
        targets_NL = softened(given_NL, panel.posterior(answers_N), answers_N)
        panel = replace(
            panel,
            fits=tuple(
                taught_cross_fit(one, fit, targets_NL)
                for one, fit in zip(judged, corrected, strict=True)
            ),
        )
    return panel


def _best_share(panel: Panel, answers_N: Integers) -> Panel:
    """The share under which the answers are likeliest, if that is more than one parameter buys."""
    if len(panel.fits) == 1:
        return panel
    candidates = [replace(panel, share=share) for share in _SHARES]
    nats = [
        estimate_noise(np.log(one.probabilities() + _LEAST), answers_N).nats for one in candidates
    ]
    best = int(np.argmin(nats))
    return candidates[best] if nats[0] - nats[best] > 1 / len(answers_N) else candidates[0]
