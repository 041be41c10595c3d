"""Datasets with answers to a task, made for the tests of fit."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stillhouse.artifacts import Artifact, Counts, TeacherRef, begin_artifact
from stillhouse.tasks import Task, TaskAnswer

TEACHER = TeacherRef(id="fake:", provider="fake", revision=None)
LABELS = ("card", "cash", "loan", "rate")
_WORDS = {
    "card": ("card", "visa", "contactless", "chip"),
    "cash": ("cash", "atm", "withdraw", "banknote"),
    "loan": ("loan", "mortgage", "credit", "borrow"),
    "rate": ("rate", "exchange", "currency", "euro"),
}
_FILLERS = ("please", "help", "why", "is", "my", "not", "working", "today", "again", "with", "the")


def a_task(**changes: Any) -> Task:
    fields = {"name": "bank", "kind": "classification", "labels": LABELS}
    return Task.model_validate({**fields, **changes})


def an_answer(
    number: int, answer: str | None, text: str | None = None, **changes: Any
) -> TaskAnswer:
    """One row; a valid answer has probability 1 unless `changes` says otherwise."""
    fields: dict[str, Any] = {
        "prompt_id": f"p{number}",
        "text": f"text {number}" if text is None else text,
        "answer": answer,
        "probabilities": {} if answer is None else {answer: 1.0},
        "num_answers": 1,
        "num_invalid": int(answer is None),
        "invalid": () if answer is not None else ("unknown_label: 'x'",),
        "votes": {} if answer is None else {"fake:": {answer: 1}},
    }
    return TaskAnswer.model_validate({**fields, **changes})


def a_text(label: str, draws: np.random.Generator) -> str:
    """A short message of a label, with one or two of its words."""
    words = [*draws.choice(_WORDS[label], draws.integers(1, 3)), *draws.choice(_FILLERS, 4)]
    return " ".join(draws.permutation(words))


def rows_of(
    num_rows: int, *, noise: float = 0.0, seed: int = 0
) -> tuple[list[TaskAnswer], list[str]]:
    """Rows, a fraction of which is answered with a random other label, and the right labels."""
    draws = np.random.default_rng(seed)
    rows, right = [], []
    for number in range(num_rows):
        label = LABELS[number % len(LABELS)]
        others = [one for one in LABELS if one != label]
        answer = str(draws.choice(others)) if draws.random() < noise else label
        rows.append(an_answer(number, answer, f"{a_text(label, draws)} {number}"))
        right.append(label)
    return rows, right


def a_dataset(
    out: Path, rows: Iterable[TaskAnswer], *, task: Task | None = None, stem: str = "answers"
) -> Artifact:
    """What curate writes, as far as fit reads it."""
    writer = begin_artifact(out, kind="dataset", stage="curate", config={})
    try:
        num_rows = writer.write_rows(stem, rows, TaskAnswer)
        given = task or a_task()
        return writer.finish(
            counts=Counts.model_validate({"in": num_rows, "kept": num_rows}),
            teacher=TEACHER,
            results={"task": given.model_dump(mode="json", by_alias=True)},
        )
    finally:
        writer.release()


def repairs_right(log: Sequence[Any], rows: Sequence[TaskAnswer], right: Sequence[str]) -> float:
    """The fraction of repairs whose new answer is right."""
    known = {row.prompt_id: label for row, label in zip(rows, right, strict=True)}
    return sum(entry.new == known[entry.prompt_id] for entry in log) / len(log)
