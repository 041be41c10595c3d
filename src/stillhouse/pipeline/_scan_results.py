"""What a scan found: the public schema of `scan.json`.

What was not measured is null, never 0.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import AwareDatetime, ConfigDict, Field, ValidationError

from stillhouse.errors import IntegrityError
from stillhouse.pipeline._scan_config import ScanStudent
from stillhouse.records import Record
from stillhouse.statistics import CallsFor, Interval
from stillhouse.tasks import TaskKind

_Fraction = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]


class _Result(Record):
    model_config = ConfigDict(use_attribute_docstrings=True, allow_inf_nan=False)


class Tried(_Result):
    """A cheap student, asked about rows that were held out from it in turn."""

    student: ScanStudent
    agreement: Interval
    """With the teacher, if it answered everything. Invalid answers of the teacher count against
    it. One student was chosen by this figure, so that it flatters a little."""


class CurvePoint(_Result):
    """Agreement with so many rows to learn from."""

    num_rows: int = Field(ge=1)
    agreement: Interval


class Forecast(_Result):
    """Where the learning curve goes, if it goes on as it did."""

    num_rows: int = Field(ge=1)
    agreement: Interval
    is_beyond: bool
    """Whether that is more than twice as many rows as were seen, where a curve may do anything."""


class Promise(_Result):
    """What rows that nothing was chosen on have shown."""

    student: ScanStudent
    share: Interval
    """Of the prompts, that the student would answer."""
    agreement: Interval
    """Of these answers with the teacher's: as seen, and the bound that was certified."""
    num_tested: int = Field(ge=1)
    """Independent prompts that it rests on."""
    confidence: _Fraction
    """Of the bound; higher than the scan's where several parts share one promise."""
    saving_usd_per_1000_calls: Interval | None
    """What the calls that the student would answer cost in the log; null where no price is
    known."""


class PartResult(_Result):
    """One kind of prompts."""

    name: str
    system_sha256: str | None
    """Of the system message; null where there is none or it varies."""
    begins: str
    """What every prompt of it begins with."""
    ends: str
    num_prompts: int = Field(ge=1)
    """Distinct ones that were looked at."""
    num_calls: int = Field(ge=1)
    share_of_calls: _Fraction
    """Of the calls that were looked at."""
    kind: TaskKind
    is_given: bool
    """Whether the task was given; else it was told from the answers."""
    num_distinct_answers: int = Field(ge=0)
    num_invalid: int = Field(ge=0)
    """Prompts without a valid answer."""
    most_frequent: str | None
    """The answer that is given most often, cut."""
    most_frequent_share: Interval | None
    """How often that would be right: the baseline of all baselines."""
    self_agreement: Interval | None
    """How often two answers to one prompt are equal; null where few prompts were asked twice. No
    student can do better."""
    tried: tuple[Tried, ...]
    curve: tuple[CurvePoint, ...]
    forecast: tuple[Forecast, ...]
    prompts_to_learn: CallsFor | None
    """With which a student that answers everything would reach the target, if the curve goes on
    as it did; `value`, `low` or `high` is null where it never does."""
    promise: Promise | None
    refusal: str | None
    """Why nothing is promised."""
    prompts_needed: int | None
    """Where nothing is promised: distinct prompts of this kind with which a scan might."""
    cost_usd_per_call: Interval | None
    task_file: str | None = None
    """The task as YAML, beside the results."""
    notes: tuple[str, ...] = ()


class ScanResults(_Result):
    """A scan of one log."""

    schema_version: Literal[1] = 1
    source: str
    """Name of the log."""
    manifest_sha256: str
    """Of the completions that were read, imported ones included."""
    created_utc: AwareDatetime
    seconds: float = Field(ge=0.0)
    target: _Fraction
    confidence: _Fraction
    num_calls: int = Field(ge=1)
    num_errors: int = Field(ge=0)
    num_prompts: int = Field(ge=1)
    """Distinct ones."""
    num_scanned: int = Field(ge=1)
    """Distinct prompts that were looked at."""
    repeated_fraction: _Fraction
    """Calls that repeat an earlier prompt to the letter: a cache answers them."""
    models: dict[str, int]
    cost_usd: float | None
    """Of all calls with a known price; null where none has one."""
    num_priced: int = Field(ge=0)
    first_utc: AwareDatetime | None
    last_utc: AwareDatetime | None
    parts: tuple[PartResult, ...]
    num_prompts_beyond: int = Field(ge=0)
    """Prompts of further, smaller parts, of which nothing is said."""
    promised_share: Interval | None
    """Of all calls that were looked at; null where nothing is promised."""
    verdict: str
    notes: tuple[str, ...] = ()


def read_scan(path: Path) -> ScanResults:
    """The results in a `scan.json`.

    Raises:
        IntegrityError: it is missing, damaged or of another version.
    """
    try:
        document: Any = orjson.loads(path.read_bytes())
        return ScanResults.model_validate(document)
    except OSError as err:
        raise IntegrityError(
            f"{path} cannot be read ({err.strerror}). Scan with --out to write it."
        ) from err
    except (orjson.JSONDecodeError, ValidationError) as err:
        reason = str(err).split("\n")[0]
        raise IntegrityError(f"{path} is no scan that can be read ({reason}). Scan again.") from err
