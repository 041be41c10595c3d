"""Rows to Merkle root and manifest, beside other ways to hash the same bytes."""

import hashlib
import importlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from benchmarks._parts.spread import spread
from benchmarks._provenance.options import Options
from benchmarks._provenance.rows import examples

from stillhouse.artifacts import (
    Counts,
    begin_artifact,
    check_rows_root,
    file_sha256,
    leaf_bytes,
    merkle_root,
)
from stillhouse.provenance import verify
from stillhouse.records import Example


def hashing_part(options: Options) -> dict[str, Any]:
    """Seconds of each step over an artefact of `options.rows` rows.

    `finish` is what the goal speaks of: every row is read from Parquet, put into canonical JSON and
    hashed into the tree, every file is hashed, and the manifest is written and read back.
    """
    folder = options.work / "dataset"
    shutil.rmtree(options.work, ignore_errors=True)
    try:
        writer = begin_artifact(folder, kind="dataset", stage="curate", config={"n": options.rows})
        write_s = timed(lambda: writer.write_rows("examples", examples(options.rows), Example))
        counts = Counts.model_validate({"in": options.rows, "kept": options.rows})
        before_cpu_s = time.process_time()
        started_s = time.perf_counter()
        artifact = writer.finish(counts=counts)
        finish_s, finish_cpu_s = (
            time.perf_counter() - started_s,
            time.process_time() - before_cpu_s,
        )
        files = [folder / entry.name for entry in artifact.manifest.files]
        entry = {
            "rows": options.rows,
            "parquet_bytes": sum(file.stat().st_size for file in files),
            "leaf_bytes_mean": round(_mean_leaf(files[0]), 1),
            "write_parquet_s": round(write_s, 2),
            "finish_s": round(finish_s, 2),
            # On a machine that is busy with other things, what it would take without them.
            "finish_cpu_s": round(finish_cpu_s, 2),
            "rows_root_s": rounds(options, lambda: check_rows_root(artifact)),
            "files_sha256_s": rounds(options, lambda: [file_sha256(file) for file in files]),
            "verify_s": rounds(options, lambda: verify(folder)),
        }
        return {**entry, "peers": _peers(options, files)}
    finally:
        shutil.rmtree(options.work, ignore_errors=True)


def timed(work: Callable[[], Any]) -> float:
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


def rounds(options: Options, work: Callable[[], Any]) -> dict[str, float]:
    return spread([timed(work) for _ in range(options.rounds)])


def _mean_leaf(file: Path) -> float:
    sizes = [len(leaf) for leaf in islice(leaf_bytes(file), 1_000)]
    return sum(sizes) / len(sizes)


def _peers(options: Options, files: list[Path]) -> dict[str, Any]:
    """Microseconds a row, beside ours over the same rows in the same turns."""
    count = min(options.peer_rows, options.rows)
    leaves = list(islice((leaf for file in files for leaf in leaf_bytes(file)), count))
    ways: dict[str, Callable[[], str | None]] = {
        "stillhouse, rows to root": lambda: merkle_root(_first(files, count)),
        "stillhouse, leaves to root": lambda: merkle_root(leaves),
        "Arrow's to_pylist, json.dumps, hashlib": lambda: _plain_root(files, count),
    }
    pymerkle = peer_tree(options.pymerkle)
    if pymerkle is not None:
        ways["pymerkle, leaves to root"] = lambda: _pymerkle_root(pymerkle, leaves)
    times: dict[str, list[float]] = {name: [] for name in ways}
    roots: dict[str, str | None] = {}
    for _ in range(options.rounds):
        for name, way in ways.items():
            started_s = time.perf_counter()
            roots[name] = way()
            times[name].append((time.perf_counter() - started_s) / count * 1e6)
    if len({root for name, root in roots.items() if "json.dumps" not in name}) != 1:
        raise AssertionError(f"the roots differ: {roots}")
    command = ["sha256sum", *map(str, files)]
    run = lambda: subprocess.run(command, check=True, capture_output=True)  # noqa: E731
    return {
        "rows": count,
        "us_per_row": {name: spread(found) for name, found in times.items()},
        "sha256sum_of_the_files_s": rounds(options, run) if shutil.which("sha256sum") else None,
    }


def _first(files: list[Path], count: int) -> Iterator[bytes]:
    return islice((leaf for file in files for leaf in leaf_bytes(file)), count)


def _plain_root(files: list[Path], count: int) -> str:
    """What one would write in ten lines: other bytes for some rows, so another root."""
    rows = (
        row for file in files for batch in pq.ParquetFile(file).iter_batches() for row in
        batch.to_pylist()
    )  # fmt: skip
    level = [
        hashlib.sha256(
            b"\0" + json.dumps(row, sort_keys=True, separators=(",", ":")).encode()
        ).digest()
        for row in islice(rows, count)
    ]
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        above = [hashlib.sha256(b"\1" + left + right).digest() for left, right in pairs]
        level = above + level[len(above) * 2 :]
    return level[0].hex()


def peer_tree(folder: Path) -> Any:
    """The tree of pymerkle in `folder`; None where it is not there.

    It is not in the environment, since it brings packages of the names `benchmarks` and `profiler`.
    """
    if not (folder / "pymerkle").is_dir():
        return None
    sys.path.append(str(folder))
    try:
        return importlib.import_module("pymerkle").InmemoryTree
    finally:
        sys.path.remove(str(folder))


def _pymerkle_root(tree_type: Any, leaves: list[bytes]) -> str:
    tree = tree_type(algorithm="sha256")
    for leaf in leaves:
        tree.append_entry(leaf)
    root: bytes = tree.get_state()
    return root.hex()
