"""Where what can be made again is kept."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """`STILLHOUSE_CACHE`, else `stillhouse` under `XDG_CACHE_HOME` or `~/.cache`."""
    if given := os.environ.get("STILLHOUSE_CACHE"):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "stillhouse"
