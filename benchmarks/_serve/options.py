"""What the command line says."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks._parts import BENCHMARKS
from benchmarks._parts.command import PartOptions


@dataclass(frozen=True, kw_only=True)
class ServeOptions(PartOptions):
    """The defaults are the sizes that the goals speak of.

    Attributes:
        rounds: Turns of each; the best counts.
        students: Kinds of students that answer with labels.
        connections: From which decisions are asked at once.
        seconds: For which they are.
        rate: Requests a second of the second measurement.
        streams: Of text at once.
        tokens: Of each stream.
        target: Certified agreement of the cascade that is measured.
        teacher_ms: How long the loopback teacher takes for an answer.
        minutes: Of the soak.
        soak_rate: Requests a second of the soak.
        deadline_s: Of each request, where the teacher is out.
        data: Where Banking77 and its recorded teacher are.
        work: Keeps what was fitted; the next run goes on from there.
    """

    rounds: int = 3
    students: str = "ngram,embedding"
    connections: int = 64
    seconds: float = 5.0
    rate: int = 100
    streams: int = 8
    tokens: int = 96
    target: float = 0.95
    teacher_ms: float = 20.0
    minutes: float = 60.0
    soak_rate: int = 50
    deadline_s: float = 2.0
    data: Path = BENCHMARKS.parents[1] / "shared" / "data"
    work: Path = BENCHMARKS.parent / "build" / "serve"
    json: Path = BENCHMARKS / "results" / "serve.json"
