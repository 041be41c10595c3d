"""Parts of the training rows that are held out in turn."""

import numpy as np
import numpy.typing as npt

from stillhouse.classifiers._labels import Floats

Indices = npt.NDArray[np.int64]


def folds_of(targets_NL: Floats, num_folds: int, *, seed: int) -> Indices:
    """(N,) which part each row belongs to, 0 to `num_folds` - 1.

    Parts are of equal size, and each has its share of every label, by the likeliest label of a
    row.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(targets_NL))
    by_label = order[np.argsort(targets_NL[order].argmax(axis=1), kind="stable")]
    folds_N = np.empty(len(targets_NL), dtype=np.int64)
    folds_N[by_label] = np.arange(len(targets_NL)) % num_folds
    return folds_N
