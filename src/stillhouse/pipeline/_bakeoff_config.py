"""The settings of a bake-off."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from stillhouse.collect import CollectConfig, ImportConfig
from stillhouse.curate import CurateConfig
from stillhouse.evaluate import TaskEvaluateConfig
from stillhouse.fit import FitConfig
from stillhouse.records import Sampling
from stillhouse.tasks import TaskKind
from stillhouse.train import TrainConfig

BakeoffStudent = Literal["ngram", "embedding", "encoder", "lm"]

STUDENTS: tuple[BakeoffStudent, ...] = ("ngram", "embedding", "encoder", "lm")
"""Cheapest first, which is the order in which they are made."""

_BY_KIND: dict[TaskKind, tuple[BakeoffStudent, ...]] = {
    "classification": ("ngram", "embedding", "encoder"),
    "extraction": ("lm",),
    "text": ("lm",),
}


class BakeoffConfig(BaseModel):
    """From prompts of a task to a report on its students."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    students: tuple[BakeoffStudent, ...] | None = Field(default=None, min_length=1)
    """Which kinds are made, cheapest first whatever the order. Null makes `ngram`, `embedding` and
    `encoder` where answers are labels, and `lm` elsewhere: a language model reads the whole prompt,
    which takes hours on a CPU where a list of labels is in it."""
    until: Literal["all", "good-enough"] = "all"
    """`good-enough` stops after the first student that validation rows show to be no worse than the
    teacher within the task's margin."""
    held_out_fraction: float = Field(default=0.2, gt=0.0, lt=1.0)
    """Of the prompts, by hash, where none is marked as held out."""
    collect: CollectConfig = CollectConfig(sampling=Sampling(temperature=0.0))
    """How the teacher is asked."""
    import_: ImportConfig = Field(default=ImportConfig(), alias="import")
    """How answers are read that another tool has logged."""
    curate: CurateConfig = CurateConfig()
    """Which answers count. Where nobody marked what is held out, `contamination` is `remove`."""
    fit: FitConfig = FitConfig()
    """How students with labels are made; `student` is that of the bake-off."""
    train: TrainConfig = TrainConfig(objective="sft")
    """How the language model is made."""
    evaluate: TaskEvaluateConfig = TaskEvaluateConfig()
    """How all of them are judged."""

    @field_validator("students")
    @classmethod
    def _each_once(cls, students: Any) -> Any:
        if students is not None and len(set(students)) < len(students):
            raise ValueError(f"{', '.join(students)} names a student twice")
        return students

    def lineup(self, kind: TaskKind) -> tuple[BakeoffStudent, ...]:
        """The students of a task of this kind, cheapest first."""
        wanted = _BY_KIND[kind] if self.students is None else self.students
        return tuple(student for student in STUDENTS if student in wanted)
