"""A step's parts: what is learnt does not depend on them, and what they save does."""

import itertools
from collections import Counter
from pathlib import Path

import pytest
import torch
from tiny_model import make_tiny_model

from stillhouse.chat import EncodedExample
from stillhouse.models import load_model
from stillhouse.train import TrainConfig
from stillhouse.train._guides import own_tokens
from stillhouse.train._lessons import Lesson
from stillhouse.train._parts import CPU_PART_TOKENS, parts_of
from stillhouse.train._ranks import ALONE, Ranks
from stillhouse.train._step import Stepper

torch.set_num_threads(1)

LENGTHS = (9, 30, 11, 29, 10, 31, 8, 28)


def lesson(length: int, *, follows: bool = False) -> Lesson:
    return Lesson(EncodedExample(ids=tuple(range(1, length + 1)), num_prompt=4), follows=follows)


LESSONS = [lesson(length) for length in LENGTHS]


def config(**changes: object) -> TrainConfig:
    return TrainConfig.model_validate({"objective": "sft", "learning_rate": 1e-2, **changes})


def test_parts_keep_their_budget_and_put_like_lengths_together() -> None:
    parts = parts_of(LESSONS, config(part_tokens=90), ALONE)
    assert [[len(one.example.ids) for one in part] for part in parts] == [
        [8, 9, 10, 11],
        [28, 29, 30],
        [31],
    ]
    assert Counter(map(id, itertools.chain(*parts))) == Counter(map(id, LESSONS))


def test_a_part_of_several_ranks_holds_a_budget_for_each() -> None:
    two = Ranks(rank=0, size=2, device=torch.device("cpu"))
    assert len(parts_of(LESSONS, config(part_tokens=120), two)) == 1
    assert len(parts_of(LESSONS, config(part_tokens=120), ALONE)) == 2


def test_without_a_budget_the_cpu_has_one_and_a_gpu_has_none() -> None:
    many = [lesson(100)] * 50
    gpu = Ranks(rank=0, size=1, device=torch.device("cuda"))
    assert len(parts_of(many, config(), gpu)) == 1
    parts = parts_of(many, config(), ALONE)
    assert max(len(part) for part in parts) == CPU_PART_TOKENS // 99


def test_lessons_that_belong_together_stay_together() -> None:
    pairs = [lesson(30), lesson(5, follows=True), lesson(6), lesson(29, follows=True)]
    parts = parts_of(pairs, config(part_tokens=60), ALONE)
    assert parts == [pairs[2:], pairs[:2]]


def test_accumulate_still_makes_so_many_parts() -> None:
    assert [len(part) for part in parts_of(LESSONS, config(accumulate=4), ALONE)] == [2] * 4


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"))


def trained(model_dir: Path, part_tokens: int) -> tuple[list[torch.Tensor], float, int]:
    settings = config(part_tokens=part_tokens)
    stepper = Stepper(load_model(model_dir).network, settings, num_steps=4)
    result = stepper.learn(0, parts_of(LESSONS, settings, ALONE), own_tokens)
    gradients = [p.grad.clone() for p in stepper.network.parameters() if p.grad is not None]
    return gradients, result.loss_nats, result.num_padded_tokens


def test_parts_change_padding_and_nothing_that_is_learnt(model_dir: Path) -> None:
    whole, whole_loss, whole_padded = trained(model_dir, 10_000)
    parts, parts_loss, parts_padded = trained(model_dir, 90)
    assert parts_loss == pytest.approx(whole_loss, rel=1e-6)
    for given, expected in zip(parts, whole, strict=True):
        torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-6)
    assert whole_padded == 8 * 30
    assert parts_padded == 4 * 10 + 3 * 29 + 30
