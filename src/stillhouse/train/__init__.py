"""One training loop. A method is a source of texts, a guide and an objective, chosen apart.

The settings load without torch; the loop, with torch, when `train` is first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from stillhouse.train._black_box_config import AdversarialConfig, PreferenceConfig
from stillhouse.train._config import TrainConfig
from stillhouse.train._contrast_config import ContrastConfig
from stillhouse.train._match_config import MatchConfig
from stillhouse.train._methods import GUIDES, OBJECTIVES, SOURCES, Method, check_method
from stillhouse.train._preflight_config import PreflightConfig
from stillhouse.train._student_config import LoraConfig, PruneConfig

if TYPE_CHECKING:
    from stillhouse.train._preflight import PreflightReport, preflight
    from stillhouse.train._train import train

__all__ = [
    "train",
    "preflight",
    "PreflightReport",
    "PreflightConfig",
    "TrainConfig",
    "ContrastConfig",
    "MatchConfig",
    "PreferenceConfig",
    "AdversarialConfig",
    "PruneConfig",
    "LoraConfig",
    "Method",
    "OBJECTIVES",
    "SOURCES",
    "GUIDES",
    "check_method",
]


_NEED_TORCH = {"train": "_train", "preflight": "_preflight", "PreflightReport": "_preflight"}


def __getattr__(name: str) -> Any:
    if name not in _NEED_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_NEED_TORCH[name]}"), name)
