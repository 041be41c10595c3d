"""How a step's lessons are divided into parts that go through the network one by one.

The gradient is the sum of theirs, so that only speed and memory depend on it. Long parts are slow
on a CPU: their activations are so large that the C library maps and clears new pages for each of
them, and short texts are padded to the longest one of all.
"""

from collections.abc import Sequence

from stillhouse.train._batches import split_by_tokens, split_evenly
from stillhouse.train._config import TrainConfig
from stillhouse.train._lessons import Lesson, units_of
from stillhouse.train._ranks import Ranks

CPU_PART_TOKENS = 1_024
"""Of 15 layers and 24 texts of 62 to 161 tokens, all at once needs 1.4 times the time of this;
512 and 2,048 run at the same speed, and activations grow with it."""


def parts_of(lessons: Sequence[Lesson], config: TrainConfig, ranks: Ranks) -> list[list[Lesson]]:
    """The lessons in parts, those that belong together in one of them."""
    limit = config.part_tokens
    if limit is None and ranks.device.type == "cpu":
        limit = CPU_PART_TOKENS
    budget = None if limit is None else limit * ranks.size  # each rank takes its share of a part
    return [
        [lesson for unit in part for lesson in unit]
        for some in split_evenly(units_of(lessons), config.accumulate)
        for part in split_by_tokens(some, budget, length=_read_tokens)
    ]


def _read_tokens(unit: Sequence[Lesson]) -> int:
    """Tokens of a unit's lessons, padded; the last one of each is not read."""
    return len(unit) * max(len(lesson.example.ids) - 1 for lesson in unit)
