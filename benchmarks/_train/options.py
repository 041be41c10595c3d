"""What the command line says."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks._parts import BENCHMARKS
from benchmarks._parts.command import PartOptions

RESULTS = BENCHMARKS / "results" / "train.json"


@dataclass(frozen=True, kw_only=True)
class Options(PartOptions):
    """The defaults are the sizes that the goals speak of.

    Attributes:
        rounds: Turns of each trainer, each in a process of its own.
        steps: Optimiser steps of a turn that count; one more comes before them.
        batch_size: Texts of a step.
        num_texts: Texts that the teacher writes.
        keep_layers: Of the teacher's 30 layers in the student.
        pairs: Steps that KD and SFT of ours take in turn.
    """

    rounds: int = 2
    steps: int = 4
    batch_size: int = 24
    num_texts: int = 144
    keep_layers: int = 15
    pairs: int = 12
    json: Path = RESULTS
