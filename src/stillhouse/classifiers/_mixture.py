"""A model on n-grams beside an encoder: what one misses of a text, the other often sees.

Letters: N texts, S labels that can be learnt.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stillhouse.classifiers._calibration import Calibration, fit_calibration
from stillhouse.classifiers._judgement import judged
from stillhouse.classifiers._labels import Floats
from stillhouse.classifiers._ngram import NgramClassifier

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
"""Of the n-grams; the encoder has the rest."""


@dataclass(frozen=True)
class Companion:
    """The n-grams' part in an encoder's answers.

    Attributes:
        ngram: Learnt from the same rows.
        calibration: Of the encoder alone, so that both speak in the same units.
        share: Of the n-grams in the mean of both logits, 0 to 1.
    """

    ngram: NgramClassifier
    calibration: Calibration
    share: float

    def mixed(self, ours_NS: Floats, theirs_NS: Floats) -> Floats:
        """(N, S) logits of both.

        Args:
            ours_NS: The encoder's, before calibration.
            theirs_NS: The n-grams', before calibration.
        """
        ours_NS = self.calibration.logits(ours_NS)
        theirs_NS = self.ngram.calibration.logits(theirs_NS)
        return np.asarray((1 - self.share) * ours_NS + self.share * theirs_NS)

    def logits(self, texts: Sequence[str]) -> Floats:
        """(N, S) the n-grams' logits, before calibration."""
        return self.ngram.logits(texts)[:, self.ngram.common.space.is_learnt_L]


def companion_of(
    ngram: NgramClassifier, ours_NS: Floats, theirs_NS: Floats, targets_NS: Floats
) -> Companion | None:
    """The companion with the share that is best on rows that neither model learnt from.

    Args:
        ngram: A candidate, calibrated.
        ours_NS: (N, S) the encoder's logits.
        theirs_NS: (N, S) the n-grams' logits.
        targets_NS: (N, S) what is right.

    Returns:
        None where the encoder is best alone.
    """
    is_multiple = ngram.is_multiple
    own = fit_calibration(ours_NS, targets_NS, is_multiple=is_multiple)
    candidates = [Companion(ngram, own, share) for share in SHARES]
    nats = [
        judged(candidate.mixed(ours_NS, theirs_NS), targets_NS, is_multiple=is_multiple).nats
        for candidate in candidates
    ]
    best = candidates[int(np.argmin(nats))]
    return best if best.share else None
