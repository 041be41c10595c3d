"""The settings of curation."""

from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from stillhouse.records import Record

ContaminationRule = Literal["refuse", "remove", "allow"]


class CurateConfig(Record):
    """Which completions become training examples.

    Held-out rows are exempt from all of these but `deduplicate`: the student is measured on them,
    and leaving out the teacher's long or looping answers would flatter it. Completions without
    text, and those that the teacher's own filter cut, are dropped on both sides.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    drop_truncated: bool = True
    """Drop completions that ended at `max_tokens`: the student would learn to stop mid-sentence.
    Of a task with labels or a schema, such an answer is invalid on both sides of the split."""
    drop_looping: bool = True
    """Drop completions in which a run of three words occurs three times or more. Labels, and JSON
    that follows the task's schema, may repeat themselves."""
    min_chars: int = Field(default=1, ge=1)
    max_chars: int | None = Field(default=None, ge=1)
    deduplicate: bool = True
    """Keep one of several equal completions of the same messages."""
    contamination: ContaminationRule | None = None
    """What happens when held-out texts are in training ones too: `refuse` stops, `remove` takes out
    the training rows, `allow` only counts. Without it, `refuse` with a task; without a task
    nothing is compared, since prompts made from a template are all alike."""

    @model_validator(mode="after")
    def _bounds_leave_room(self) -> Self:
        if self.max_chars is not None and self.max_chars < self.min_chars:
            raise ValueError(f"max_chars={self.max_chars} is below min_chars={self.min_chars}")
        return self
