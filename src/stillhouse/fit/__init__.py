"""From a dataset with answers to a student that answers with labels.

`fit` is the stage. What it does about teachers that are wrong is also of use alone: `dawid_skene`
settles several of them, `estimate_noise` says how many answers are wrong at random.
"""

from stillhouse.fit._committee import Committee, dawid_skene
from stillhouse.fit._config import FitConfig, NoiseConfig
from stillhouse.fit._fit import fit
from stillhouse.fit._noise import NoiseEstimate, estimate_noise
from stillhouse.fit._repair import RepairRow
from stillhouse.fit._validation import ValidationRow

__all__ = [
    "fit",
    "FitConfig",
    "NoiseConfig",
    "ValidationRow",
    "RepairRow",
    "Committee",
    "dawid_skene",
    "NoiseEstimate",
    "estimate_noise",
]
