"""The file of results: each part replaces its own entry, with the state of the machine."""

import json
import os
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks._machine import host
from benchmarks._parts import BENCHMARKS


def circumstances(packages: Sequence[str]) -> dict[str, Any]:
    """When and on what something is measured, before it begins."""
    return {
        "machine": host(),
        "versions": {each: version(each) for each in packages},
        "commit": _commit(),
        "measured_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_at_start": [round(value, 2) for value in os.getloadavg()],
    }


def keep(name: str, entry: dict[str, Any], path: Path) -> None:
    """Put a part's entry into the file, which is replaced as a whole."""
    document = {**read(path), name: entry}
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_suffix(".part")
    written.write_text(json.dumps(dict(sorted(document.items())), indent=2) + "\n")
    written.replace(path)


def read(path: Path) -> dict[str, Any]:
    """What was measured so far, by part."""
    document: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return document


def _commit() -> str:
    """The commit of this checkout, with a plus where its sources differ from it."""

    def git(*words: str) -> str:
        return subprocess.check_output(["git", *words], cwd=BENCHMARKS, text=True).strip()

    # The part before this one has just changed the results.
    sources = ("../src", "../tests/mock_provider", ".", ":(exclude)results")
    changed = git("status", "--porcelain", "--", *sources)
    return git("rev-parse", "--short", "HEAD") + "+" * bool(changed)
