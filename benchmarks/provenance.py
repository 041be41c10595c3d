"""Provenance at the size of a million rows: hashing, proofs, and the verifier.

    python benchmarks/provenance.py [--only hashing] [--rows 1000000] [--rounds 3] [--table]

`hashing` writes a dataset and measures what its manifest takes, beside other ways to hash the same
rows; pymerkle is one where it is at hand (pip install --target build/pymerkle pymerkle). `proving`
measures inclusion proofs and runs the verifier as a process of its own.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks._parts.command import Benchmark, run
from benchmarks._provenance import tables
from benchmarks._provenance.hashing import hashing_part
from benchmarks._provenance.options import Options
from benchmarks._provenance.proving import proving_part

PARTS: dict[str, Callable[[Options], dict[str, Any]]] = {
    "hashing": hashing_part,
    "proving": proving_part,
}

PROVENANCE = Benchmark(
    section="provenance",
    parts=PARTS,
    options_type=Options,
    packages=("stillhouse", "pyarrow", "orjson"),
    goals=tables.GOALS,
    tables=tables.tables,
)

if __name__ == "__main__":
    run(PROVENANCE, __doc__)
