"""One number for many figures: a weighted sum of how far each is from what is usual.

Weights come with the package; what is usual is that of the reference log. A weight that fits the
user's traffic badly costs power and nothing else: p-values are ranks among benign accounts.

Letters: R rows, F figures.
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

from stillhouse.traffic._clusters import CLUSTER_FIGURES
from stillhouse.traffic._windows import FIGURES, Floats

Kind = Literal["window", "cluster"]
NAMES: dict[Kind, Sequence[str]] = {"window": FIGURES, "cluster": CLUSTER_FIGURES}
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
    """(F,) the weights that come with the package."""
    shipped = orjson.loads(files("stillhouse.traffic").joinpath("weights.json").read_bytes())
    return np.array([shipped[kind][name] for name in NAMES[kind]])


def scores(kind: Kind, usual: Usual, figures_RF: Floats) -> Floats:
    """(R,) higher for what is more like extraction."""
    return usual.distances(figures_RF) @ weights(kind)


def fit_weights(
    distances_RF: Floats, is_extraction_R: npt.NDArray[np.bool_], *, penalty: float = 1e-3
) -> Floats:
    """(F,) weights of a logistic regression, both classes weighing the same.

    Args:
        penalty: Times the sum of squared weights.
    """
    sign_R = np.where(is_extraction_R, 1.0, -1.0)
    share_R = np.where(is_extraction_R, 0.5 / is_extraction_R.sum(), 0.5 / (~is_extraction_R).sum())
    rows_RG = np.hstack([np.ones((len(distances_RF), 1)), distances_RF])

    def loss(weights_G: Floats) -> tuple[float, Floats]:
        margin_R = sign_R * (rows_RG @ weights_G)
        slope_R = share_R * sign_R / (1.0 + np.exp(margin_R))
        shrunk_G = np.concatenate([[0.0], weights_G[1:]])
        value = float((share_R * np.logaddexp(0, -margin_R)).sum() + penalty * shrunk_G @ shrunk_G)
        return value, -(rows_RG.T @ slope_R) + 2 * penalty * shrunk_G

    start = np.zeros(rows_RG.shape[1])
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B").x[1:], np.float64)
