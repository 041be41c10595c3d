"""Students with an encoder and language models are certified by the same stage."""

from pathlib import Path

import numpy as np
import pytest
import task_cases
from certify_cases import bank_rows
from encoder_cases import make_encoder
from fit_cases import a_dataset, a_task

from stillhouse.artifacts import open_artifact
from stillhouse.cascade import CascadeRow, open_cascade
from stillhouse.certify import CertifyConfig, certify
from stillhouse.classifiers import load_classifier
from stillhouse.curate import CurateConfig, curate
from stillhouse.errors import ConfigError
from stillhouse.fit import FitConfig, fit
from stillhouse.tasks import Task
from stillhouse.train import TrainConfig, train

TEXTS = ("The town opened a bridge", "The baker won a prize", "Rain fell all week")


def test_a_student_with_an_encoder_has_a_gate_on_its_states(tmp_path: Path) -> None:
    dataset = a_dataset(tmp_path / "dataset", bank_rows(500, held_out=200), task=a_task()).path
    base = make_encoder(tmp_path / "base")
    config = FitConfig.model_validate(
        {"student": "embedding", "embedding": {"base": str(base), "max_tokens": 16}}
    )
    student = fit(dataset, tmp_path / "student", config=config).path
    path = certify(student, dataset, tmp_path / "cascade", config=CertifyConfig(target=0.8)).path
    opened = open_cascade(path)
    assert opened.gate.needs_states
    assert opened.gate.centres_CD.shape[1] == 32
    rows = list(open_artifact(path).rows("rows", CascadeRow))
    read = load_classifier(opened.student.path)
    text = "my card is lost"
    novelty = opened.novelty([text], read.states([text]))
    assert 0 <= novelty[0] <= 1
    assert max(row.novelty for row in rows) < 1
    assert opened.rule.certificate.answered > 100


@pytest.mark.parametrize(
    ("task", "answers", "method"),
    [
        (task_cases.classification("bridge", "bread", "rain"), None, "clopper_pearson"),
        (Task(name="t", kind="text", margin=0.1), ("Open.", "A prize.", "Wet."), "betting"),
    ],
    ids=["labels", "text"],
)
def test_a_language_model_is_certified_by_what_it_writes(
    task: Task,
    answers: tuple[str, ...] | None,
    method: str,
    tmp_path: Path,
    tiny_folder: Path,
) -> None:
    given = answers or task.labels
    prompts = [
        task_cases.prompt(
            f"p{n}", f"{TEXTS[n % 3]} ({n})", split="held_out" if n // 3 % 2 == 0 else "train"
        )
        for n in range(180)
    ]
    completions = [task_cases.completion(one, given[n % 3]) for n, one in enumerate(prompts)]
    source = task_cases.collected(tmp_path / "completions", prompts, completions)
    dataset = curate(
        source, tmp_path / "dataset", config=CurateConfig(contamination="allow"), task=task
    ).path
    settings = TrainConfig(
        base=f"local:{tiny_folder}", objective="sft", epochs=20.0, batch_size=8, learning_rate=1e-2
    )
    student = train(dataset, tmp_path / "student", config=settings).path
    config = CertifyConfig(target=0.6, max_tokens=12)
    path = certify(student, dataset, tmp_path / "cascade", config=config).path
    opened = open_cascade(path)
    assert not opened.gate.needs_states
    assert opened.rule.certificate.method == method
    assert opened.rule.certificate.n == 90
    rows = list(open_artifact(path).rows("rows", CascadeRow))
    answered = [row for row in rows if row.route == "student"]
    assert np.mean([row.loss for row in answered]) < 0.4
    assert all(row.confidence is not None and 0 <= row.confidence <= 1 for row in answered)


def test_a_task_that_a_judge_grades_needs_grades(tmp_path: Path, tiny_folder: Path) -> None:
    task = Task(name="t", kind="text", grader="judge")
    prompts = [
        task_cases.prompt(f"p{n}", f"{TEXTS[n % 3]} ({n})", split="held_out" if n < 4 else "train")
        for n in range(24)
    ]
    completions = [task_cases.completion(one, "Fine.") for one in prompts]
    source = task_cases.collected(tmp_path / "completions", prompts, completions)
    dataset = curate(
        source, tmp_path / "dataset", config=CurateConfig(contamination="allow"), task=task
    ).path
    settings = TrainConfig(base=f"local:{tiny_folder}", objective="sft", epochs=1.0, batch_size=8)
    student = train(dataset, tmp_path / "student", config=settings).path
    with pytest.raises(ConfigError, match="--grades"):
        certify(student, dataset, tmp_path / "cascade", config=CertifyConfig())
