"""The arena: models ranked on prompts by what a judge says of their answers.

Each pair of answers is judged in both orders, ratings are Bradley-Terry with intervals that hold
together, and the judge's own agreement with people is reported beside them. Loads no torch; the
stage itself is `_arena.arena`, which needs scipy.
"""

from stillhouse.evaluate._arena._asking import Ask
from stillhouse.evaluate._arena._comparisons import ComparisonRow
from stillhouse.evaluate._arena._config import ArenaConfig
from stillhouse.evaluate._arena._results import (
    ArenaModel,
    ArenaResults,
    PairResult,
    Standing,
    read_arena_results,
)

__all__ = [
    "ArenaConfig",
    "Ask",
    "ArenaResults",
    "ArenaModel",
    "PairResult",
    "Standing",
    "ComparisonRow",
    "read_arena_results",
]
