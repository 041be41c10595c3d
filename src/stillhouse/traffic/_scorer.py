"""One number for many figures: the log-odds of extraction against every kind of benign account.

Against each kind there is a weighted sum of how far figures are from what is usual; the score is
their soft minimum, so that nothing scores high that is like one kind. A single sum cannot do that:
what tells a sweep from people does not tell it from testers.

Weights come with the package; what is usual is that of the reference log. A weight that fits the
user's traffic badly costs power: p-values are made of the scores of benign accounts.

Letters: R rows, F figures, K kinds of benign accounts, G a bias and the figures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

import numpy as np
import numpy.typing as npt
import orjson
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from stillhouse.traffic._clusters import CLUSTER_FIGURES
from stillhouse.traffic._windows import FIGURES, Floats

Kind = Literal["window", "cluster"]
NAMES: dict[Kind, Sequence[str]] = {"window": FIGURES, "cluster": CLUSTER_FIGURES}
BIAS = "bias"
_FARTHEST = 8.0  # standard deviations; one odd figure must not decide alone
_LEAST_SPREAD = 1e-3


@dataclass(frozen=True)
class Usual:
    """What is usual of figures.

    Attributes:
        centre_F: Means of a reference.
        spread_F: Their standard deviations.
    """

    centre_F: Floats
    spread_F: Floats

    @classmethod
    def of(cls, figures_RF: Floats) -> "Usual":
        """Of a reference."""
        spread_F = np.maximum(figures_RF.std(axis=0), _LEAST_SPREAD)
        return cls(figures_RF.mean(axis=0), spread_F)

    def distances(self, figures_RF: Floats) -> Floats:
        """(R, F) in standard deviations, cut at eight."""
        return np.clip((figures_RF - self.centre_F) / self.spread_F, -_FARTHEST, _FARTHEST)


@cache
def weights(kind: Kind) -> Floats:
    """(K, G) the weights that come with the package: a bias, and one of each figure."""
    shipped = orjson.loads(files("stillhouse.traffic").joinpath("weights.json").read_bytes())
    names = (BIAS, *NAMES[kind])
    return np.array([[of_kind[name] for name in names] for of_kind in shipped[kind].values()])


def scores(kind: Kind, usual: Usual, figures_RF: Floats) -> Floats:
    """(R,) higher for what is more like extraction."""
    return soft_minimum(weights(kind), usual.distances(figures_RF))


def soft_minimum(weights_KG: Floats, distances_RF: Floats) -> Floats:
    """(R,) minus the log of the sum of the odds of all kinds against extraction."""
    return np.asarray(-logsumexp(-_sums(weights_KG, distances_RF), axis=1), np.float64)


def added(kind: Kind, distances_F: Floats) -> Floats:
    """(F,) what each figure adds to the score, against the kinds that a row is most like."""
    weights_KG = weights(kind)
    share_K = softmax(-_sums(weights_KG, distances_F[None])[0])
    added_F: Floats = (share_K @ weights_KG[:, 1:]) * distances_F
    return added_F


def _sums(weights_KG: Floats, distances_RF: Floats) -> Floats:
    return weights_KG[:, 0] + distances_RF @ weights_KG[:, 1:].T


def fit_weights(
    distances_RF: Floats, class_R: npt.NDArray[np.int64], *, penalty: float = 1e-3
) -> Floats:
    """(K, G) weights of a multinomial logistic regression, all classes weighing the same.

    Args:
        class_R: 0 to K - 1 of benign kinds, K of extraction.
        penalty: Times the sum of squared weights.
    """
    num = int(class_R.max()) + 1
    share_R = 1.0 / (num * np.bincount(class_R, minlength=num)[class_R])
    rows_RG = np.hstack([np.ones((len(distances_RF), 1)), distances_RF])
    is_class_RC = np.eye(num)[class_R]

    def loss(flat: Floats) -> tuple[float, Floats]:
        weights_CG = flat.reshape(num, -1)
        logits_RC = rows_RG @ weights_CG.T
        total_R = logsumexp(logits_RC, axis=1)
        shrunk_CG = weights_CG.copy()
        shrunk_CG[:, 0] = 0.0
        slope_RC = share_R[:, None] * (np.exp(logits_RC - total_R[:, None]) - is_class_RC)
        own_R = logits_RC[np.arange(len(class_R)), class_R]
        value = float(share_R @ (total_R - own_R) + penalty * (shrunk_CG**2).sum())
        return value, (slope_RC.T @ rows_RG + 2 * penalty * shrunk_CG).ravel()

    start = np.zeros(num * rows_RG.shape[1])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 1_000})
    weights_CG = np.asarray(found.x, np.float64).reshape(num, -1)
    weights_KG: Floats = weights_CG[-1] - weights_CG[:-1]
    return weights_KG
