"""Declarations as files, and collections whose teachers are known, for the tests of the gates."""

import json
from pathlib import Path
from typing import Any

import yaml
from task_cases import completion, prompt

from stillhouse.artifacts import Artifact, Counts, begin_artifact, open_artifact
from stillhouse.curate import CurateConfig, curate
from stillhouse.provenance import recorded_asking, teacher_terms, terms_given, terms_result
from stillhouse.records import Completion, Prompt
from stillhouse.tasks import Task

OWN_USE = {"competes": False, "commercial": False, "distribution": "internal"}


def declared(folder: Path, **given: Any) -> Path:
    """A `terms.yaml` in `folder`, its name made of nothing but what it says."""
    path = folder / "terms.yaml"
    path.write_text(yaml.safe_dump(given or {"purpose": "none"}), encoding="utf-8")
    return path


def collection(
    path: Path, rows: dict[str, int], *, terms: Path | None = None, parents: tuple[Path, ...] = ()
) -> Path:
    """Completions with so many rows of each teacher, and the verdict as collect keeps it."""
    prompts, answers = [], []
    for teacher, count in rows.items():
        for _ in range(count):
            asked = prompt(f"p{len(prompts)}", f"text {len(prompts)} is spam")
            prompts.append(asked)
            label = "spam" if len(prompts) % 2 else "ham"
            answers.append(completion(asked, label, teacher=teacher))
    record = recorded_asking(list(rows), terms_given(terms))
    writer = begin_artifact(
        path,
        kind="completions",
        stage="collect",
        config={},
        parents=[open_artifact(one) for one in parents],
    )
    writer.write_rows("prompts", prompts, Prompt)
    writer.write_rows("completions", answers, Completion)
    writer.finish(
        counts=Counts.model_validate({"in": len(answers), "kept": len(answers)}),
        teacher=None,
        results=terms_result(record),
    )
    assert teacher_terms(record) is None or len(rows) == 1
    return path


def dataset_of(path: Path, completions: Path, **config: Any) -> Artifact:
    """A dataset of a task with two labels."""
    task = Task.model_validate({"name": "t", "kind": "classification", "labels": ("spam", "ham")})
    settings = CurateConfig.model_validate({"contamination": "allow", **config})
    return curate(completions, path, config=settings, task=task)


def export(path: Path, model: str | None, num: int = 120) -> Path:
    """An export of question and answer, as `import --from plain` reads it."""
    rows = [
        {
            "prompt": f"{'win cash' if n % 2 else 'see you'} {n}",
            "completion": "spam" if n % 2 else "ham",
            **({"model": model} if model else {}),
            "split": "held_out" if n % 5 == 0 else "train",
        }
        for n in range(num)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
