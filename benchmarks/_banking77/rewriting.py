"""Rewriting: a small language model learns to mend questions from gold rewrites (Disfl-QA).

Sequence-level distillation by the train stage, as for any text: no student with labels can do it.
"""

from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from benchmarks._banking77.datasets import write_export
from benchmarks._banking77.options import Options
from benchmarks._banking77.rows import LabelRow, first_by_hash, read_jsonl

from stillhouse.artifacts import Artifact
from stillhouse.collect import ImportConfig, import_completions
from stillhouse.curate import CurateConfig, curate
from stillhouse.evaluate import TaskEvaluateConfig, evaluate_task
from stillhouse.evaluate._task._predictions import PredictionRow
from stillhouse.graders import edit, exact
from stillhouse.statistics import clustered_bootstrap, fraction_interval
from stillhouse.tasks import Task, TaskAnswer
from stillhouse.train import TrainConfig, train

_SYSTEM = "Rewrite the question without its slips of the tongue. Answer with the question alone."
_TASK = Task(
    name="disfl_qa", kind="text", system=_SYSTEM, reference="gold", grader="edit", margin=0.02
)
_MAX_TOKENS = 64
_STUDENT = "SmolLM2-135M"


def rewriting_part(options: Options) -> dict[str, Any]:
    """The student, its base untrained, and the question as it was, on the same test rows."""
    folder = options.work / "disfl_qa"
    dataset = rewriting_dataset(options, folder)
    student = rewriter(dataset, folder)
    evaluation = evaluate_task(
        dataset.path,
        folder / "evaluation",
        students={_STUDENT: student.path},
        config=TaskEvaluateConfig(max_tokens=_MAX_TOKENS, latency_messages=50),
        replace=True,
    )
    return {
        "train": options.rewrites,
        "test": options.rewrites_test,
        "seconds": round(student.manifest.usage.seconds, 1),
        "systems": _figures(evaluation, dataset),
    }


def rewriter(dataset: Artifact, folder: Path) -> Artifact:
    """The student that learns the dataset's rewrites, or what an earlier run left of it."""
    config = TrainConfig(objective="sft", epochs=2.0, batch_size=8, learning_rate=3e-4)
    started_s = perf_counter()
    student = train(dataset.path, folder / "student", config=config, replace=True)
    print(f"disfl_qa: language model: {perf_counter() - started_s:.0f} s", flush=True)
    return student


def rewriting_dataset(options: Options, folder: Path) -> Artifact:
    """So many questions with their rewrites, of both sides."""
    folder.mkdir(parents=True, exist_ok=True)
    export = folder / "export.jsonl"
    rows = [
        LabelRow(
            split, row["input"].strip(), row["reference"].strip(), row["reference"].strip(), {}
        )
        for split, most in (("train", options.rewrites), ("test", options.rewrites_test))
        for row in _first(options.data / "disfl_qa" / f"{split}.jsonl", most)
    ]
    write_export(export, rows, system=_SYSTEM, model="gold rewrites")
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
        task=_TASK,
        replace=True,
    )


def _first(path: Path, most: int) -> list[dict[str, Any]]:
    rows = [row for row in read_jsonl(path) if row["input"].strip() and row["reference"].strip()]
    texts = [LabelRow("train", row["input"], "", "", row) for row in rows]
    return [row.call for row in first_by_hash(texts, most)]


def _figures(evaluation: Artifact, dataset: Artifact) -> dict[str, Any]:
    """Of each system: how often it is exactly right, and how alike its text is."""
    gold = {row.prompt_id: row.reference for row in dataset.rows("answers", TaskAnswer)}
    scores: dict[str, list[tuple[float, float]]] = {}
    for row in evaluation.rows("predictions", PredictionRow):
        expected, answer = gold[row.prompt_id] or "", row.answer or ""
        scores.setdefault(row.student, []).append((exact(answer, expected), edit(answer, expected)))
    return {name: _estimates(np.array(found)) for name, found in scores.items()}


def _estimates(scores_N2: Any) -> dict[str, Any]:
    exact_N, edit_N = scores_N2.T
    number = len(exact_N)
    alike = clustered_bootstrap(edit_N, np.ones(number), clusters=np.arange(number))
    return {
        "exact": asdict(fraction_interval(int(exact_N.sum()), number)),
        "edit_similarity": asdict(alike),
    }
