"""What rows that a model did not learn from say about its logits.

Letters: N rows, S labels that can be learnt.
"""

from dataclasses import dataclass

import numpy as np

from stillhouse.classifiers._calibration import Calibration, fit_calibration
from stillhouse.classifiers._curves import row_losses
from stillhouse.classifiers._labels import Floats


@dataclass(frozen=True)
class Judgement:
    """How good logits are.

    Attributes:
        calibration: The best one on these rows.
        nats: Mean cross-entropy with it.
        agreement: Mean probability that the target gives to the likeliest label; with several
            labels a text, the fraction of right yes or no answers.
    """

    calibration: Calibration
    nats: float
    agreement: float


def judged(
    logits_NS: Floats,
    targets_NS: Floats,
    *,
    is_multiple: bool,
    weights_N: Floats | None = None,
) -> Judgement:
    """Judge logits by their own rows' targets.

    Args:
        logits_NS: (N, S) of rows that were held out.
        targets_NS: (N, S) what is right.
        is_multiple: Whether a text may have several labels.
        weights_N: How much each row counts in the cross-entropy; None counts all alike.
    """
    calibration = fit_calibration(logits_NS, targets_NS, is_multiple=is_multiple)
    calibrated_NS = calibration.logits(logits_NS)
    losses_N = row_losses(calibrated_NS, targets_NS, is_multiple=is_multiple)
    has_weight = weights_N is not None and weights_N.any()
    nats = float(np.average(losses_N, weights=weights_N if has_weight else None))
    return Judgement(
        calibration, nats, _agreement(calibrated_NS, targets_NS, is_multiple=is_multiple)
    )


def _agreement(logits_NS: Floats, targets_NS: Floats, *, is_multiple: bool) -> float:
    if is_multiple:
        return float(np.where(logits_NS > 0, targets_NS, 1 - targets_NS).mean())
    return float(targets_NS[np.arange(len(targets_NS)), logits_NS.argmax(axis=1)].mean())
