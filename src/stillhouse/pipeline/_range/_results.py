"""What a range found, as records: the public schema of its `results.json`."""

from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, ConfigDict, Field, ValidationError

from stillhouse.errors import IntegrityError
from stillhouse.pipeline._range._config import RangeConfig
from stillhouse.pipeline._range._owner import Trace
from stillhouse.records import Record
from stillhouse.statistics import Interval

TestName = Literal["radioactivity", "traffic", "both", "none"]


class _Result(Record):
    model_config = ConfigDict(use_attribute_docstrings=True, allow_inf_nan=False)


class Quality(_Result):
    """How good a student is on held-out prompts."""

    gap_closed: Interval
    """(student - base) / (teacher - base), of right answers where the field has some, else of
    closeness to the teacher: 1 - KL of the student / KL of the base."""
    kl_nats: Interval
    """KL(teacher || student) per token of the teacher's held-out answers."""
    right: Interval | None
    """Share of right answers, greedily; null where prompts have no answers."""


class Detection(_Result):
    """What the owner can show against the copier."""

    test: TestName
    """Which tests the defence gives: of the student (`radioactivity`), of the requests (`traffic`),
    or both, of which the better one counts twice."""
    log10_p: float | None
    """Of the test; null where the defence gives none."""
    reason: str
    """Why there is none; empty where there is one."""
    trace: Trace | None
    """The test of the student."""
    traffic_log10_p: float | None
    """The test of the requests."""
    lesson_log10_p: float | None
    """Of the mark in the copier's own training texts; beside the test, for who gets hold of
    them."""


class Cost(_Result):
    """What a defence costs honest users; each part is a share of their requests."""

    share: Interval
    """Of honest requests that are worse off for any reason: 1 - the product of 1 - each part. Its
    ends are those of the parts, so that it is too wide rather than too narrow."""
    refused: Interval | None
    """Not answered, since a limit or the monitor stood in the way."""
    lost_logprobs: Interval | None
    """Asked for log-probabilities, and got none."""
    lost_reasoning: Interval | None
    """Asked for the steps of an answer, and got none."""
    worse: Interval | None
    """Answered in a way that is less likely under the unmarked teacher than its own answer, less
    those that are likelier. Below 0, chance made them likelier."""
    nll_nats: Interval | None
    """What marked answers have more of negative log-likelihood, per token."""
    time_ratio: float | None
    """Processor time for each token over that without the mark."""


class RangeRow(_Result):
    """One attack against one defence."""

    field: str
    defence: str
    attack: str
    collected: int = Field(ge=0)
    """Requests that were answered."""
    num_lessons: int = Field(ge=0)
    """Answers that the student learnt."""
    learns: Literal["text", "logprobs"]
    """What it learnt from."""
    is_fallback: bool
    """Whether it wanted log-probabilities, and they were hidden."""
    num_flagged: int = Field(ge=0)
    """Of the copier's accounts."""
    quality: Quality
    detection: Detection
    cost: Cost
    student_sha256: str
    """Of the student's manifest; rows that share it learnt the same."""


class Control(_Result):
    """A model that learnt no marked text, tested for a mark all the same."""

    defence: str
    """Whose mark."""
    attack: str
    """That made the model, of unmarked answers."""
    trace: Trace


class FieldResult(_Result):
    """All pairs of one field."""

    name: str
    teacher: str
    measure: Literal["right", "kl"]
    """What `gap_closed` is of."""
    num_held_out: int = Field(ge=1)
    base_kl_nats: Interval
    base_right: Interval | None
    teacher_right: Interval | None
    rows: tuple[RangeRow, ...]
    controls: tuple[Control, ...]


class RangeResults(_Result):
    """A range."""

    schema_version: Literal[1] = 1
    title: str
    level: float
    """P-value from which on a copy counts as found."""
    fields: tuple[FieldResult, ...] = Field(min_length=1)
    honest_requests: int = Field(ge=1)
    """Simulated, that costs are measured on."""
    verdict: str
    notes: tuple[str, ...]
    config: RangeConfig
    """All settings."""
    created_utc: AwareDatetime
    seconds: float = Field(ge=0.0)
    """Of this attempt; what an earlier one had made is not in it."""


def read_range(path: Path) -> RangeResults:
    """The results in a file that `range` wrote.

    Raises:
        IntegrityError: it is missing, damaged or of another version.
    """
    try:
        return RangeResults.model_validate_json(path.read_bytes())
    except OSError as err:
        raise IntegrityError(
            f"{path} cannot be read ({err.strerror}). Give the results.json that range wrote."
        ) from err
    except ValidationError as err:
        reason = str(err.errors()[0]["msg"])
        raise IntegrityError(
            f"{path} holds no range that can be read ({reason}). Run range again."
        ) from err
