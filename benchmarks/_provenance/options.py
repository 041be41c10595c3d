"""What the command line says."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks._parts import BENCHMARKS
from benchmarks._parts.command import PartOptions

RESULTS = BENCHMARKS / "results" / "provenance.json"


@dataclass(frozen=True, kw_only=True)
class Options(PartOptions):
    """The defaults are the sizes that the goals speak of.

    Attributes:
        rounds: Turns of the hashing and of each peer; the artefact is written once.
        rows: Rows of the artefact.
        peer_rows: Rows that the slow peers hash; their figures are by row.
        proofs: Rows, drawn at random, that are proved.
        pymerkle: A folder that it was installed into; it is measured where it is there.
        work: Where the artefact is written; it is removed afterwards.
    """

    rounds: int = 3
    rows: int = 1_000_000
    peer_rows: int = 50_000
    proofs: int = 1_000
    pymerkle: Path = BENCHMARKS.parent / "build" / "pymerkle"
    work: Path = BENCHMARKS.parent / "build" / "provenance"
    json: Path = RESULTS
