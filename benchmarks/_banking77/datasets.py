"""From rows to a dataset, the way a user goes: import, then curate with the task."""

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks._banking77.rows import LabelRow, LabelSet

from stillhouse.artifacts import Artifact
from stillhouse.collect import ImportConfig, import_completions
from stillhouse.curate import CurateConfig, curate

_SPLITS = {"train": "train", "test": "held_out"}


def make_dataset(found: LabelSet, folder: Path) -> Artifact:
    """The dataset of a label set in `folder`, or what an earlier run left there of the same rows.

    Training rows that curation finds in test rows are taken out: near copies by characters, and
    runs of 13 words.
    """
    folder.mkdir(parents=True, exist_ok=True)
    export = folder / "export.jsonl"
    write_export(export, [*found.train, *found.test], system=found.task.system, model=found.teacher)
    # Public data: what looks like somebody's number is to stay what the peer's student read.
    completions = import_completions(
        export,
        folder / "completions",
        config=ImportConfig(format="plain", scrub=False),
        replace=True,
    )
    return curate(
        completions.path,
        folder / "dataset",
        config=CurateConfig(contamination="remove"),
        task=found.task,
        replace=True,
    )


def write_export(path: Path, rows: Sequence[LabelRow], *, system: str | None, model: str) -> None:
    """The rows as a file that `import` reads; an equal file is left as it is."""
    lines = [
        {
            "system": system,
            "prompt": row.text,
            "completion": row.answer,
            "reference": row.gold,
            "model": model,
            "split": _SPLITS[row.split],
            **row.call,
        }
        for row in rows
    ]
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
