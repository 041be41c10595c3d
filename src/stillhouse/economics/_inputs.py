"""From records and assumptions to the numbers that decide, and to what is missing of them."""

from dataclasses import dataclass

from stillhouse.economics._assumptions import Assumptions
from stillhouse.economics._calls import machine_usd, mean_of, num_cores
from stillhouse.economics._chain import Chain
from stillhouse.economics._drivers import Drivers
from stillhouse.economics._range import ZERO, Range, exactly, product
from stillhouse.economics._speed import Service, Speed


@dataclass(frozen=True)
class Inputs:
    """What is known, each None where it is not.

    Attributes:
        cores: That a stage has.
        calls_usd: Paid for the teacher's answers.
        labelling_seconds: Of own machines, where the teacher ran there.
        stages_usd: Paid to others by stages.
        people_usd: People's hours.
        teacher_paid_usd: Paid for one answer of the teacher.
        teacher_seconds: Of own machines for one answer of a teacher that runs there.
        student_paid_usd: Paid for one answer of a student that others run.
        student_seconds: Of own machines for one answer of the student.
        student_cores: That it uses.
        teacher_share: Requests for which the teacher is asked too.
        missing: What is not known, and what to do.
    """

    chain: Chain
    given: Assumptions
    cores: int
    calls_usd: float | None
    labelling_seconds: float
    stages_usd: float | None
    people_usd: float | None
    teacher_paid_usd: Range | None
    teacher_seconds: float
    student_paid_usd: float
    student_seconds: Range | None
    student_cores: int
    student_source: str
    teacher_share: Range | None
    share_source: str
    missing: tuple[str, ...]

    def drivers(self, *, teacher: str = "value", others: str = "value") -> Drivers | None:
        """The numbers at the given ends of their ranges; None where one is missing."""
        if (
            self.calls_usd is None
            or self.stages_usd is None
            or self.people_usd is None
            or self.teacher_paid_usd is None
            or self.student_seconds is None
            or self.teacher_share is None
        ):
            return None
        return Drivers(
            calls_usd=self.calls_usd,
            stages_usd=self.stages_usd,
            seconds=self.seconds,
            people_usd=self.people_usd,
            cores=self.cores,
            usd_per_core_hour=self.given.usd_per_core_hour,
            teacher_paid_usd=getattr(self.teacher_paid_usd, teacher),
            teacher_seconds=self.teacher_seconds,
            student_paid_usd=self.student_paid_usd,
            student_seconds=getattr(self.student_seconds, others),
            student_cores=self.student_cores,
            teacher_share=getattr(self.teacher_share, others),
            refresh_share=self.given.refresh_share,
            requests_per_refresh=self.given.requests_per_refresh,
        )

    @property
    def seconds(self) -> dict[str, float]:
        """Of own machines before the first request, by purpose."""
        found = {"labelling": self.labelling_seconds} if self.labelling_seconds else {}
        for stage in self.chain.stages:
            found[stage.purpose] = found.get(stage.purpose, 0.0) + stage.seconds
        return found

    def machine(self, seconds: float, cores: int | None = None) -> Range:
        """So many seconds of an own machine."""
        price = self.given.usd_per_core_hour
        return exactly(machine_usd(seconds, cores=cores or self.cores, usd_per_core_hour=price))

    @property
    def teacher_usd(self) -> Range | None:
        """One answer of the teacher, its machine included."""
        if self.teacher_paid_usd is None:
            return None
        own = self.machine(self.teacher_seconds).value
        paid = self.teacher_paid_usd
        return Range(value=paid.value + own, low=paid.low + own, high=paid.high + own)

    @property
    def student_usd(self) -> Range | None:
        """One answer of the student."""
        if self.student_seconds is None:
            return None
        own = product(self.student_seconds, self.machine(1.0, self.student_cores))
        paid = self.student_paid_usd
        return Range(value=own.value + paid, low=own.low + paid, high=own.high + paid)


