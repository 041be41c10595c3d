"""How fast and in how much memory students are trained, beside other trainers in the same run.

    python benchmarks/train.py [--only PART ...] [--peers-python PYTHON ...] [--table]

The parts are `speed`, `pairs` and `memory`; each one's module says what it measures. Every part
writes its own entry of `results/train.json`, so that they can be run one by one, on a quiet
machine. `--table` only writes the tables of `docs/benchmarks.md` anew.

Peers are left out where no Python has them. DistillKit needs an older TRL than the current one,
so that they live apart:

    python -m venv trl && trl/bin/pip install torch trl transformers peft accelerate datasets
    python -m venv dk && dk/bin/pip install torch 'trl~=0.25.1' 'accelerate~=1.11.0' transformers
    dk/bin/pip install --no-deps git+https://github.com/arcee-ai/DistillKit@a61c2e7
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks._collect.goals import rows  # noqa: E402
from benchmarks._collect.results import circumstances, keep, read  # noqa: E402
from benchmarks._train import memory, pairs, speed, tables  # noqa: E402
from benchmarks._train.options import Options  # noqa: E402

PARTS: dict[str, Callable[[Options], dict[str, Any]]] = {
    "speed": speed.run,
    "pairs": pairs.run,
    "memory": memory.run,
}
_PACKAGES = ("stillhouse", "torch", "transformers", "safetensors")


def main() -> None:
    given = vars(_parser().parse_args())
    is_table_only, parts = given.pop("table"), given.pop("only") or list(PARTS)
    pythons = (Path(sys.executable), *given.pop("peers_python"))
    options = Options(pythons=pythons, **given)
    if not is_table_only:
        for name in parts:
            print(f"== {name}", flush=True)
            entry = {"circumstances": circumstances(_PACKAGES), **PARTS[name](options)}
            keep(name, entry, options.json)
            print(json.dumps(entry, indent=2), flush=True)
    document = read(options.json)
    for row in rows(document, tables.GOALS):
        print("{:<60} {:<18} {:<14} {}".format(*row.cells))
    if is_table_only:
        tables.write_tables(document)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=list(PARTS), help="may be repeated")
    parser.add_argument(
        "--peers-python", action="append", default=[], type=Path, help="may be repeated"
    )
    parser.add_argument("--table", action="store_true", help="write docs/benchmarks.md, only")
    for field in fields(Options):
        if field.name != "pythons":
            kind = Path if isinstance(field.default, Path) else type(field.default)
            flag = "--" + field.name.replace("_", "-")
            parser.add_argument(flag, type=kind, default=field.default, help="default: %(default)s")
    return parser


if __name__ == "__main__":
    main()
