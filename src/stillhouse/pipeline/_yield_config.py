"""The settings of a yield curve."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stillhouse.fit import FitConfig
from stillhouse.train import TrainConfig

YieldStudent = Literal["ngram", "embedding", "encoder", "lm"]

FEWEST_BUDGETS = 4
"""Three show how a curve bends, and one is held back to check it."""


class YieldConfig(BaseModel):
    """How a yield curve is measured."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    student: YieldStudent = "embedding"
    """What is made at each budget."""
    budgets: tuple[int, ...] | None = None
    """Calls of the teacher, four different numbers or more; the largest is held back to check what
    the others predict. Null halves what the dataset took, down to 50."""
    seeds: int = Field(default=3, ge=1)
    """Students at each budget, each from other calls."""
    target: float = Field(default=0.9, gt=0.0, lt=1.0)
    """Agreement with the teacher to predict the calls for."""
    max_held_out: int | None = Field(default=None, ge=20)
    """Measure on so many held-out prompts, chosen by hash; null takes all."""
    fit: FitConfig = FitConfig()
    """How students with labels are made; `student` and `seed` are those of the curve."""
    train: TrainConfig = TrainConfig(objective="sft")
    """How the student `lm` is made."""

    @model_validator(mode="after")
    def _budgets_show_a_bend(self) -> Self:
        if self.budgets is None:
            return self
        if len(set(self.budgets)) < FEWEST_BUDGETS or min(self.budgets) < 1:
            raise ValueError(
                f"budgets are {', '.join(map(str, self.budgets))}; give {FEWEST_BUDGETS} different "
                "numbers of calls or more, each 1 at least"
            )
        return self