def inputs_of(
    chain: Chain, given: Assumptions, *, speed: Speed | None, service: Service | None
) -> Inputs:
    """What is known of a chain. Assumptions go before measurements."""
    cores = given.cores or num_cores()
    if service is not None and service.speed is not None:
        speed = service.speed
    missing: list[str] = []
    calls = chain.calls
    calls_usd = _calls_usd(chain, given, missing)
    paid, teacher_seconds = _teacher(chain, given, missing)
    share, share_source = _share(chain, given, service, missing)
    student_seconds, student_source = _student(given, speed, missing)
    student_cores = given.student_cores or (speed.cores if speed else None) or cores
    return Inputs(
        chain=chain,
        given=given,
        cores=cores,
        calls_usd=calls_usd,
        labelling_seconds=calls.machine_seconds,
        stages_usd=_stages_usd(chain, missing),
        people_usd=_people_usd(given, missing),
        teacher_paid_usd=paid,
        teacher_seconds=teacher_seconds,
        student_paid_usd=given.student_usd_per_request or 0.0,
        student_seconds=student_seconds,
        student_cores=student_cores,
        student_source=student_source,
        teacher_share=share,
        share_source=share_source,
        missing=tuple(missing),
    )


def _calls_usd(chain: Chain, given: Assumptions, missing: list[str]) -> float | None:
    calls = chain.calls
    if not calls.num_calls:
        missing.append(
            "No call of a teacher is in the lineage, so that nothing is known of its cost."
        )
        return None
    if calls.total_usd is not None:
        return calls.total_usd
    if given.teacher_usd_per_request is not None:
        return calls.num_calls * given.teacher_usd_per_request
    missing.append(
        f"The {calls.num_calls:,} calls of the teacher have no known price; set "
        "teacher_usd_per_request."
    )
    return None


def _teacher(chain: Chain, given: Assumptions, missing: list[str]) -> tuple[Range | None, float]:
    """Paid for one answer, and seconds of own machines for it."""
    calls = chain.calls
    if given.teacher_usd_per_request is not None:
        return exactly(given.teacher_usd_per_request), 0.0
    if calls.usd_N is None or len(calls.usd_N) < 2:
        missing.append(
            "What one answer of the teacher costs is not known: fewer than two calls, or one "
            "without a price; set teacher_usd_per_request."
        )
        return None, 0.0
    return mean_of(calls.usd_N), calls.machine_seconds / calls.num_calls


def _stages_usd(chain: Chain, missing: list[str]) -> float | None:
    unknown = [stage.name for stage in chain.stages if stage.paid_usd is None]
    if unknown:
        missing.append(f"What {unknown[0]} paid to others is not known, as its price is not.")
        return None
    return sum(stage.paid_usd or 0.0 for stage in chain.stages)


def _people_usd(given: Assumptions, missing: list[str]) -> float | None:
    hours = given.curation_hours + given.governance_hours
    if hours == 0:
        return 0.0
    if given.usd_per_person_hour is None:
        missing.append(f"{hours:g} hours of people have no price; set usd_per_person_hour.")
        return None
    return hours * given.usd_per_person_hour


def _student(
    given: Assumptions, speed: Speed | None, missing: list[str]
) -> tuple[Range | None, str]:
    if given.student_usd_per_request is not None:
        return ZERO, "the price that was given"
    if given.student_seconds_per_request is not None:
        return exactly(given.student_seconds_per_request), "the time that was given"
    if speed is not None:
        return speed.seconds, f"{speed.num_answers:,} timed answers, {speed.source}"
    missing.append(
        "How long an answer of the student takes is not known; give an evaluation of it, "
        "--evaluation, or the log of a server, --log, or set student_seconds_per_request."
    )
    return None, "not measured"


def _share(
    chain: Chain, given: Assumptions, service: Service | None, missing: list[str]
) -> tuple[Range | None, str]:
    if given.teacher_share is not None:
        return exactly(given.teacher_share), "as was given"
    if service is not None and service.teacher_share is not None:
        return service.teacher_share, f"log of a server, {service.num_requests:,} requests"
    if chain.teacher_share is None:
        missing.append(
            "How often the cascade asks its teacher is not in its manifest; set teacher_share."
        )
        return None, "not known"
    if chain.teacher_share == ZERO:
        return ZERO, "the student alone answers"
    return chain.teacher_share, "the cascade's certificate"
