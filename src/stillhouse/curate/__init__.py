"""Curation: which of a teacher's completions become training examples."""

from stillhouse.curate._config import ContaminationRule, CurateConfig
from stillhouse.curate._contamination import Contamination, Overlap, OverlapPair, contamination
from stillhouse.curate._curate import curate

__all__ = [
    "curate",
    "CurateConfig",
    "ContaminationRule",
    "contamination",
    "Contamination",
    "OverlapPair",
    "Overlap",
]
