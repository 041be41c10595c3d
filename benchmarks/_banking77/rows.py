"""The data sets as rows of one form."""

import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from benchmarks._banking77.options import Options
from benchmarks._banking77.texts import SimilarTexts, first_of_similar

from stillhouse.tasks import Task

BANKING = "banking77"
GOLD_SETS = ("clinc150", "sms_spam", "sentence_polarity")
"""Data sets without a recorded teacher: their gold labels stand in for one."""

_TITLES = {
    "clinc150": ("clinc150", "oos"),
    "sms_spam": ("sms_spam", None),
    "sentence_polarity": ("sentence_polarity", None),
}


@dataclass(frozen=True)
class LabelRow:
    """One text with what was answered to it.

    Attributes:
        split: Which side it is on.
        text: What is read.
        answer: As the teacher wrote it, invalid answers included.
        gold: What a person says is right.
        call: Usage, cost and how it ended, of a recorded call.
    """

    split: Literal["train", "test"]
    text: str
    answer: str
    gold: str
    call: dict[str, Any]


@dataclass(frozen=True)
class LabelSet:
    """A data set of texts and labels.

    Attributes:
        name: Of its folder.
        task: What is asked.
        train: Rows to learn from, none of which is all but equal to a test row.
        test: Rows to measure on, none of which is all but equal to another.
        teacher: Whose answers they are.
    """

    name: str
    task: Task
    train: tuple[LabelRow, ...]
    test: tuple[LabelRow, ...]
    teacher: str


def banking77(options: Options) -> LabelSet:
    """The recorded teacher on Banking77, on the rows that the peer measured on."""
    labels = json.loads((options.data / "banking77" / "categories.json").read_text())
    system = (options.data / "banking77_teacher" / "system_prompt.md").read_text().strip()
    with gzip.open(options.data / "banking77_teacher" / "recording.jsonl.gz", "rt") as lines:
        rows = [_recorded(json.loads(line)) for line in lines]
    task = Task(
        name=BANKING,
        kind="classification",
        system=system,
        reference="gold",
        labels=tuple(sorted(labels)),
        margin=0.02,
    )
    return _sized(BANKING, task, rows, options, teacher="deepseek/deepseek-v4.1-flash")


def gold_set(name: str, options: Options) -> LabelSet:
    """A data set whose gold labels are its answers."""
    title, out_of_scope = _TITLES[name]
    rows = [
        LabelRow(split, row["text"].strip(), row["label"], row["label"], {})
        for split in ("train", "test")
        for row in read_jsonl(options.data / name / f"{split}.jsonl")
    ]
    task = Task(
        name=title,
        kind="classification",
        reference="gold",
        labels=tuple(sorted({row.gold for row in rows})),
        out_of_scope=out_of_scope,
        margin=0.02,
    )
    return _sized(name, task, rows, options, teacher="gold labels")


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file, by newlines alone."""
    with path.open("rb") as lines:
        for line in lines:
            yield json.loads(line)


def _recorded(row: dict[str, Any]) -> LabelRow:
    usage = {name: row[name] for name in ("prompt_tokens", "completion_tokens", "cost_usd")}
    call = {"finish_reason": row["finish_reason"], "usage": usage}
    return LabelRow(row["split"], row["text"].strip(), row["teacher_output"], row["gold"], call)


def _sized(
    name: str, task: Task, rows: Iterable[LabelRow], options: Options, *, teacher: str
) -> LabelSet:
    rows = [row for row in rows if row.text]
    test = [row for row in rows if row.split == "test"]
    test = [test[place] for place in first_of_similar([row.text for row in test])]
    known = SimilarTexts([row.text for row in test])
    train = [row for row in rows if row.split == "train" and not known.has_similar(row.text)]
    return LabelSet(
        name=name,
        task=task,
        train=tuple(first_by_hash(train, options.max_train)),
        test=tuple(first_by_hash(test, options.max_test)),
        teacher=teacher,
    )


def first_by_hash(rows: Sequence[LabelRow], most: int) -> Sequence[LabelRow]:
    """So many of the rows, those whose texts have the smallest hashes; all of them for 0."""
    if not most:
        return rows
    order = sorted(range(len(rows)), key=lambda place: sha256(rows[place].text.encode()).digest())
    return [rows[place] for place in sorted(order[:most])]


def corrupted(rows: Sequence[LabelRow], labels: Sequence[str], *, seed: int) -> list[LabelRow]:
    """The rows with every second label, by hash, replaced by another one drawn at random."""
    found = []
    for row in rows:
        number = int.from_bytes(sha256(f"{seed}:{row.text}".encode()).digest()[:8], "big")
        if number % 2:
            found.append(row)
        else:
            others = [label for label in labels if label != row.gold and label != row.answer]
            found.append(replace(row, answer=others[(number >> 1) % len(others)]))
    return found
