"""P-values of scores beside those of a reference.

A new benign account is as likely as any of the reference's to be the oddest of all, so that its
rank is a p-value. That holds where log and reference are alike. They never are quite: the tail of a
log is as long as that of the reference, but not made of the same accounts. And a rank is never
below one over the number of the reference's, which says too little of clusters, of which a log is
as likely as the reference to have the oddest one. So beyond the reference's highest tenth the tail
is taken to fall exponentially, at a rate that is estimated on the safe side. That is an assumption;
it is what log-odds do, since benign rows have odds of extraction of e**s no oftener than e**-s.

Letters: R reference scores, F figures.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaincinv

from stillhouse.traffic._scorer import Kind, Usual, scores
from stillhouse.traffic._windows import Floats

TAIL_FRACTION = 0.1
LEAST_SCORES = 40
"""Reference clusters without which none is compared, and scores without which there is no tail."""
_CONFIDENCE = 0.95  # that the tail falls at least as fast as it is taken to
_LEAST_IN_TAIL = 10


@dataclass(frozen=True)
class Comparison:
    """A score beside those of a reference.

    Attributes:
        score: Of what is compared.
        p_value: Chance of one at least as high where all is as in the reference.
        num_reference: Reference scores.
    """

    score: float
    p_value: float
    num_reference: int


@dataclass(frozen=True)
class Ranks:
    """Figures and scores of a reference, for comparing with.

    Attributes:
        kind: Which weights score them.
        usual: What is usual of figures.
        high_F: 99th percentile of each figure, for reports.
        score_R: Of the reference, rising.
    """

    kind: Kind
    usual: Usual
    high_F: Floats
    score_R: Floats

    @classmethod
    def of(cls, kind: Kind, figures_RF: Floats) -> "Ranks":
        """Of the figures of a reference."""
        usual = Usual.of(figures_RF)
        high_F = np.quantile(figures_RF, 0.99, axis=0)
        return cls(kind, usual, high_F, np.sort(scores(kind, usual, figures_RF)))

    def compare(self, figures_F: Floats) -> Comparison:
        """Compare figures."""
        return self.compare_score(float(scores(self.kind, self.usual, figures_F[None])[0]))

    def compare_score(self, score: float) -> Comparison:
        """Compare a score; ties count against it."""
        num = len(self.score_R)
        at_least = num - int(np.searchsorted(self.score_R, score, side="left"))
        p_value = (1 + at_least) / (1 + num)
        start = num - self._num_above()
        if num >= LEAST_SCORES and score > self.score_R[start - 1]:
            p_value = self._tail(score, float(self.score_R[start - 1]))
        return Comparison(score, p_value, num)

    def _num_above(self) -> int:
        return max(_LEAST_IN_TAIL, int(len(self.score_R) * TAIL_FRACTION))

    def _tail(self, score: float, start: float) -> float:
        """The chance of a score beyond the highest tenth, which begins at `start`."""
        num_above = self._num_above()
        mean_excess = float((self.score_R[-num_above:] - start).mean())
        # Upper confidence bound of an exponential mean: 2 n mean / chi-squared quantile.
        bound = mean_excess * num_above / float(gammaincinv(num_above, 1 - _CONFIDENCE))
        share = (1 + num_above) / (1 + len(self.score_R))
        return share * math.exp(-(score - start) / max(bound, 1e-9))
