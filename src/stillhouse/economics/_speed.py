"""How long a student takes for an answer, and how often the teacher is asked too."""

from array import array
from dataclasses import dataclass
from pathlib import Path

from stillhouse.economics._calls import mean_of
from stillhouse.economics._range import Range
from stillhouse.servicelog import RequestRow, read_log
from stillhouse.statistics import fraction_interval

_FEWEST = 10  # times, below which they say nothing; as evaluate has it
_ROUTED = ("student", "teacher")


@dataclass(frozen=True)
class Speed:
    """Time of one answer of the student.

    Attributes:
        seconds: The mean with its 95 % interval.
        cores: That it may use; None where nobody wrote it down.
        num_answers: That were timed.
        source: What timed them, in words.
    """

    seconds: Range
    cores: int | None
    num_answers: int
    source: str


@dataclass(frozen=True)
class Service:
    """What a server's log says that costs money.

    Attributes:
        num_requests: That student or teacher were to answer.
        speed: Of the student, without waiting; None below ten answers.
        teacher_share: Requests for which the teacher was asked too, audits included, with its exact
            95 % interval; None where there was no request.
    """

    num_requests: int
    speed: Speed | None
    teacher_share: Range | None


def read_service(folder: Path) -> Service:
    """What the log in a folder says.

    Raises:
        ConfigError: there is no log.
        DataError: a row is of a later version.
    """
    seconds = array("d")
    num_requests = num_asked = 0
    for row in read_log(folder):
        if not isinstance(row, RequestRow) or row.route not in _ROUTED:
            continue
        num_requests += 1
        num_asked += row.route == "teacher" or row.audited
        if row.route == "student" and row.status == 200:
            seconds.append(max(row.seconds - (row.queue_s or 0.0), 0.0))
    speed = None
    if len(seconds) >= _FEWEST:
        speed = Speed(mean_of(seconds), None, len(seconds), f"log of a server, {folder.name}")
    share = None
    if num_requests:
        found = fraction_interval(num_asked, num_requests)
        share = Range(value=found.value, low=found.low, high=found.high)
    return Service(num_requests=num_requests, speed=speed, teacher_share=share)
