"""What the command line says."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks._parts import BENCHMARKS
from benchmarks._parts.command import PartOptions

RESULTS = BENCHMARKS / "results" / "banking77.json"


@dataclass(frozen=True, kw_only=True)
class Options(PartOptions):
    """The defaults are the sizes that the goals speak of.

    Attributes:
        rounds: Seeds of each student.
        noise_rounds: Seeds of each student that learns from corrupted labels.
        students: Kinds of students, cheapest first.
        max_train: Training rows of each data set, the first ones by hash; 0 takes all.
        max_test: The same of test rows.
        rewrites: Training rows of the rewriting task, whose student is a language model.
        rewrites_test: Test rows of it.
        latency_messages: Messages that are answered one at a time, against the clock.
        data: Where the data sets are; see their README.
        work: Keeps what was fitted; the next run goes on from there.
    """

    rounds: int = 3
    noise_rounds: int = 1
    students: str = "ngram,embedding,encoder"
    max_train: int = 0
    max_test: int = 0
    rewrites: int = 600
    rewrites_test: int = 200
    latency_messages: int = 500
    data: Path = BENCHMARKS.parents[1] / "shared" / "data"
    work: Path = BENCHMARKS.parent / "build" / "banking77"
    json: Path = RESULTS
