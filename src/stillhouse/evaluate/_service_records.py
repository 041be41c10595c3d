"""What a log says of a service, as records."""

from datetime import datetime

from stillhouse.records import Record


class Share(Record):
    """A share with its 95 % interval, which holds for independent requests."""

    value: float
    low: float
    high: float
    n: int


class Latency(Record):
    """How long answers took, in seconds."""

    n: int
    median_s: float
    p95_s: float
    p99_s: float
    first_median_s: float | None
    """Until the first piece."""


class VersionService(Record):
    """How one version did."""

    version: str
    """Of the student or the rule; `all` for all of them together."""
    requests: int
    routes: dict[str, int]
    reasons: dict[str, int]
    student_share: Share | None
    """Of the requests that student or teacher were to answer, those that the student was."""
    refused: int
    """Requests that were wrong: 4xx."""
    failed: int
    """Requests that were not answered for another reason: 5xx."""
    cancelled: int
    audited: int
    """Requests of the random slice of which the teacher's answer is known."""
    unanswered_audits: int
    """Those of which it is not, since the teacher failed."""
    difference: Share | None
    """Of all requests, those that the student answers unlike the teacher; what a certificate
    bounds."""
    student_difference: Share | None
    """Of the student's answers, those that are unlike the teacher's."""
    latency: dict[str, Latency]
    """By route."""


class ServiceSummary(Record):
    """What a log says."""

    first: datetime
    last: datetime
    torn: int
    """Last lines without an end."""
    damaged: int
    """Other lines that could not be read."""
    total: VersionService
    versions: tuple[VersionService, ...]
    """In the order in which they began to serve."""
