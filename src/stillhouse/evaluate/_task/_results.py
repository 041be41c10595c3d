"""What the evaluation of a task's students measured: the public schema of its `results.json`."""

from pathlib import Path
from typing import Literal, Self

import orjson
from pydantic import AwareDatetime, Field, ValidationError, model_validator

from stillhouse.errors import IntegrityError
from stillhouse.evaluate._service_records import ServiceSummary
from stillhouse.evaluate._task._records import (
    BreakEven,
    FailureRow,
    LearningPoint,
    Metric,
    SelfAgreement,
    SystemResult,
    TaskComparison,
)
from stillhouse.records import Record
from stillhouse.tasks import GraderName, TaskKind

TASK_RESULTS_SCHEMA_VERSION: Literal[1] = 1


class TaskFacts(Record):
    """The task, as far as its figures cannot be read without it."""

    name: str
    kind: TaskKind
    grader: GraderName
    is_binary: bool
    """Whether an answer is right or wrong, and nothing between."""
    margin: float
    """How much worse than the teacher still counts as good enough, in units of the score."""
    num_labels: int | None = None
    is_multiple: bool = False


class ContaminationFacts(Record):
    """Held-out messages that are in the training data too."""

    is_checked: bool
    num_held_out: int | None = None
    """Messages that curation compared."""
    found: dict[str, int] = Field(default_factory=dict)
    """Of these, by how they are alike: `exact`, `near`, `ngram` (13 words in a row)."""
    num_removed: int = 0
    """Training rows that were taken out for it, so that nothing is left."""

    @property
    def num_left(self) -> int:
        """Held-out messages that training has seen."""
        return 0 if self.num_removed else sum(self.found.values())


class Recommendation(Record):
    """Which student to take, how it was chosen, and whether that held."""

    student: str
    rule: str
    """In words."""
    best: str | None = None
    """The student that it was held against: the best one on validation rows."""
    is_confirmed: bool | None = None
    """Whether the held-out messages show it to be no worse than the best, within the margin; None
    where it is the best, or there was nothing to choose."""


class CountFacts(Record):
    """The messages that everything rests on."""

    held_out: int = Field(ge=1)
    groups: int = Field(ge=1)
    """Independent pieces of evidence: groups of messages, or the messages themselves."""
    with_teacher: int = Field(ge=0)
    """Held-out messages with a valid answer of the teacher, on which agreement rests."""
    with_gold: int = Field(ge=0)
    train: int = Field(ge=0)
    teacher_answers: int = Field(ge=0)
    """The teacher's answers to all messages, whatever became of them."""
    invalid_answers: dict[str, int] = Field(default_factory=dict)
    """Those that the task does not allow, by what is wrong with them."""


class TaskResults(Record):
    """The content of `results.json`. The teacher is the first system, students come after it."""

    schema_version: Literal[1] = TASK_RESULTS_SCHEMA_VERSION
    title: str = Field(min_length=1)
    verdict: str = Field(min_length=1)
    """One sentence that a reader can repeat."""
    warnings: tuple[str, ...] = ()
    """What to know before believing it."""
    task: TaskFacts
    counts: CountFacts
    recommendation: Recommendation
    systems: tuple[SystemResult, ...] = Field(min_length=2)
    comparisons: tuple[TaskComparison, ...]
    missing: dict[str, str] = Field(default_factory=dict)
    """Systems that are always shown and could not be, with the reason."""
    self_agreement: SelfAgreement
    contamination: ContaminationFacts
    break_even: dict[str, BreakEven] = Field(default_factory=dict)
    """By student; empty where a price is unknown."""
    learning_curve: tuple[LearningPoint, ...] = ()
    service: ServiceSummary | None = None
    """How the student before did in service, where its log was given."""
    failures: tuple[FailureRow, ...] = ()
    """Of the recommended student."""
    failure_rule: str
    """How they were chosen, so that nobody has to wonder whether a hand did."""
    assumptions: tuple[str, ...] = ()
    created_utc: AwareDatetime
    seconds: float = Field(ge=0.0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        names = [system.name for system in self.systems]
        if len(set(names)) != len(names):
            raise ValueError(f"systems hold a name twice: {', '.join(sorted(names))}")
        used = {name for one in self.comparisons for name in (one.a, one.b)}
        used |= {self.recommendation.student, *self.break_even}
        if self.recommendation.best is not None:
            used.add(self.recommendation.best)
        unknown = sorted(used - set(names))
        if unknown:
            raise ValueError(f"{unknown[0]!r} is not a system; systems are {', '.join(names)}")
        if self.systems[0].role != "teacher" or self.student.role != "student":
            raise ValueError("the first system is the teacher, and what is recommended a student")
        return self

    @property
    def teacher(self) -> SystemResult:
        """The teacher."""
        return self.systems[0]

    @property
    def student(self) -> SystemResult:
        """The student that is recommended."""
        return self.system(self.recommendation.student)

    @property
    def students(self) -> tuple[SystemResult, ...]:
        """All students."""
        return tuple(system for system in self.systems if system.role == "student")

    @property
    def metric(self) -> Metric:
        """What quality is measured in: against the right answers where there are any."""
        return "gold" if self.counts.with_gold else "agreement"

    def system(self, name: str) -> SystemResult:
        """The system of that name."""
        return next(system for system in self.systems if system.name == name)

    def comparison(self, a: str, b: str, metric: Metric) -> TaskComparison | None:
        """The comparison of `a` with `b`, as it was made."""
        return next(
            (one for one in self.comparisons if (one.a, one.b, one.metric) == (a, b, metric)), None
        )

    def to_bytes(self) -> bytes:
        """The bytes of `results.json`."""
        options = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        return orjson.dumps(self.model_dump(mode="json"), option=options)


def read_task_results(path: Path) -> TaskResults:
    """The results in the file `path`.

    Raises:
        IntegrityError: the file is missing, damaged, or of another schema version.
    """
    try:
        raw = path.read_bytes()
    except OSError as err:
        raise IntegrityError(
            f"{path} cannot be read ({err.strerror}). Give the results.json of a task's evaluation."
        ) from err
    try:
        return TaskResults.model_validate_json(raw, strict=True)
    except ValidationError as err:
        first = err.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "document"
        raise IntegrityError(
            f"{path}: {place}: {first['msg']}. This stillhouse reads schema_version "
            f"{TASK_RESULTS_SCHEMA_VERSION} of a task's evaluation; run it again."
        ) from err
