"""How much is measured."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks._parts import BENCHMARKS
from benchmarks._parts.command import PartOptions

RESULTS = BENCHMARKS / "results" / "protect.json"


@dataclass(frozen=True, kw_only=True)
class Options(PartOptions):
    """The defaults are the sizes that the goals speak of.

    Attributes:
        data: Folder of real data sets.
        keys: That unmarked texts are scored with.
        most_documents: Unmarked texts that are tested.
        texts: Marked texts for each figure.
        real_texts: That SmolLM2 writes with each scheme.
        overhead_tokens: Of each text whose marking is timed.
        drift_texts: Texts of SmolLM2 with each scheme, for what a mark does to texts.
        drift_keys: That mark those in turn; 0 for one for each text.
        fast_tokens: For our detector's speed.
        peer_tokens: For that of others, which take minutes for more.
        rounds: Times that a speed is measured, and pairs of batches with and without a mark.
    """

    data: Path = BENCHMARKS.parents[1] / "shared" / "data"
    keys: int = 40
    most_documents: int = 40_000
    texts: int = 1_000
    real_texts: int = 200
    overhead_tokens: int = 48
    drift_texts: int = 400
    drift_keys: int = 0
    fast_tokens: int = 2_400_000
    peer_tokens: int = 1_200
    rounds: int = 3
    json: Path = RESULTS
