"""What an export was found to be, as `export.json` keeps it."""

from typing import Literal, Self

from pydantic import Field

from stillhouse.errors import ExportRefusedError
from stillhouse.export._config import FormatName
from stillhouse.records import Record
from stillhouse.statistics import Interval, PairedComparison, Verdict

REPORT_NAME = "export.json"

Metric = Literal["agreement", "negative_nats_per_token"]


class Figure(Record):
    """One thing that was measured of an exported model."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int = Field(ge=1)
    """Of what `value` is over."""
    num_clusters: int | None = None
    """Texts, where n counts positions in them."""
    at_least: float | None = None
    at_most: float | None = None

    @classmethod
    def of(
        cls,
        name: str,
        interval: Interval,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> Self:
        """A figure with its 95 % interval."""
        return cls(
            name=name,
            value=interval.value,
            low=interval.low,
            high=interval.high,
            n=interval.n,
            num_clusters=interval.num_clusters,
            at_least=at_least,
            at_most=at_most,
        )

    @property
    def is_met(self) -> bool:
        """Whether the value keeps to its limits; one that is not a number keeps to none."""
        above = self.at_least is None or self.value >= self.at_least
        return above and (self.at_most is None or self.value <= self.at_most)


class MetricComparison(Record):
    """The exported model's score on the data that was given, beside the student's."""

    metric: Metric
    exported: float
    student: float
    difference: float
    low: float
    high: float
    n: int
    margin: float
    verdict: Verdict
    n_needed: int | None

    @classmethod
    def of(
        cls,
        metric: Metric,
        found: PairedComparison,
        *,
        exported: float,
        student: float,
    ) -> Self:
        """The record of a paired comparison."""
        return cls(
            metric=metric,
            exported=exported,
            student=student,
            difference=found.difference.value,
            low=found.difference.low,
            high=found.difference.high,
            n=found.difference.n,
            margin=found.margin,
            verdict=found.verdict,
            n_needed=found.n_needed,
        )


class ExportedFile(Record):
    """A file of a format, by its place in the artefact."""

    name: str
    bytes: int


class FormatReport(Record):
    """One format that was made and held to its limits."""

    format: FormatName
    verdict: Literal["verified", "not_built"] = "verified"
    """`not_built`: a recipe, of which the parts were verified and not the whole."""
    files: tuple[ExportedFile, ...] = ()
    figures: tuple[Figure, ...]
    metric: MetricComparison | None = None
    notes: tuple[str, ...] = ()


class ExportReport(Record):
    """All that was exported of a student."""

    schema_version: Literal[1] = 1
    student: str
    kind: Literal["student", "classifier"]
    formats: tuple[FormatReport, ...]


def refuse_unmet(report: FormatReport, *, advice: str) -> None:
    """Stop where a figure does not keep to its limit.

    Raises:
        ExportRefusedError: one does not.
    """
    for figure in report.figures:
        if figure.is_met:
            continue
        limit = (
            f"at least {figure.at_least:g}"
            if figure.at_least is not None and not figure.value >= figure.at_least
            else f"at most {figure.at_most:g}"
        )
        raise ExportRefusedError(
            f"{report.format}: {figure.name} is {figure.value:.6g} (n = {figure.n:,}), and {limit} "
            f"is allowed. Nothing was exported. {advice}"
        )
    if report.metric is not None and report.metric.verdict == "worse":
        metric = report.metric
        raise ExportRefusedError(
            f"{report.format}: {metric.metric} on the data is {metric.exported:.4f}, the student's "
            f"{metric.student:.4f} (difference {metric.low:+.4f} to {metric.high:+.4f}, n = "
            f"{metric.n:,}); at most {metric.margin:g} less is allowed. Nothing was exported. "
            f"{advice}"
        )
