"""DistiLLM-2: settings that load without torch."""

from pydantic import ConfigDict, Field

from stillhouse.records import Record


class ContrastConfig(Record):
    """Objective `distillm2`: the teacher's texts and the student's, each with a skew divergence."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    base_skew: float = Field(default=0.1, gt=0.01, lt=1.0)
    """Largest skew of a text; it is smaller where the models are closer than usual."""
    first_student_weight: float = Field(default=1.0, ge=0.0, le=2.0)
    """Weight of the student's texts in the first step; the teacher's have 2 less that."""
    last_student_weight: float = Field(default=1.5, ge=0.0, le=2.0)
    """The same in the last step; it moves evenly in between."""
