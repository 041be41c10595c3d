"""What is measured beside the loss: settings that load without torch."""

from pydantic import ConfigDict, Field

from stillhouse.records import Record


class DiagnoseConfig(Record):
    """Compare student and teacher on the student's own rollouts, now and then.

    Always on the same few prompts with the same randomness, so that the numbers of different
    steps can be compared. It changes nothing about the training.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    every_steps: int = Field(default=50, ge=1)
    """Steps between two measurements; the first is before the first step."""
    prompts: int = Field(default=16, ge=1)
    """Training examples to draw rollouts for."""
    max_tokens: int = Field(default=64, ge=1)
    """Of a rollout."""
    top_k: int = Field(default=10, ge=1)
    """Of the overlap: how many of the likeliest tokens are compared."""
    teacher: str | None = None
    """Whom to compare with; null for the teacher that is live anyway."""
    max_time_fraction: float = Field(default=0.1, gt=0.0, le=1.0)
    """A measurement is left out while all of them have taken more than this share of the run."""
