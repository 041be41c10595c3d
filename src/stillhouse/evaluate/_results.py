"""What an evaluation measured: the public schema of `results.json`.

Every measured quantity is an `Estimate`: a value with its 95 % interval and what it rests on.
What was not measured is `None`, never 0.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

import orjson
from pydantic import AwareDatetime, Field, ValidationError, model_validator

from stillhouse.errors import IntegrityError
from stillhouse.records import Record

RESULTS_SCHEMA_VERSION: Literal[1] = 1

ModelRole = Literal["teacher", "untrained", "student"]

_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]


class Estimate(Record):
    """A measured value with its 95 % interval."""

    value: _Finite
    low: _Finite
    high: _Finite
    n: int = Field(ge=1)
    """Observations behind the value: tokens for per-token metrics, completions otherwise."""
    num_clusters: int = Field(ge=1)
    """Groups of prompts that the bootstrap drew as wholes."""

    @model_validator(mode="after")
    def _interval_is_ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"the interval [{self.low}, {self.high}] is upside down")
        return self


class PositionPoint(Record):
    """Closeness to the teacher at one place in the completions."""

    position: int = Field(ge=0)
    """Index of the token in its completion, from 0."""
    forward_kl: Estimate
    """KL(teacher || model) at that position, in nats."""


class OwnTextKl(Record):
    """KL(teacher || student) per token on rollouts that the student drew in its training.

    On a few training prompts, so that it tells how the training went and not how good it is.
    """

    before_nats: float
    after_nats: float


class ModelResult(Record):
    """One model of the comparison. Metrics against the teacher are None for the teacher itself."""

    name: str = Field(min_length=1)
    role: ModelRole
    objective: str | None = None
    """What it was trained on: `forward_kl`, `sft`; None for a model that was not trained here."""
    num_steps: int | None = Field(default=None, ge=1)
    """Optimiser steps of that training."""
    num_parameters: int = Field(ge=1)
    num_embedding_parameters: int = Field(ge=0)
    num_layers: int = Field(ge=1)
    weight_bytes: int = Field(ge=1)
    memory_bytes: int | None = Field(default=None, ge=1)
    """Resident weights and key-value cache at the measured batch."""
    generation_tokens_per_s: _Positive | None = None
    """Tokens that the whole batch gained per second."""
    latency_s_per_completion: _Positive | None = None
    """Median over completions generated one at a time."""
    forward_kl_nats: Estimate | None = None
    """KL(teacher || model) per token of the teacher's text."""
    top1_agreement: Estimate | None = None
    """Fraction of tokens at which model and teacher rank the same token first."""
    teacher_text_perplexity: Estimate | None = None
    looping_fraction: Estimate
    """Fraction of completions that hold one 3-gram of words at least three times."""
    by_position: tuple[PositionPoint, ...] = ()
    own_text_kl: OwnTextKl | None = None
    """None where the training did not measure it."""


class Comparison(Record):
    """Two models on one metric, paired over the same prompts."""

    metric: str = Field(min_length=1)
    """A field of `ModelResult`, such as `forward_kl_nats`."""
    a: str
    b: str
    difference: Estimate
    """a minus b, in the metric's unit."""
    ratio: Estimate | None = None
    """a over b."""
    verdict: str = Field(min_length=1)


class SampleRow(Record):
    """What each model wrote for one held-out prompt."""

    prompt_id: str
    prompt: str
    """The last user message."""
    texts: dict[str, str]
    """Completion by model name."""


class Target(Record):
    """Something that was asked for, and what was reached."""

    name: str = Field(min_length=1)
    wanted: str
    reached: str
    is_met: bool


class EvaluationResults(Record):
    """The content of `results.json`.

    The first model of role `student` is the one that the evaluation is about; further students
    are there to compare it with.
    """

    schema_version: Literal[1] = RESULTS_SCHEMA_VERSION
    title: str = Field(min_length=1)
    verdict: str = Field(min_length=1)
    """One sentence that a reader can repeat."""
    models: tuple[ModelResult, ...] = Field(min_length=1)
    comparisons: tuple[Comparison, ...] = ()
    samples: tuple[SampleRow, ...] = ()
    sample_rule: str
    """How `samples` were chosen, so that nobody has to wonder whether a hand did."""
    targets: tuple[Target, ...] = ()
    num_prompts: int = Field(ge=1)
    num_tokens: int = Field(ge=1)
    """Tokens of the teacher's held-out text that per-token metrics average over."""
    created_utc: AwareDatetime
    seconds: float = Field(ge=0.0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        names = [model.name for model in self.models]
        if len(set(names)) != len(names):
            raise ValueError(f"models hold a name twice: {', '.join(sorted(names))}")
        used = {name for comparison in self.comparisons for name in (comparison.a, comparison.b)}
        used |= {name for row in self.samples for name in row.texts}
        unknown = sorted(used - set(names))
        if unknown:
            raise ValueError(f"{unknown[0]!r} is not a model; models are {', '.join(names)}")
        return self

    @property
    def teacher(self) -> ModelResult | None:
        """The first model of role `teacher`."""
        return self._first("teacher")

    @property
    def student(self) -> ModelResult | None:
        """The student that the evaluation is about."""
        return self._first("student")

    @property
    def untrained(self) -> ModelResult | None:
        """The student before training."""
        return self._first("untrained")

    def to_bytes(self) -> bytes:
        """The bytes of `results.json`."""
        options = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        return orjson.dumps(self.model_dump(mode="json"), option=options)

    def _first(self, role: ModelRole) -> ModelResult | None:
        return next((model for model in self.models if model.role == role), None)


def read_results(path: Path) -> EvaluationResults:
    """The results in the file `path`.

    Raises:
        IntegrityError: the file is missing, damaged, or of another schema version.
    """
    try:
        raw = path.read_bytes()
    except OSError as err:
        raise IntegrityError(
            f"{path} cannot be read ({err.strerror}). Give the results.json of an evaluation."
        ) from err
    try:
        return EvaluationResults.model_validate_json(raw, strict=True)
    except ValidationError as err:
        first = err.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "document"
        raise IntegrityError(
            f"{path}: {place}: {first['msg']}. This stillhouse reads schema_version "
            f"{RESULTS_SCHEMA_VERSION}; run evaluate again."
        ) from err
