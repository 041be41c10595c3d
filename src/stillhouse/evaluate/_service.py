"""How a student did in service: what the log of a server says, with exact intervals."""

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import numpy as np

from stillhouse.errors import DataError
from stillhouse.evaluate._service_records import Latency, ServiceSummary, Share, VersionService
from stillhouse.servicelog import AuditRow, RequestRow, read_log
from stillhouse.statistics import Interval, betting_interval, fraction_interval

_ROUTED = ("student", "teacher")
_ALL = "all"

T = TypeVar("T")


def service_summary(folder: Path) -> ServiceSummary:
    """What the log in a folder says of the service.

    Raises:
        ConfigError: there is no log.
        DataError: it has no request.
    """
    log = read_log(folder)
    total, versions = _Tally(_ALL), dict[str, _Tally]()
    first: datetime | None = None
    last: datetime | None = None
    for row in log:
        for tally in (total, versions.setdefault(row.version, _Tally(row.version))):
            tally.add(row)
        if isinstance(row, RequestRow):
            first = row.at if first is None else min(first, row.at)
            last = row.at if last is None else max(last, row.at)
    if first is None or last is None:
        raise DataError(f"{folder} has no request. Let the server answer some first.")
    return ServiceSummary(
        first=first,
        last=last,
        torn=log.num_torn,
        damaged=log.num_damaged,
        total=total.summary(),
        versions=tuple(tally.summary() for tally in versions.values()),
    )


def _seconds() -> "array[float]":
    return array("d")


@dataclass
class _Tally:
    """Counts over the rows of one version."""

    version: str
    routes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    losses: "array[float]" = field(default_factory=_seconds)
    num_checked: int = 0
    num_asked_about: int = 0
    num_agreed_by_route: int = 0
    took: "dict[str, array[float]]" = field(default_factory=dict)
    began: "dict[str, array[float]]" = field(default_factory=dict)

    def add(self, row: RequestRow | AuditRow) -> None:
        """Count a row."""
        if isinstance(row, AuditRow):
            self.losses.append(row.loss)
            self.num_checked += 1
            return
        self.routes[row.route] += 1
        self.reasons[row.reason] += 1
        self.statuses[_kind(row)] += 1
        if row.audited and row.route == "student":
            self.num_asked_about += 1
        if row.audited and row.from_teacher:
            self.num_agreed_by_route += 1
        if row.status == 200 and row.route in _ROUTED:
            self.took.setdefault(row.route, _seconds()).append(row.seconds)
            if row.first_s is not None:
                self.began.setdefault(row.route, _seconds()).append(row.first_s)

    def summary(self) -> VersionService:
        """What the counts say."""
        routed = sum(self.routes[route] for route in _ROUTED)
        # What the teacher answers anyway differs from nothing: leaving it out would measure a share
        # of something else.
        losses = [*self.losses, *[0.0] * self.num_agreed_by_route]
        return VersionService(
            version=self.version,
            requests=self.routes.total(),
            routes=dict(self.routes.most_common()),
            reasons=dict(self.reasons.most_common()),
            student_share=_share(self.routes["student"], routed),
            refused=self.statuses["refused"],
            failed=self.statuses["failed"],
            cancelled=self.statuses["cancelled"],
            audited=len(losses),
            unanswered_audits=max(0, self.num_asked_about - self.num_checked),
            difference=_mean(losses),
            student_difference=_mean(self.losses),
            latency={
                route: _latency(seconds, self.began.get(route))
                for route, seconds in sorted(self.took.items())
            },
        )


def _kind(row: RequestRow) -> str:
    if row.cancelled:
        return "cancelled"
    if row.status < 400:
        return "answered"
    return "refused" if row.status < 500 else "failed"


def _share(part: int, whole: int) -> Share | None:
    return _told(fraction_interval(part, whole)) if whole else None


def _mean(losses: Iterable[float]) -> Share | None:
    """The mean loss: exactly where answers are right or wrong, by betting where they are graded."""
    given = list(losses)
    if not given:
        return None
    if all(loss in (0.0, 1.0) for loss in given):
        return _told(fraction_interval(int(sum(given)), len(given)))
    return _told(betting_interval(given))


def _told(interval: Interval) -> Share:
    return Share(value=interval.value, low=interval.low, high=interval.high, n=interval.n)


def _latency(seconds: "array[float]", first: "array[float] | None") -> Latency:
    median_s, p95_s, p99_s = np.quantile(np.asarray(seconds), [0.5, 0.95, 0.99]).tolist()
    return Latency(
        n=len(seconds),
        median_s=median_s,
        p95_s=p95_s,
        p99_s=p99_s,
        first_median_s=None if first is None else float(np.median(np.asarray(first))),
    )
