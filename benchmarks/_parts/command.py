"""The command line of a benchmark in parts, each of which keeps its own results."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks._parts.goals import Goal, rows
from benchmarks._parts.pages import write_tables
from benchmarks._parts.results import circumstances, keep, read


@dataclass(frozen=True, kw_only=True)
class PartOptions:
    """How large the parts are; every field but `pythons` is a flag.

    Attributes:
        pythons: Interpreters in which others are looked for, in turn.
        rounds: Turns of each of those that are compared.
        json: The file of results.
    """

    pythons: tuple[Path, ...] = (Path(sys.executable),)
    rounds: int
    json: Path


@dataclass(frozen=True)
class Benchmark:
    """What a script measures, and where it is shown.

    Attributes:
        section: Of `docs/benchmarks.md`, as the marks of its tables name it.
        parts: Measures one part.
        packages: Whose versions are kept beside the figures.
        tables: Makes the generated tables of the results, by name.
    """

    section: str
    parts: Mapping[str, Callable[[Any], dict[str, Any]]]
    options_type: type[PartOptions]
    packages: Sequence[str]
    goals: Sequence[Goal]
    tables: Callable[[dict[str, Any]], dict[str, str]]


def run(benchmark: Benchmark, description: str | None) -> None:
    """Measure the parts that the command line names, and say which goals are met."""
    given = vars(_parser(benchmark, description).parse_args())
    is_table_only, parts = given.pop("table"), given.pop("only") or list(benchmark.parts)
    pythons = (Path(sys.executable), *given.pop("peers_python"))
    options = benchmark.options_type(pythons=pythons, **given)
    if not is_table_only:
        for name in parts:
            print(f"== {name}", flush=True)
            entry = {
                "circumstances": circumstances(benchmark.packages),
                **benchmark.parts[name](options),
            }
            keep(name, entry, options.json)
            print(json.dumps(entry, indent=2), flush=True)
    document = read(options.json)
    for row in rows(document, benchmark.goals):
        print("{:<60} {:<18} {:<14} {}".format(*row.cells))
    if is_table_only:
        write_tables(benchmark.section, benchmark.tables(document))


def _parser(benchmark: Benchmark, description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", action="append", choices=list(benchmark.parts), help="may be repeated"
    )
    parser.add_argument(
        "--peers-python", action="append", default=[], type=Path, help="may be repeated"
    )
    parser.add_argument("--table", action="store_true", help="write docs/benchmarks.md, only")
    for field in fields(benchmark.options_type):
        if field.name != "pythons":
            kind = Path if isinstance(field.default, Path) else type(field.default)
            flag = "--" + field.name.replace("_", "-")
            parser.add_argument(flag, type=kind, default=field.default, help="default: %(default)s")
    return parser
