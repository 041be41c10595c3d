"""What is measured in a process of its own: `python -m benchmarks._train.child TASK ARGUMENTS`.

The benchmark itself never loads torch: what it holds would count in the peaks of its children.
"""

import sys
from pathlib import Path

from benchmarks._parts.processes import Measured, measure_module
from benchmarks._train.options import Options


def run(task: str, *arguments: object) -> Measured:
    """Run a task of this module to its end."""
    return measure_module("benchmarks._train.child", task, *arguments)


def main(task: str, *arguments: str) -> None:
    from benchmarks._train import materials, memory, pairs

    match task, arguments:
        case "materials", (folder, num_texts, batch_size, keep_layers):
            options = Options(
                num_texts=int(num_texts), batch_size=int(batch_size), keep_layers=int(keep_layers)
            )
            materials.make_materials(Path(folder), options)
        case "head", (form,):
            memory.print_head(form)
        case "step", (objective, parts):
            memory.print_step(objective, parts)
        case "pairs", (folder, num_pairs, batch_size):
            pairs.print_pairs(Path(folder), int(num_pairs), int(batch_size))
        case _:
            raise SystemExit(f"no task {task} with {len(arguments)} arguments")


if __name__ == "__main__":
    main(*sys.argv[1:])
