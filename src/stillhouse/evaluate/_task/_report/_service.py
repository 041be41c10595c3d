"""How the student before did in service, as the rows of a table."""

from dataclasses import dataclass

from stillhouse.evaluate._report._table import NOT_MEASURED, Cell
from stillhouse.evaluate._service_records import Latency, ServiceSummary, Share, VersionService
from stillhouse.evaluate._task._report._words import NBSP, PER_CENT, milliseconds
from stillhouse.pages import utc_text


@dataclass(frozen=True)
class ServiceRow:
    """One version.

    Attributes:
        version: What it is called.
        requests: How many there were.
        cells: What they came to.
    """

    version: str
    requests: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class ServiceTable:
    """What a log says.

    Attributes:
        span: From when to when.
        rows: By version, and all together where there are several.
        note: What was not answered.
    """

    span: str
    rows: tuple[ServiceRow, ...]
    note: str


def service_rows(summary: ServiceSummary) -> ServiceTable:
    """A summary as a table."""
    versions = list(summary.versions)
    if len(versions) > 1:
        versions.append(summary.total)
    return ServiceTable(
        span=f"from {utc_text(summary.first)} to {utc_text(summary.last)}",
        rows=tuple(_row(version) for version in versions),
        note=_note(summary),
    )


def _row(version: VersionService) -> ServiceRow:
    return ServiceRow(
        version=version.version,
        requests=f"{version.requests:,}",
        cells=(
            _share(version.student_share, "requests"),
            _share(version.difference, "audits"),
            _time(version.latency.get("student")),
            _time(version.latency.get("teacher")),
        ),
    )


def _share(share: Share | None, what: str) -> Cell:
    if share is None:
        return Cell(NOT_MEASURED)
    low, high = (f"{100 * end:.1f}" for end in (share.low, share.high))
    interval = f"{low} to {high}{PER_CENT}, {share.n:,} {what}"
    return Cell(f"{100 * share.value:.1f}{PER_CENT}", interval)


def _time(latency: Latency | None) -> Cell:
    if latency is None:
        return Cell(NOT_MEASURED)
    return Cell(milliseconds(latency.median_s), f"p95{NBSP}{milliseconds(latency.p95_s)}")


def _note(summary: ServiceSummary) -> str:
    total = summary.total
    parts = [
        f"Refused {total.refused:,}, failed {total.failed:,}, left by their caller "
        f"{total.cancelled:,}."
    ]
    if total.unanswered_audits:
        parts.append(f"The teacher did not answer {total.unanswered_audits:,} audits.")
    if summary.torn or summary.damaged:
        parts.append(f"{summary.torn + summary.damaged:,} lines of the log could not be read.")
    return " ".join(parts)
