"""What the command line says."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks._banking77.options import Options as TaskOptions
from benchmarks._parts import BENCHMARKS
from benchmarks._parts.command import PartOptions

RESULTS = BENCHMARKS / "results" / "cascade.json"


@dataclass(frozen=True, kw_only=True)
class Options(PartOptions):
    """The defaults are the sizes that the goals speak of.

    Attributes:
        rounds: Random calibration sets of each task in `splits`.
        students: Kinds of students in `banking77`; an encoder takes a quarter of an hour to fit.
        split_student: The kind in `splits`.
        rewrites: Training rows of a rewriting task in `splits`, whose student is a language model;
            0 leaves it out, since it takes half an hour.
        rewrites_test: Test rows of it.
        shift_students: Kinds of students in `shift`.
        draws: Choices of ten intents that the student of `shift` never saw; each fits a student.
        orders: Orders of the requests, for each of them.
        data: Where the data sets are; see their README.
        work: Keeps what was fitted; the next run goes on from there.
    """

    rounds: int = 100
    students: str = "ngram,embedding,encoder"
    split_student: str = "embedding"
    rewrites: int = 0
    rewrites_test: int = 1_000
    shift_students: str = "ngram,embedding"
    draws: int = 5
    orders: int = 20
    data: Path = BENCHMARKS.parents[1] / "shared" / "data"
    work: Path = BENCHMARKS.parent / "build" / "cascade"
    json: Path = RESULTS

    @property
    def of_tasks(self) -> TaskOptions:
        """The same for who reads data sets and fits students."""
        return TaskOptions(
            data=self.data,
            work=self.work,
            students=self.students,
            rewrites=self.rewrites,
            rewrites_test=self.rewrites_test,
        )
