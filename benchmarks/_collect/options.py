"""What the command line says."""

import sys
from dataclasses import dataclass
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[1]
RESULTS = BENCHMARKS / "results" / "collect.json"


@dataclass(frozen=True, kw_only=True)
class Options:
    """How large the parts are; the defaults are the sizes that the goals speak of.

    Attributes:
        pythons: Interpreters in which peers are looked for, in turn.
        rounds: Turns of each client, and starts of each command.
        num_large: Completions of ours in `cost`, and of the larger run of `memory` a 50th of it.
    """

    pythons: tuple[Path, ...] = (Path(sys.executable),)
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
