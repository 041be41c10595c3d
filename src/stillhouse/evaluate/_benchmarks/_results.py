"""What a run of benchmarks measured: its rows and the public schema of its `results.json`.

Every figure is an `Estimate`: a value with its 95 % interval and what it rests on.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

import orjson
from pydantic import AwareDatetime, Field, ValidationError, model_validator

from stillhouse.errors import IntegrityError
from stillhouse.evaluate._results import Estimate
from stillhouse.records import Record
from stillhouse.statistics import Verdict

BENCHMARKS_SCHEMA_VERSION: Literal[1] = 1

BenchmarkRole = Literal["student", "base"]

_Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]


class BenchmarkRow(Record):
    """One model on one item, by one metric; table `items`."""

    model: str
    task: str
    metric: str
    filter: str
    """How the harness takes an answer out of a completion; `none` where there is none to take."""
    item: int = Field(ge=0)
    """Place of the item in the task's test data."""
    item_sha256: str
    """Of the item as the harness read it."""
    group: str | None
    """What items that hang together share."""
    score: float = Field(allow_inf_nan=False)
    answer: str
    """What the metric saw: the completion, or each choice's log-probability."""
    target: str


class BenchmarkModel(Record):
    """A model that was measured."""

    name: str = Field(min_length=1)
    role: BenchmarkRole
    source: str
    """The folder, file or hub name that it was loaded from."""
    revision: str | None
    """Fingerprint of its weights, where its files are on this machine."""
    num_parameters: int = Field(ge=1)
    num_requests: int = Field(ge=1)
    num_truncated: int = Field(ge=0)
    """Requests whose beginning was left out because they were longer than its context."""


class BenchmarkComparison(Record):
    """Student against base on the same items, with one verdict on the student."""

    difference: Estimate
    """Student minus base, turned so that more is better."""
    margin: float = Field(ge=0.0)
    verdict: Verdict
    p_non_inferior: _Share
    p_superior: _Share
    p_different: _Share
    discordance: _Share | None
    """Items that one has right and the other wrong; None for graded scores."""
    n_needed: int | None = Field(default=None, ge=1)
    """Where it is inconclusive: items that would settle it; None where no number would."""
    sentence: str


class BenchmarkResult(Record):
    """One task by one metric."""

    task: str = Field(min_length=1)
    version: str
    """The harness's version of the task."""
    metric: str = Field(min_length=1)
    filter: str
    is_main: bool
    """Whether the verdict rests on it: the first metric that the task names."""
    is_higher_better: bool
    num_fewshot: int = Field(ge=0)
    student: Estimate
    base: Estimate | None
    comparison: BenchmarkComparison | None
    note: str = ""
    """Why there is no comparison although there is a base."""


class BenchmarkResults(Record):
    """The content of `results.json`."""

    schema_version: Literal[1] = BENCHMARKS_SCHEMA_VERSION
    verdict: str = Field(min_length=1)
    """One sentence that a reader can repeat."""
    models: tuple[BenchmarkModel, ...] = Field(min_length=1, max_length=2)
    tasks: tuple[BenchmarkResult, ...] = Field(min_length=1)
    not_scored: tuple[str, ...] = ()
    """`task: metric` of what has no score for each item, and so no interval."""
    harness: str
    """The version of lm-evaluation-harness."""
    is_chat: bool
    created_utc: AwareDatetime
    seconds: float = Field(ge=0.0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _is_compared_if_there_is_a_base(self) -> Self:
        if self.student.role != "student":
            raise ValueError("the first model is not the student")
        for task in self.tasks:
            if (task.base is None) != (self.base is None):
                raise ValueError(f"{task.task} has no figure of one of the models")
        return self

    @property
    def student(self) -> BenchmarkModel:
        """The model that the run is about."""
        return self.models[0]

    @property
    def base(self) -> BenchmarkModel | None:
        """What it is compared with."""
        return self.models[1] if len(self.models) > 1 else None

    def to_bytes(self) -> bytes:
        """The bytes of `results.json`."""
        options = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        return orjson.dumps(self.model_dump(mode="json"), option=options)


def read_benchmark_results(path: Path) -> BenchmarkResults:
    """The results in the file `path`.

    Raises:
        IntegrityError: the file is missing, damaged, or of another schema version.
    """
    try:
        raw = path.read_bytes()
    except OSError as err:
        raise IntegrityError(
            f"{path} cannot be read ({err.strerror}). Give the results.json of benchmarks."
        ) from err
    try:
        return BenchmarkResults.model_validate_json(raw, strict=True)
    except ValidationError as err:
        first = err.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "document"
        raise IntegrityError(
            f"{path}: {place}: {first['msg']}. This stillhouse reads schema_version "
            f"{BENCHMARKS_SCHEMA_VERSION} of benchmarks; run them again."
        ) from err
