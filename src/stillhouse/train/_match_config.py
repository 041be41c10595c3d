"""Matching hidden states beside the objective: settings that load without torch."""

from typing import Literal

from pydantic import ConfigDict, Field

from stillhouse.records import Record


class MatchConfig(Record):
    """Bring the student's hidden states to those of one live teacher, beside the objective."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    weight: float = Field(default=1.0, gt=0.0)
    """Of the distance, added to the objective's loss."""
    distance: Literal["mean_square", "cosine"] = "mean_square"
    """The mean over the width of the squared difference, or 1 - cosine, blind to length."""
    layers: tuple[tuple[int, int], ...] = Field(default=((-1, -1),), min_length=1)
    """Pairs of a student's and a teacher's layer whose outputs are compared, from 0; -1 is the
    last."""
    learning_rate: float = Field(default=1e-3, gt=0.0)
    """Of the linear maps that bring the student's width to the teacher's, where the two differ.
    They are no part of the student."""
