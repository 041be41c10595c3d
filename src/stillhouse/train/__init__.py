"""One training loop. A method is a source of texts, a guide and an objective, chosen apart.

The settings load without torch; the loop, with torch, when `train` is first asked for.
"""

from typing import TYPE_CHECKING, Any

from stillhouse.train._config import TrainConfig
from stillhouse.train._methods import GUIDES, OBJECTIVES, SOURCES, Method, check_method
from stillhouse.train._student_config import LoraConfig, PruneConfig

if TYPE_CHECKING:
    from stillhouse.train._train import train

__all__ = [
    "train",
    "TrainConfig",
    "PruneConfig",
    "LoraConfig",
    "Method",
    "OBJECTIVES",
    "SOURCES",
    "GUIDES",
    "check_method",
]


def __getattr__(name: str) -> Any:
    if name != "train":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from stillhouse.train._train import train

    return train
