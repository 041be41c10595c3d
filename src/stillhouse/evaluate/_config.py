"""What to measure, and what would count as good enough."""

from pydantic import ConfigDict, Field

from stillhouse.records import Record


class Goals(Record):
    """Targets that the report checks; null leaves one out."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    max_parameter_fraction: float | None = Field(default=None, gt=0.0)
    """Student's parameters over the teacher's."""
    min_speedup: float | None = Field(default=None, gt=0.0)
    """Student's generation speed over the teacher's."""
    max_kl_fraction: float | None = Field(default=None, gt=0.0)
    """Student's held-out KL over that of the same student before training."""
    max_extra_looping: float | None = Field(default=None, ge=0.0)
    """Student's fraction of looping completions minus the teacher's."""
    beats_sft: bool = False
    """Whether the interval of the student's KL must lie below that of an SFT student."""
    max_seconds: float | None = Field(default=None, gt=0.0)
    """All stages together."""


class EvaluateConfig(Record):
    """How to measure students against their teacher."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    num_samples: int = Field(default=8, ge=0)
    """Prompts whose completions are shown side by side."""
    max_prompts: int | None = Field(default=None, ge=2)
    """Measure on the first so many held-out prompts; null takes all."""
    speed_prompts: int = Field(default=32, ge=0)
    """Prompts of the speed measurement; 0 leaves it out."""
    speed_tokens: int = Field(default=24, ge=1)
    """Tokens generated for each of them."""
    max_position: int = Field(default=32, ge=1)
    """KL by position is shown for so many first tokens."""
    num_resamples: int = Field(default=2_000, ge=100)
    """Bootstrap resamples behind each interval."""
    seed: int = 0
    goals: Goals = Goals()
