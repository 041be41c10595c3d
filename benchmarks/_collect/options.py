"""What the command line says."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks._parts import BENCHMARKS
from benchmarks._parts.command import PartOptions

RESULTS = BENCHMARKS / "results" / "collect.json"


@dataclass(frozen=True, kw_only=True)
class Options(PartOptions):
    """The defaults are the sizes that the goals speak of.

    Attributes:
        num_large: Prompts of the larger run of `memory`; the smaller one has a 100th of them.
    """

    rounds: int = 5
    num_prompts: int = 20_000
    num_peer_prompts: int = 3_000
    num_logprobs: int = 600
    num_kills: int = 20
    num_resume: int = 1_000_000
    num_large: int = 1_000_000
    steady_s: float = 180.0
    num_budget_runs: int = 1_000
    concurrency: int = 64
    json: Path = RESULTS
