"""The range that docs/range.md tells of: its results with the machine and the commit they are of.

    python benchmarks/range.py --work DIR

Answers, students and measurements are kept in `--work`: a stopped run goes on. The settings are
those of benchmarks/_protect/range.yaml, smaller than the default range of `stillhouse range`.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks._parts import BENCHMARKS
from benchmarks._parts.results import circumstances, keep

from stillhouse.pipeline import attack_range, range_config

CONFIG = BENCHMARKS / "_protect" / "range.yaml"
RESULTS = BENCHMARKS / "results" / "range.json"


def run(work: Path, config: Path = CONFIG) -> dict[str, Any]:
    """The results of a range, finished if it was not."""
    around = circumstances(("stillhouse", "torch", "transformers", "numpy"))
    results = attack_range(
        work,
        config=range_config(config),
        config_dir=config.parent,
        command="python benchmarks/range.py --work DIR",
        on_progress=lambda one: print(one.stage, one.done, one.total, file=sys.stderr),
    )
    return {"circumstances": around, **json.loads(results.model_dump_json())}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps what was made")
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--json", type=Path, default=RESULTS, help="file of results")
    given = parser.parse_args()
    keep("range", run(given.work, given.config), given.json)


if __name__ == "__main__":
    main()
