"""Sorted distributions of a live teacher with another tokenizer, place by place."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from on_policy_cases import completion_logits, gradients
from other_tokenizer import make_other_model
from test_train_resume import NEVER_S, assert_same_run, stop_at
from tiny_chain import losses_of, write_dataset

from stillhouse.artifacts import open_artifact
from stillhouse.chat import EncodedExample
from stillhouse.errors import ConfigError
from stillhouse.models import load_model
from stillhouse.train import TrainConfig, train
from stillhouse.train._lessons import Lesson
from stillhouse.train._live import open_any_teacher
from stillhouse.train._rows import TrainingRow, training_rows
from stillhouse.train._step import Stepper
from stillhouse.train._uld import SortedDistributions

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def specs(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, Path]:
    """Teacher, student and a dataset of the teacher's."""
    folder = tmp_path_factory.mktemp("uld")
    teacher, student = f"local:{tiny_folder}", f"local:{make_other_model(folder / 'other')}"
    write_dataset(folder / "dataset", teacher)
    return teacher, student, folder / "dataset"


def settings(specs: tuple[str, str, Path], **changes: Any) -> TrainConfig:
    given: dict[str, Any] = {
        "objective": "uld",
        "live": {"teachers": {"teacher": specs[0]}},
        "base": specs[1],
        "keep_layers": 2,
        "epochs": 4.0,
        "batch_size": 4,
        "learning_rate": 1e-2,
    }
    return TrainConfig(**{**given, **changes})


def rows_of(spec: str, dataset: Path) -> list[TrainingRow]:
    chat = load_model(spec.removeprefix("local:")).chat
    return list(training_rows(open_artifact(dataset), chat))


def test_a_step_is_that_of_a_naive_one(specs: tuple[str, str, Path]) -> None:
    teacher_spec, student_spec, dataset = specs
    theirs, ours = rows_of(teacher_spec, dataset), rows_of(student_spec, dataset)
    teacher, student = open_any_teacher(teacher_spec), load_model(student_spec[len("local:") :])
    guide = SortedDistributions(teacher, zip(theirs, ours, strict=True), weight=1.5)
    lessons = [Lesson(row.encoded) for row in ours[:5]]
    wanted = naive_gradient(
        teacher.model.network,
        student.network,
        [(one.encoded, other.encoded) for one, other in zip(theirs[:5], ours[:5], strict=True)],
    )
    stepper = Stepper(student.network, settings(specs, clip_norm=1e9), 10)
    stepper.optimizer.zero_grad(set_to_none=False)
    stepper.learn(0, [lessons[:2], lessons[2:]], guide)
    found = gradients(stepper.network)
    assert float((found - wanted).norm() / wanted.norm()) < 2e-4


def naive_gradient(
    teacher: Any, student: Any, texts: list[tuple[EncodedExample, EncodedExample]]
) -> torch.Tensor:
    """Text by text in float64, the shorter vocabulary and the shorter text filled with nothing."""
    teacher, student = deepcopy(teacher).double(), deepcopy(student).double()
    student.get_input_embeddings().padding_idx = None
    total = sum(len(ours.completion_ids) for _, ours in texts)
    loss = torch.zeros((), dtype=torch.float64)
    for theirs, ours in texts:
        p_TV = completion_logits(teacher, theirs).softmax(1).sort(1, descending=True).values
        logits_TV = completion_logits(student, ours)
        ids_T1 = torch.tensor(ours.completion_ids).unsqueeze(1)
        loss = loss - logits_TV.log_softmax(1).gather(1, ids_T1).sum() / total
        q_TV = logits_TV.softmax(1).sort(1, descending=True).values
        for p_V, q_V in zip(p_TV.detach(), q_TV, strict=False):  # to the end of the shorter one
            width = max(len(p_V), len(q_V))
            p_V, q_V = (torch.nn.functional.pad(one, (0, width - len(one))) for one in (p_V, q_V))
            loss = loss + 1.5 * (p_V - q_V).abs().sum() / total
    loss.backward()
    return gradients(student)


def test_a_stopped_run_ends_with_the_same_bits_and_has_learnt(
    specs: tuple[str, str, Path], tmp_path: Path
) -> None:
    config, dataset = settings(specs, epochs=8.0, checkpoint_s=NEVER_S), specs[2]
    train(dataset, tmp_path / "whole", config=config)
    losses = losses_of(tmp_path / "whole")
    assert sum(losses[-2:]) < 0.8 * sum(losses[:2])
    with pytest.raises(KeyboardInterrupt):
        train(dataset, tmp_path / "s", config=config, on_progress=stop_at(5, KeyboardInterrupt()))
    train(dataset, tmp_path / "s", config=config)
    assert_same_run(tmp_path / "s", tmp_path / "whole")


def test_teachers_of_other_tokens_are_for_this_objective_alone(
    specs: tuple[str, str, Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="diagnose compares with one teacher, and 0 are live"):
        train(specs[2], tmp_path / "s", config=settings(specs, diagnose={}))
    two = {"teachers": {"one": specs[0], "two": specs[0]}}
    with pytest.raises(ConfigError, match=r"uld asks one teacher, but live.teachers names 2"):
        train(specs[2], tmp_path / "s", config=settings(specs, live=two))
    with pytest.raises(ValueError, match="match compares hidden states"):
        settings(specs, match={})
