"""The numbers that decide when a student has paid for itself, so that each can be moved alone."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from stillhouse.economics._break_even import break_even_volume, saving_per_request
from stillhouse.economics._calls import machine_usd
from stillhouse.economics._records import Swing

HALF, DOUBLE = 0.5, 2.0


@dataclass(frozen=True)
class Drivers:
    """All that the break-even volume is made of.

    Attributes:
        calls_usd: Paid for the teacher's answers before the first request.
        stages_usd: Paid to others by stages, such as a judge.
        seconds: Of own machines before the first request, by what they were for.
        people_usd: People's hours.
        cores: That a stage has.
        usd_per_core_hour: Price of a core.
        teacher_paid_usd: Paid for one answer of the teacher.
        teacher_seconds: Of own machines for one answer of a teacher that runs there.
        student_paid_usd: Paid for one answer of a student that others run.
        student_seconds: Of own machines for one answer of the student.
        student_cores: That it uses.
        teacher_share: Of requests for which the teacher is asked too.
        refresh_share: Of what was spent at first, at each refresh.
        requests_per_refresh: None where the student is never refreshed.
    """

    calls_usd: float
    stages_usd: float
    seconds: Mapping[str, float]
    people_usd: float
    cores: int
    usd_per_core_hour: float
    teacher_paid_usd: float
    teacher_seconds: float
    student_paid_usd: float
    student_seconds: float
    student_cores: int
    teacher_share: float
    refresh_share: float
    requests_per_refresh: float | None

    def machine_usd(self, seconds: float, cores: int | None = None) -> float:
        """So many seconds of an own machine."""
        used = self.cores if cores is None else cores
        return machine_usd(seconds, cores=used, usd_per_core_hour=self.usd_per_core_hour)

    @property
    def fixed_usd(self) -> float:
        """Spent before the first request."""
        machines = self.machine_usd(sum(self.seconds.values()))
        return self.calls_usd + self.stages_usd + machines + self.people_usd

    @property
    def teacher_usd(self) -> float:
        """One answer of the teacher."""
        return self.teacher_paid_usd + self.machine_usd(self.teacher_seconds)

    @property
    def student_usd(self) -> float:
        """One answer of the student."""
        return self.student_paid_usd + self.machine_usd(self.student_seconds, self.student_cores)

    @property
    def refresh_usd(self) -> float:
        """Keeping the student fresh, by request."""
        if self.requests_per_refresh is None:
            return 0.0
        return self.refresh_share * self.fixed_usd / self.requests_per_refresh

    @property
    def saving_usd(self) -> float:
        """What one request saves."""
        return saving_per_request(
            self.teacher_usd,
            self.student_usd,
            teacher_share=self.teacher_share,
            refresh_usd=self.refresh_usd,
        )

    @property
    def volume(self) -> float | None:
        """Requests until the student has paid for itself; None where it never does."""
        return break_even_volume(self.fixed_usd, self.saving_usd)


def swings_of(drivers: Drivers) -> tuple[Swing, ...]:
    """The break-even volume with half and with twice each input, the widest first.

    Inputs of 0 have no half, and are left out. What never pays back at an end is widest of all.
    """
    found = [
        Swing(
            name=name,
            unit=unit,
            value=value,
            half=scaled(HALF).volume,
            double=scaled(DOUBLE).volume,
        )
        for name, unit, value, scaled in _inputs(drivers)
        if value > 0
    ]
    return widest_first(found)


def widest_first(swings: Iterable[Swing]) -> tuple[Swing, ...]:
    """In the order in which a tornado shows them."""
    return tuple(sorted(swings, key=_width, reverse=True))


_Scaled = Callable[[float], Drivers]


def _inputs(now: Drivers) -> list[tuple[str, str, float, _Scaled]]:
    """Name, unit and value of each input, with the drivers at a multiple of it."""
    seconds = [
        (f"time of {purpose}", "seconds", value, _of_seconds(now, purpose))
        for purpose, value in now.seconds.items()
    ]
    return [
        (
            "price of the teacher's next answers",
            "USD per request",
            now.teacher_paid_usd,
            lambda by: replace(now, teacher_paid_usd=now.teacher_paid_usd * by),
        ),
        (
            "paid for the teacher's calls so far",
            "USD",
            now.calls_usd,
            lambda by: replace(now, calls_usd=now.calls_usd * by),
        ),
        (
            "price of a core",
            "USD per core and hour",
            now.usd_per_core_hour,
            lambda by: replace(now, usd_per_core_hour=now.usd_per_core_hour * by),
        ),
        (
            "time of an answer of the student",
            "seconds",
            now.student_seconds,
            lambda by: replace(now, student_seconds=now.student_seconds * by),
        ),
        (
            "price of an answer of the student",
            "USD per request",
            now.student_paid_usd,
            lambda by: replace(now, student_paid_usd=now.student_paid_usd * by),
        ),
        (
            "share of requests for the teacher",
            "share of requests",
            now.teacher_share,
            lambda by: replace(now, teacher_share=min(now.teacher_share * by, 1.0)),
        ),
        *seconds,
        (
            "paid by stages to others",
            "USD",
            now.stages_usd,
            lambda by: replace(now, stages_usd=now.stages_usd * by),
        ),
        (
            "people's hours",
            "USD",
            now.people_usd,
            lambda by: replace(now, people_usd=now.people_usd * by),
        ),
        (
            "requests between refreshes",
            "requests",
            now.requests_per_refresh or 0.0,
            lambda by: replace(now, requests_per_refresh=(now.requests_per_refresh or 0.0) * by),
        ),
    ]


def _of_seconds(now: Drivers, purpose: str) -> _Scaled:
    return lambda by: replace(now, seconds={**now.seconds, purpose: now.seconds[purpose] * by})


def _width(swing: Swing) -> float:
    """How far apart the two ends are, as a ratio; infinite where one of them is never."""
    if swing.half is None or swing.double is None:
        return float("inf")
    low, high = sorted((swing.half, swing.double))
    if high == 0:
        return 1.0
    return high / low if low > 0 else float("inf")
