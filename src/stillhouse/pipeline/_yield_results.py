"""What a yield curve says: the public schema of its `results.json`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, ConfigDict, Field, ValidationError

from stillhouse.errors import IntegrityError
from stillhouse.pipeline._yield_config import YieldStudent
from stillhouse.records import Record
from stillhouse.statistics import CallsFor, Interval

_Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]


class _Result(Record):
    model_config = ConfigDict(use_attribute_docstrings=True, allow_inf_nan=False)


class YieldPoint(_Result):
    """What students from so many calls reached."""

    calls: float = Field(gt=0.0)
    """Of the teacher, on average over the seeds: groups are bought whole."""
    rows: float = Field(gt=0.0)
    """Training rows that these gave, on average."""
    agreement: Interval
    """With the teacher on held-out prompts, mean over the seeds. The interval knows both the
    prompts and the seeds."""
    by_seed: tuple[float, ...] = Field(min_length=1)
    gold: Interval | None
    """Against the right answers; null where the dataset has none."""
    seconds: float = Field(ge=0.0)
    """To make one student, on average."""


class CurvePointAt(_Result):
    """The fitted curve at a number of calls."""

    calls: float = Field(gt=0.0)
    agreement: Interval


class HeldBackCheck(_Result):
    """The largest budget, predicted from the smaller ones alone."""

    calls: float = Field(gt=0.0)
    predicted: Interval
    """In which a measurement there was to lie."""
    measured: float
    is_inside: bool


class Price(_Result):
    """What the calls cost that a target takes; null where no number of calls was found."""

    usd_per_call: _Positive | None
    """As logged; null where no price is known."""
    value_usd: float | None
    low_usd: float | None
    high_usd: float | None


class YieldResults(_Result):
    """A yield curve."""

    schema_version: Literal[1] = 1
    title: str
    dataset_sha256: str
    """Of the manifest."""
    task: str
    student: YieldStudent
    num_held_out: int = Field(ge=1)
    """Prompts that everything is measured on."""
    seeds: int = Field(ge=1)
    points: tuple[YieldPoint, ...] = Field(min_length=4)
    """The last one was held back from the check."""
    check: HeldBackCheck
    family: Literal["power", "exponential"]
    ceiling: Interval
    """Agreement that no number of calls gets beyond, if the curve goes on as it did."""
    misfit: float | None
    """Above 1, the curve has a shape that no family has, and the intervals were widened."""
    curve: tuple[CurvePointAt, ...]
    target: float
    calls: CallsFor
    """That the target takes."""
    price: Price
    verdict: str
    maker: str
    """What it says to who wants the student."""
    owner: str
    """What it says to who owns the teacher."""
    notes: tuple[str, ...] = ()
    created_utc: AwareDatetime
    seconds: float = Field(ge=0.0)


def read_yield(path: Path) -> YieldResults:
    """The results in a file that `yield` wrote.

    Raises:
        IntegrityError: it is missing, damaged or of another version.
    """
    try:
        return YieldResults.model_validate_json(path.read_bytes())
    except OSError as err:
        raise IntegrityError(
            f"{path} cannot be read ({err.strerror}). Give the results.json that yield wrote."
        ) from err
    except ValidationError as err:
        reason = str(err.errors()[0]["msg"])
        raise IntegrityError(
            f"{path} holds no yield curve that can be read ({reason}). Run yield again."
        ) from err
