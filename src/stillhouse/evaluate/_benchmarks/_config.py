"""Which benchmarks to run, how, and how much may be lost on them."""

from pydantic import ConfigDict, Field

from stillhouse.records import Record


class BenchmarksConfig(Record):
    """Standard benchmarks of a student, and of its base to see what it forgot."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    tasks: tuple[str, ...] = Field(min_length=1)
    """Tasks or groups of lm-evaluation-harness, or of the folder given as --include."""
    num_fewshot: int | None = Field(default=None, ge=0)
    """Solved examples in front of each item; null takes what each task says."""
    max_items: int | None = Field(default=None, ge=1)
    """Take the first so many items of each task; null takes all."""
    is_chat: bool = False
    """Send items as messages through the chat template. Published figures are mostly without."""
    margin: float = Field(default=0.02, ge=0.0, lt=1.0)
    """Loss against the base that is tolerated on each task, in its score: 0.02 is 2 points."""
    clusters: dict[str, str] = Field(default={})
    """Task to the column that items which hang together share, such as the text they ask about."""
    seed: int = 1234
    """Of the choice of solved examples and of resamples; the default is the harness's own."""
