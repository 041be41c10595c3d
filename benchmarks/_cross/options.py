"""What the command line says."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks._parts import BENCHMARKS
from benchmarks._parts.command import PartOptions

RESULTS = BENCHMARKS / "results" / "cross.json"


@dataclass(frozen=True, kw_only=True)
class Options(PartOptions):
    """The defaults are the sizes that the goals speak of.

    Attributes:
        rounds: Seeds; each orders the texts differently.
        prompts: That the teacher answers; every fifth is held out.
        epochs: Over its texts.
        arms: Numbers of the arms to make, as `--help` counts them.
        work: Keeps texts, signals, students and what was measured; the next run goes on from there.
    """

    rounds: int = 3
    prompts: int = 200
    epochs: float = 5.0
    arms: str = "0,1,2,3,4"
    work: Path = BENCHMARKS.parent / "build" / "cross"
    json: Path = RESULTS
