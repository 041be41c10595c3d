"""DistiLLM-2 in training: both authors' texts, their weights and their skews."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from loss_cases import DIVERGENCES
from on_policy_cases import (
    MAX_TOKENS,
    Pair,
    completion_logits,
    gradients,
    live_settings,
    make_pair,
    rollouts_of,
    schedule_of,
    stepper_of,
)
from tiny_chain import Chain, metrics_of
from torch import Tensor

from stillhouse.train import ContrastConfig, TrainConfig, train
from stillhouse.train._contrast import (
    ContrastedTexts,
    ContrastLesson,
    ContrastPairs,
)

torch.set_num_threads(1)

STEPS = 40  # of `schedule_of`


@pytest.fixture(scope="module")
def pair(chain: Chain) -> Pair:
    return make_pair(chain)


def settings_of(chain: Chain, **changes: Any) -> TrainConfig:
    return live_settings(chain, source="pairs", objective="distillm2", **changes)


def lessons_of(pair: Pair, step: int = 0) -> list[ContrastLesson]:
    schedule = schedule_of(pair.texts)
    batch = dict(schedule.steps())[step]
    source = ContrastPairs(pair.texts, rollouts_of(pair), schedule, ContrastConfig())
    lessons = source.lessons(step, batch)
    assert all(isinstance(one, ContrastLesson) for one in lessons)
    return lessons  # type: ignore[return-value]


def test_each_prompt_has_a_text_of_both_authors(pair: Pair) -> None:
    lessons = lessons_of(pair)
    assert [one.is_teacher_text for one in lessons] == [True] * 8 + [False] * 8
    for text, rollout in zip(lessons[:8], lessons[8:], strict=True):
        prompt = text.example.ids[: text.example.num_prompt]
        assert rollout.example.ids[: rollout.example.num_prompt] == prompt
        assert (text.behaviour_logprobs is None, rollout.behaviour_logprobs is None) == (
            True,
            False,
        )


def test_the_weight_moves_to_the_students_texts_over_the_run(pair: Pair) -> None:
    assert schedule_of(pair.texts).num_steps == STEPS
    for step, wanted in ((0, 1.0), (13, 1.0 + 0.5 * 13 / 39), (39, 1.5)):
        (found,) = {one.student_weight for one in lessons_of(pair, step)}
        assert found == pytest.approx(wanted)


def naive_gradient(
    pair: Pair, lessons: list[ContrastLesson], means: tuple[float, float]
) -> tuple[Tensor, list[float]]:
    """The gradient of a step and the gaps of its texts, text by text, in float64."""
    student, teacher = (
        deepcopy(one).double() for one in (pair.student.network, pair.teacher.model.network)
    )
    student.zero_grad()
    student.get_input_embeddings().padding_idx = None
    total = sum(one.weight * one.num_tokens for one in lessons)
    loss, gaps = torch.zeros((), dtype=torch.float64), []
    for one in lessons:
        p_TV = completion_logits(teacher, one.example).softmax(1).detach()
        q_TV = completion_logits(student, one.example).softmax(1)
        ids_T1 = torch.tensor(one.example.completion_ids).unsqueeze(1)
        p, q = (float(x.detach().gather(1, ids_T1).log().mean().exp()) for x in (p_TV, q_TV))
        gap, mean = (p - q, means[0]) if one.is_teacher_text else (q - p, means[1])
        gaps.append(gap)
        skew = 0.1 if gap <= 0 else min(max(1 - 0.9 * mean / gap, 0.01), 0.1)
        name = "skew_kl" if one.is_teacher_text else "skew_reverse_kl"
        factor = 2 - one.student_weight if one.is_teacher_text else one.student_weight
        loss = loss + factor * one.weight * DIVERGENCES[name](p_TV, q_TV, skew=skew).sum() / total
    loss.backward()
    return gradients(student), gaps


def test_two_steps_are_those_of_a_naive_one(chain: Chain, pair: Pair) -> None:
    stepper = stepper_of(pair, settings_of(chain, clip_norm=1e9))
    guide, means = ContrastedTexts(pair.teacher, ContrastConfig()), (0.0, 0.0)
    for step in (0, 30):
        lessons = lessons_of(pair, step)
        stepper.optimizer.zero_grad(set_to_none=False)
        stepper.learn(step, [lessons[:5], lessons[5:]], guide)
        found = gradients(stepper.network)
        guide.update(step)
        wanted, gaps = naive_gradient(pair, lessons, means)
        assert float((found - wanted).norm() / wanted.norm()) < 2e-4
        if step == 0:  # nothing was dropped from it yet, so these are plain means
            means = (sum(gaps[:8]) / 8, sum(gaps[8:]) / 8)
            measured = guide.metrics()
            assert measured["train/teacher_text_gap"] == pytest.approx(means[0], rel=1e-4)
            assert measured["train/student_text_gap"] == pytest.approx(means[1], rel=1e-4)
    stepper.optimizer.zero_grad(set_to_none=False)


def test_a_student_learns_from_both(chain: Chain, tmp_path: Path) -> None:
    config = settings_of(chain, epochs=8.0, rollout={"max_tokens": MAX_TOKENS})
    train(chain.dataset, tmp_path / "s", config=config)
    metrics = metrics_of(tmp_path / "s")
    losses = [line["train/loss_nats"] for line in metrics]
    assert sum(losses[-8:]) < 0.7 * sum(losses[:8])
    assert metrics[0]["train/student_text_weight"] == 1.0
    assert metrics[-1]["train/student_text_weight"] == 1.5
