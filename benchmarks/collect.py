"""What collecting costs and what it withstands, beside other clients in the same run.

    python benchmarks/collect.py [--only PART ...] [--peers-python PYTHON ...] [--table]

The parts are `cost`, `logprobs`, `kills`, `resume`, `memory`, `limits`, `budget` and `startup`;
each one's module says what it measures. Every part writes its own entry of `results/collect.json`,
so that they can be run one by one, on a quiet machine. `--table` only writes the tables of
`docs/benchmarks.md` anew.

Peers are left out where no Python has them. To have them all, make an environment for each group
that can live together and name its Python:

    python -m venv peers && peers/bin/pip install bespokelabs-curator 'distilabel[openai]'
    python -m venv designer && designer/bin/pip install data-designer
    python -m venv sdk && sdk/bin/pip install openai
"""

import argparse
import json
import sys
from dataclasses import fields
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks._collect import (  # noqa: E402
    budget,
    cost,
    kills,
    limits,
    logprobs,
    memory,
    pages,
    resume,
    startup,
)
from benchmarks._collect.goals import rows  # noqa: E402
from benchmarks._collect.options import Options  # noqa: E402
from benchmarks._collect.results import Part, measure_part, read  # noqa: E402

PARTS: dict[str, Part] = {
    "startup": startup.run,
    "cost": cost.run,
    "logprobs": logprobs.run,
    "kills": kills.run,
    "resume": resume.run,
    "memory": memory.run,
    "limits": limits.run,
    "budget": budget.run,
}


def main() -> None:
    given = vars(_parser().parse_args())
    is_table_only, parts = given.pop("table"), given.pop("only") or list(PARTS)
    pythons = (Path(sys.executable), *given.pop("peers_python"))
    options = Options(pythons=pythons, **given)
    if not is_table_only:
        for name in parts:
            print(f"== {name}", flush=True)
            print(json.dumps(measure_part(name, PARTS[name], options), indent=2), flush=True)
    document = read(options.json)
    for row in rows(document):
        print("{:<60} {:<18} {:<14} {}".format(*row.cells))
    if is_table_only:
        pages.write_tables(document)


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
            flag = "--" + field.name.replace("_", "-")
            parser.add_argument(
                flag, type=_kind(field.default), default=field.default, help="default: %(default)s"
            )
    return parser


def _kind(default: object) -> type:
    return Path if isinstance(default, Path) else type(default)


if __name__ == "__main__":
    main()
