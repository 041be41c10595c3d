"""What linear models of the other rows say about each row.

Letters: N rows, F features, S labels that can be learnt.
"""

from collections.abc import Sequence

import numpy as np

from stillhouse.classifiers._calibration import fit_calibration
from stillhouse.classifiers._folds import folds_of
from stillhouse.classifiers._head import fit_head
from stillhouse.classifiers._judgement import judged
from stillhouse.classifiers._labels import Floats, LabelledRows
from stillhouse.classifiers._linear import Features, fit_linear
from stillhouse.classifiers._mixture import SHARES
from stillhouse.runlog import Listener, Ticker

_NUM_FOLDS = 5
_TOLERANCE = 1e-2  # of the gradient: what comes of it is only a part of a target


def said_by_others(
    kinds: Sequence[Features], rows: LabelledRows, *, seed: int, on_progress: Listener
) -> Floats:
    """(N, S) calibrated probabilities of each row's labels, by models that did not learn from it.

    A model of one kind of features is fitted on all parts of the rows but one, and says something
    about that one; the logits of a second kind are mixed in, in the share that is best.

    Args:
        kinds: One or two kinds of features, (N, F) float32, dense or CSR.
        rows: What they learn.
        seed: Of the parts.
        on_progress: Is told after each model.

    Source: Dao et al. 2021, "Knowledge Distillation as Semiparametric Inference", which cross-fits
    the teacher so that the student does not learn its slips, arXiv:2104.09732.
    """
    targets_NS, is_multiple = rows.learnt_targets_NS, rows.space.is_multiple
    num_folds = min(_NUM_FOLDS, len(targets_NS))
    folds_N = folds_of(targets_NS, num_folds, seed=seed)
    ticker = Ticker(
        on_progress, stage="judge by others", total=num_folds * len(kinds), unit="models"
    )
    of_kinds = []
    for features in kinds:
        l2 = fit_head(
            features, rows, l2=None, seed=seed, stage="choose penalty", on_progress=on_progress
        ).l2
        logits_NS = np.empty_like(targets_NS)
        for fold in range(num_folds):
            is_here_N = folds_N == fold
            head = fit_linear(
                features[~is_here_N],
                targets_NS[~is_here_N],
                rows.weights_N[~is_here_N],
                is_multiple=is_multiple,
                l2=l2,
                tolerance=_TOLERANCE,
            )
            logits_NS[is_here_N] = head.logits(features[is_here_N])
            ticker.advance()
        calibration = fit_calibration(logits_NS, targets_NS, is_multiple=is_multiple)
        of_kinds.append(calibration.logits(logits_NS))
    mixed_NS = _best_mixture(of_kinds, targets_NS, is_multiple=is_multiple)
    calibration = fit_calibration(mixed_NS, targets_NS, is_multiple=is_multiple)
    return calibration.probabilities(mixed_NS, is_multiple=is_multiple)


def _best_mixture(of_kinds: Sequence[Floats], targets_NS: Floats, *, is_multiple: bool) -> Floats:
    if len(of_kinds) == 1:
        return of_kinds[0]
    first_NS, second_NS = of_kinds
    mixtures = [(1 - share) * first_NS + share * second_NS for share in SHARES]
    nats = [judged(mixed, targets_NS, is_multiple=is_multiple).nats for mixed in mixtures]
    return mixtures[int(np.argmin(nats))]
