"""Figures and how sure they are: pure functions on numbers and text."""

from stillhouse.statistics._bootstrap import (
    Interval,
    clustered_bootstrap,
    paired_bootstrap_difference,
    paired_bootstrap_ratio,
)
from stillhouse.statistics._exact import fraction_interval
from stillhouse.statistics._text import is_looping

__all__ = [
    "Interval",
    "clustered_bootstrap",
    "paired_bootstrap_difference",
    "paired_bootstrap_ratio",
    "fraction_interval",
    "is_looping",
]
