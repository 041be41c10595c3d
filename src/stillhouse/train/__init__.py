"""One training loop. A method is a row of `OBJECTIVES`: what its targets are read from."""

from stillhouse.train._config import OBJECTIVES, TrainConfig
from stillhouse.train._train import train

__all__ = ["train", "TrainConfig", "OBJECTIVES"]
