"""What the command line says."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks._parts import BENCHMARKS
from benchmarks._parts.command import PartOptions

RESULTS = BENCHMARKS / "results" / "quality.json"


@dataclass(frozen=True, kw_only=True)
class Options(PartOptions):
    """The defaults are the sizes that the goals speak of.

    Attributes:
        rounds: Seeds; each orders the texts and draws the student's own differently.
        prompts: Training prompts.
        held_out: Held-out prompts, about other subjects.
        temperature: Of the teacher's texts; at 0 sequence-level KD is that of its likeliest ones.
        layers: Of the teacher's 30 layers in the student.
        epochs: Over the teacher's texts, by text and by signal alike.
        on_policy_epochs: Over the prompts, in the phase after that.
        precision: In which all train, as `device.precision`: bfloat16 takes half the time on
            processors that multiply it, and it is the same for all that are compared.
        draws: Own texts on each held-out prompt that a student is measured on.
        work: Keeps texts, students and what was measured; the next run goes on from there.
    """

    rounds: int = 3
    prompts: int = 800
    held_out: int = 150
    temperature: float = 1.0
    layers: int = 12
    epochs: float = 4.0
    on_policy_epochs: float = 1.6
    precision: str = "auto"
    draws: int = 2
    work: Path = BENCHMARKS.parent / "build" / "quality"
    json: Path = RESULTS
