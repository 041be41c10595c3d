"""`stillhouse served`: how a student did in service, from the log of its server."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillhouse.cli._options import JsonOption, QuietOption
from stillhouse.cli._output import Output, table_text

if TYPE_CHECKING:
    from stillhouse.evaluate import Latency, ServiceSummary, Share, VersionService

_UNKNOWN = "-"


def served(
    log: Annotated[Path, typer.Argument(metavar="LOG", help="Folder that serve --log was given.")],
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Say how a student did in service.

    From the log of its server: who answered how much, how often audits found the student unlike
    the teacher, with exact intervals, and how long answers took; for each version that served.
    """
    from stillhouse.evaluate import service_summary

    output = Output(is_json=json, is_quiet=quiet)
    summary = service_summary(log)
    output.result(summary.model_dump(mode="json"), service_text(summary))


def service_text(summary: "ServiceSummary") -> str:
    """A summary for people."""
    total = summary.total
    header = ("version", "requests", "by the student", "unlike the teacher", "student", "teacher")
    several = len(summary.versions) > 1
    rows = [_row(version) for version in (*summary.versions, *([total] if several else []))]
    lines = [
        f"{total.requests:,} requests from {summary.first:%Y-%m-%d %H:%M} to "
        f"{summary.last:%Y-%m-%d %H:%M} UTC",
        "",
        table_text(list(header), rows),
        "",
        "unlike the teacher: of all requests, by the random audits; student, teacher: median time",
        f"refused {total.refused:,}, failed {total.failed:,}, left by their caller "
        f"{total.cancelled:,}",
    ]
    if total.unanswered_audits:
        lines.append(f"note: {total.unanswered_audits:,} audits were not answered by the teacher")
    if summary.torn or summary.damaged:
        lines.append(
            f"note: {summary.torn:,} lines without an end and {summary.damaged:,} damaged ones "
            "were skipped"
        )
    return "\n".join(lines)


def _row(version: "VersionService") -> list[str]:
    return [
        version.version,
        f"{version.requests:,}",
        _share(version.student_share),
        _share(version.difference),
        _time(version.latency.get("student")),
        _time(version.latency.get("teacher")),
    ]


def _share(share: "Share | None") -> str:
    if share is None:
        return _UNKNOWN
    return f"{share.value:.1%} [{share.low:.1%} to {share.high:.1%}, n = {share.n:,}]"


def _time(latency: "Latency | None") -> str:
    if latency is None:
        return _UNKNOWN
    return f"{1000 * latency.median_s:.1f} ms"
