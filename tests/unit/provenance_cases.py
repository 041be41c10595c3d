"""Small real runs of the stages that need no model, for the tests of provenance."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fit_cases import a_task, a_text

from stillhouse.artifacts import Artifact
from stillhouse.collect import CollectConfig, collect
from stillhouse.curate import CurateConfig, curate
from stillhouse.fit import FitConfig, fit
from stillhouse.records import Message, Prompt, Sampling, Split
from stillhouse.tasks import Task

KEEP = CurateConfig(drop_truncated=False, drop_looping=False, deduplicate=False)
SAMPLING = Sampling(temperature=0.5, max_tokens=9, seed=3)


@dataclass(frozen=True)
class Run:
    """Where a run's artefacts and its ledger are."""

    root: Path

    @property
    def completions(self) -> Path:
        return self.root / "completions"

    @property
    def dataset(self) -> Path:
        return self.root / "dataset"

    @property
    def ledger(self) -> Path:
        return self.root / "ledger.sqlite"


def prompts(count: int = 12, word: str = "report") -> list[Prompt]:
    """Prompts in groups of two, the last pair held out."""
    return [
        Prompt(
            id=f"p{number}",
            messages=(Message(role="user", content=f"The {word} number {number} is attached"),),
            group=f"g{number // 2}",
            split="held_out" if number >= count - 2 else "train",
        )
        for number in range(count)
    ]


def collected(
    folder: Path, asked: Sequence[Prompt] | None = None, *, teacher: str = "fake:", samples: int = 1
) -> Artifact:
    """Completions of a teacher that costs nothing."""
    config = CollectConfig(sampling=SAMPLING, samples_per_prompt=samples)
    return collect(asked or prompts(), folder, teacher=teacher, config=config)


def make_run(root: Path, *, samples: int = 1, task: Task | None = None) -> Run:
    """Completions and their dataset."""
    run = Run(root)
    collected(run.completions, samples=samples)
    curate(run.completions, run.dataset, config=KEEP, task=task)
    return run


SECRET = "zebra-4711"
"""A word that one person's prompt holds, and nothing else."""


def make_fitted(root: Path, *, with_secret: bool = True) -> Run:
    """Answers of a scripted teacher to a task, their dataset and a fitted student.

    The prompt `c5` holds `SECRET`.
    """
    task = a_task()
    script = root / "script.jsonl"
    root.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"match": f"about {label}", "text": label}) for label in task.labels]
    script.write_text("\n".join(lines), encoding="utf-8")
    draws = np.random.default_rng(5)
    asked = []
    for number in range(120):
        label = task.labels[number % len(task.labels)]
        text = f"{a_text(label, draws)} {number} about {label}"
        if number == 5:
            text = f"{SECRET} {text}"
        if number != 5 or with_secret:
            split: Split = "held_out" if number >= 100 else "train"
            message = Message(role="user", content=text)
            asked.append(Prompt(id=f"c{number}", messages=(message,), split=split))
    run = Run(root)
    collected(run.completions, asked, teacher=f"fake:{script}")
    curate(run.completions, run.dataset, config=CurateConfig(), task=task)
    fit(run.dataset, root / "student", config=FitConfig())
    return run
