"""The tables of `docs/benchmarks.md` on provenance, out of the results alone."""

from collections.abc import Iterator
from typing import Any

from benchmarks._parts.goals import Goal, goals_table, markdown_table
from benchmarks._parts.pages import circumstances

MILLION = 1_000_000
_SIZE: dict[str, Any] = {"least_size": MILLION}
GOALS = (
    Goal(
        "a million rows to Merkle root and manifest",
        ("hashing", "finish_s"),
        15,
        "s",
        size_path=("hashing", "rows"),
        **_SIZE,
    ),
    Goal(
        "path of a proof, checked, 99th percentile",
        ("proving", "path_checked_ms", "p99"),
        1,
        "ms",
        size_path=("proving", "rows"),
        **_SIZE,
    ),
    Goal(
        "a proof without the row",
        ("proving", "bytes_without_row", "max"),
        1_024,
        "B",
        size_path=("proving", "rows"),
        **_SIZE,
    ),
    Goal("lines of the verifier", ("proving", "verifier_lines"), 60),
)


def tables(document: dict[str, Any]) -> dict[str, str]:
    """Each generated table by its name."""
    return {
        "goals": goals_table(document, GOALS),
        "steps": markdown_table(("step", "measured"), _steps(document)),
        "peers": markdown_table(("way", "us a row", "times ours"), _peers(document)),
        "circumstances": circumstances(document),
    }


def _steps(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    hashing, proving = document.get("hashing", {}), document.get("proving", {})
    for words, entry, name, unit in (
        ("rows written as Parquet", hashing, "write_parquet_s", "s"),
        ("`finish`: leaves, root, files, manifest", hashing, "finish_s", "s"),
        ("the same, seconds of processor time", hashing, "finish_cpu_s", "s"),
        ("root of the rows again", hashing, "rows_root_s", "s"),
        ("SHA-256 of the files", hashing, "files_sha256_s", "s"),
        ("`stillhouse verify`", hashing, "verify_s", "s"),
        ("first proof: all rows are read, the tree is kept", proving, "first_proof_s", "s"),
        ("kept tree opened", proving, "open_kept_tree_ms", "ms"),
        ("path read from it and checked", proving, "path_checked_ms", "ms"),
        ("whole proof with the row, of an open process", proving, "prove_with_row_ms", "ms"),
        ("verifier, as a process", proving, "verifier_process_ms", "ms"),
    ):
        if name in entry:
            value = entry[name]
            yield words, f"{value['median'] if isinstance(value, dict) else value:,.3g} {unit}"


def _peers(document: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    found = document.get("hashing", {}).get("peers", {}).get("us_per_row", {})
    for name, times in found.items():
        ours = found[f"stillhouse, {'leaves' if 'leaves' in name else 'rows'} to root"]
        ratio = times["median"] / ours["median"]
        yield name, f"{times['median']:.1f}", f"{ratio:.1f}"
