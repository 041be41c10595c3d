"""Who answers in an evaluation."""

from dataclasses import dataclass
from typing import NamedTuple

from stillhouse.answers import Answerer
from stillhouse.evaluate._task._records import AnsweredBy, SystemRole, Validation


@dataclass(frozen=True)
class SystemFacts:
    """What a system is.

    Attributes:
        name: In the report.
        role: What it is there for.
        answered_by: How its answers come about.
        kind: Of students and their bases.
        num_threads: Cores that an answer may use.
        num_parameters: Of the model; None where there is none.
        num_bytes: On disk.
        training_seconds: What making it took.
        validation: What its training measured.
        is_probability: Whether its confidence is meant to be the probability of being right.
        is_timed: Whether it has a speed worth knowing.
    """

    name: str
    role: SystemRole
    answered_by: AnsweredBy
    kind: str = ""
    num_threads: int = 1
    num_parameters: int | None = None
    num_bytes: int | None = None
    training_seconds: float | None = None
    validation: Validation | None = None
    is_probability: bool = True
    is_timed: bool = True


class System(NamedTuple):
    """One system of the evaluation, beside the teacher: what it is, and what gives its answers."""

    facts: SystemFacts
    answerer: Answerer
