"""Inclusion proofs in an artefact of many rows: time, size, and the verifier as a process."""

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks._parts.spread import spread
from benchmarks._provenance.hashing import timed
from benchmarks._provenance.options import Options
from benchmarks._provenance.rows import examples

from stillhouse.artifacts import Counts, begin_artifact, leaf_hash, row_at
from stillhouse.provenance import RowTree, proof_verifier, prove
from stillhouse.records import Example


def proving_part(options: Options) -> dict[str, Any]:
    """The first proof reads all rows; the tree it makes is kept, and the next ones take a path."""
    shutil.rmtree(options.work, ignore_errors=True)
    os.environ["STILLHOUSE_CACHE"] = str(options.work / "cache")
    folder = options.work / "dataset"
    try:
        writer = begin_artifact(folder, kind="dataset", stage="curate", config={"n": options.rows})
        writer.write_rows("examples", examples(options.rows), Example)
        counts = Counts.model_validate({"in": options.rows, "kept": options.rows})
        artifact = writer.finish(counts=counts)
        first_s = timed(lambda: prove(folder, 0))
        draws = random.Random(1)
        places = [draws.randrange(options.rows) for _ in range(options.proofs)]
        leaves = [leaf_hash(row_at(artifact, place).leaf) for place in places[:50]]
        opened_s = [timed(lambda: RowTree(artifact)) for _ in range(20)]
        tree = RowTree(artifact)
        path_s = []
        for _ in range(max(1, options.proofs // len(leaves))):
            for place, leaf in zip(places, leaves, strict=False):
                started_s = time.perf_counter()
                tree.path(place, leaf)
                path_s.append(time.perf_counter() - started_s)
        path_s.sort()
        whole_s = [timed(lambda place=place: prove(folder, place)) for place in places[:50]]  # type: ignore[misc]
        sizes = [len(prove(folder, place, hide_row=True).to_bytes()) for place in places[:50]]
        return {
            "rows": options.rows,
            "kept_tree_bytes": next((options.work / "cache" / "trees").iterdir()).stat().st_size,
            "first_proof_s": round(first_s, 3),
            "open_kept_tree_ms": spread([1e3 * seconds for seconds in opened_s]),
            "path_checked_ms": {
                **spread([1e3 * seconds for seconds in path_s], digits=5),
                "p99": round(1e3 * path_s[int(0.99 * len(path_s))], 5),
            },
            "prove_with_row_ms": spread([1e3 * seconds for seconds in whole_s]),
            "bytes_without_row": {"min": min(sizes), "max": max(sizes)},
            "verifier_lines": len(proof_verifier().splitlines()),
            "verifier_process_ms": spread(_verifier_ms(options.work, folder, places[:10])),
        }
    finally:
        shutil.rmtree(options.work, ignore_errors=True)


def _verifier_ms(work: Path, folder: Path, places: list[int]) -> list[float]:
    program, file = work / "check_proof.py", work / "proof.json"
    program.write_text(proof_verifier(), encoding="utf-8")
    command = [sys.executable, "-I", str(program), str(file), str(folder / "manifest.json")]
    times = []
    for place in places:
        file.write_bytes(prove(folder, place).to_bytes())
        run = lambda: subprocess.run(command, check=True, capture_output=True)  # noqa: E731
        times.append(1e3 * timed(run))
    return times
