"""Learning from a teacher's text alone: preferences, a discriminator, several answers a prompt."""

import copy
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from test_train_resume import (
    KILL_EPOCHS,
    NEVER_S,
    assert_same_run,
    interrupted_at,
    kill_at,
    learn,
    saved_steps,
    start_child,
)
from tiny_chain import Chain, metrics_of, settings
from torch import Tensor
from torch.nn.modules.module import register_module_forward_pre_hook

from stillhouse.artifacts import open_artifact
from stillhouse.chat import EncodedExample
from stillhouse.errors import ConfigError, DataError
from stillhouse.models import LanguageModel, load_model
from stillhouse.train import AdversarialConfig, PreferenceConfig, TrainConfig
from stillhouse.train._adversarial import RatedRollouts, advantages, advantages_of
from stillhouse.train._batches import Schedule
from stillhouse.train._black_box import weigh_prompts_alike
from stillhouse.train._discriminator import Contest, Discriminator, Ratings
from stillhouse.train._lessons import Lesson, units_of
from stillhouse.train._on_policy import Rollouts
from stillhouse.train._preference import PairedLesson, PreferencePairs, Reference, TeacherPreferred
from stillhouse.train._rollout_config import RolloutConfig
from stillhouse.train._rollouts import StudentDrawer
from stillhouse.train._rows import training_rows
from stillhouse.train._step import Stepper

torch.set_num_threads(1)

METHODS = {"preference": "pairs", "adversarial": "rated"}
NUM_IDS = 400


def method(chain: Chain, objective: str, **changes: object) -> TrainConfig:
    """A quick run: for `adversarial` an epoch of warm-up and one that counts."""
    given = {
        "objective": objective,
        "source": METHODS[objective],
        "rollout": RolloutConfig(max_tokens=6),
        "adversarial": AdversarialConfig(samples=2, learning_rate=1e-3),
    }
    return settings(chain, **{**given, **changes})


def student_of(chain: Chain) -> LanguageModel:
    return load_model(chain.model_dir)


def texts_of(chain: Chain) -> list[Lesson]:
    chat = load_model(chain.model_dir).chat
    return [Lesson(row.encoded) for row in training_rows(open_artifact(chain.dataset), chat)]


def schedule_of(texts: Sequence[Lesson], epochs: float = 2.0) -> Schedule:
    lengths = [len(text.example.ids) for text in texts]
    return Schedule(lengths=lengths, batch_size=8, epochs=epochs, seed=0)


def pairs_source(chain: Chain, model: LanguageModel, **rollout: object) -> PreferencePairs:
    texts = texts_of(chain)
    return PreferencePairs(
        texts,
        StudentDrawer(model, num_ids=NUM_IDS),
        Reference(copy.deepcopy(model.network)),
        schedule_of(texts),
        RolloutConfig(**{"max_tokens": 6, **rollout}),
        longest=256,
    )


def dense_logprob(network: torch.nn.Module, example: EncodedExample) -> Tensor:
    """Of a whole completion, by the plain forward pass of transformers."""
    ids = torch.tensor([example.ids])
    logprobs_TV = torch.log_softmax(network(input_ids=ids).logits[0], dim=1)
    learnt = range(example.num_prompt, len(example.ids))
    return torch.stack([logprobs_TV[at - 1, example.ids[at]] for at in learnt]).sum()


@pytest.mark.parametrize("is_length_normalized", [False, True])
def test_the_gradient_of_a_preference_is_that_of_a_dense_float64_one(
    chain: Chain, is_length_normalized: bool
) -> None:
    model = student_of(chain)
    lessons = pairs_source(chain, model, truncated_weight=0.25).lessons(0, [0, 3, 5])
    reference = copy.deepcopy(model.network).double()
    plain = copy.deepcopy(model.network).double()
    plain.get_input_embeddings().padding_idx = None
    preference = PreferenceConfig(strength=0.4, is_length_normalized=is_length_normalized)
    config = method(chain, "preference", clip_norm=1e9)
    # Away from the reference, so that no gain is zero.
    with torch.no_grad():
        for network in (model.network, plain):
            network.model.norm.weight.mul_(1.1)

    losses, weights = [], []
    for chosen, rejected in units_of(lessons):
        gains = []
        for lesson in (chosen, rejected):
            with torch.no_grad():
                before = dense_logprob(reference, lesson.example)
            gain = dense_logprob(plain, lesson.example) - before
            gains.append(gain / (lesson.num_tokens if is_length_normalized else 1))
        losses.append(-F.logsigmoid(0.4 * (gains[0] - gains[1])))
        weights.append(0.25 if rejected.is_truncated else 1.0)
    weight = torch.tensor(weights, dtype=torch.float64)
    loss = (torch.stack(losses) * weight).sum() / weight.sum()
    loss.backward()

    stepper = Stepper(model.network, config, 8)
    result = stepper.learn(0, [lessons], TeacherPreferred(preference))
    assert result.loss_nats == pytest.approx(loss.item(), rel=1e-5)
    expected = dict(plain.named_parameters())
    for name, parameter in stepper.network.named_parameters():
        wanted = expected[name].grad
        assert parameter.grad is not None
        assert wanted is not None
        error = (parameter.grad.double() - wanted).norm() / wanted.norm()
        assert error < 1e-4, name


def test_a_preference_in_parts_is_that_of_the_whole_batch(chain: Chain, tmp_path: Path) -> None:
    whole = learn(chain, tmp_path / "whole", method(chain, "preference", epochs=0.5))
    parts = learn(chain, tmp_path / "parts", method(chain, "preference", epochs=0.5, accumulate=3))
    for one, other in zip(metrics_of(whole), metrics_of(parts), strict=True):
        assert one["train/loss_nats"] == pytest.approx(other["train/loss_nats"], rel=1e-4)


def test_a_student_that_has_learnt_nothing_prefers_neither(chain: Chain, tmp_path: Path) -> None:
    student = learn(chain, tmp_path / "s", method(chain, "preference", epochs=2.0))
    losses = [line["train/loss_nats"] for line in metrics_of(student)]
    assert losses[0] == pytest.approx(0.6931, abs=1e-4)
    assert sum(losses[-3:]) / 3 < 0.5


def test_a_text_gets_the_same_reference_in_every_batch(chain: Chain) -> None:
    model = student_of(chain)
    first = pairs_source(chain, model, refresh_steps=100)
    again = pairs_source(chain, model, refresh_steps=100)
    (alone, *_) = first.lessons(0, [4])
    together = again.lessons(0, [7, 1, 4])
    assert isinstance(alone, PairedLesson)
    assert alone.reference_logprob == together[4].reference_logprob  # type: ignore[attr-defined]
    assert alone.example == together[4].example


def test_pairs_whose_rollouts_were_cut_can_be_dropped(chain: Chain) -> None:
    source = pairs_source(chain, student_of(chain), truncated_weight=0.0, max_tokens=1)
    with pytest.raises(DataError, match=r"all rollouts were cut at rollout.max_tokens=1"):
        source.lessons(0, [0, 1])


def contest_of(chain: Chain) -> Contest:
    """The teacher's texts against those of another prompt."""
    examples = [text.example for text in texts_of(chain)][:16]
    others = examples[1:] + examples[:1]
    mixed = [
        EncodedExample(
            (*one.ids[: one.num_prompt], *reversed(other.completion_ids)), one.num_prompt
        )
        for one, other in zip(examples, others, strict=True)
    ]
    return Contest(examples, mixed)


def test_a_discriminator_learns_to_tell_two_texts_apart(chain: Chain) -> None:
    contest = contest_of(chain)
    discriminator = Discriminator(student_of(chain).network, learning_rate=3e-3, clip_norm=1.0)
    ratings = [learnt(discriminator, contest) for _ in range(40)]
    assert ratings[0].loss_nats == pytest.approx(0.6931, abs=1e-4)
    assert ratings[-1].loss_nats < 0.1
    assert ratings[-1].accuracy == 1.0


def learnt(discriminator: Discriminator, contest: Contest) -> Ratings:
    ratings = discriminator.learn(contest)
    discriminator.update()
    return ratings


def test_a_rating_does_not_depend_on_the_texts_beside_it(chain: Chain) -> None:
    contest = contest_of(chain)
    discriminator = Discriminator(student_of(chain).network, learning_rate=3e-3, clip_norm=1.0)
    learnt(discriminator, contest)
    with torch.no_grad():
        together = discriminator.rate(contest.teacher)
        alone = torch.cat([discriminator.rate([one]) for one in contest.teacher])
    assert torch.allclose(together, alone, atol=1e-5)


def test_a_discriminator_goes_on_where_its_state_was_taken(chain: Chain) -> None:
    contest = contest_of(chain)
    network = student_of(chain).network
    first = Discriminator(network, learning_rate=3e-3, clip_norm=1.0)
    learnt(first, contest)
    second = Discriminator(network, learning_rate=3e-3, clip_norm=1.0)
    second.restore({name: one.clone() for name, one in first.state().items()})
    for _ in range(2):
        assert learnt(first, contest).loss_nats == learnt(second, contest).loss_nats


def test_advantages_compare_the_texts_of_one_prompt() -> None:
    advantage_PG = advantages_of(torch.tensor([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]]))
    assert advantage_PG[0].tolist() == pytest.approx([-1.0, 0.0, 1.0], abs=1e-3)
    assert advantage_PG[1].tolist() == [0.0, 0.0, 0.0]


class FixedTaste(Discriminator):
    """Likes texts of many different tokens with small ids, and never changes its mind."""

    def learn(self, contest: Contest) -> Ratings:
        teacher = torch.tensor([self.taste(one) for one in contest.teacher])
        student = torch.tensor([self.taste(one) for one in contest.student])
        return Ratings(teacher, student.reshape(len(teacher), -1), 0.0)

    def update(self) -> None:
        pass

    @staticmethod
    def taste(example: EncodedExample) -> float:
        ids = example.completion_ids
        return sum(one < 100 for one in ids) / len(ids)


def test_the_policy_gradient_raises_the_rating(chain: Chain) -> None:
    model = student_of(chain)
    texts = texts_of(chain)
    source = RatedRollouts(
        texts,
        StudentDrawer(model, num_ids=NUM_IDS),
        FixedTaste(model.network, learning_rate=1e-3, clip_norm=1.0),
        schedule_of(texts, epochs=3.0),
        AdversarialConfig(samples=4, warmup_epochs=0.0),
        RolloutConfig(max_tokens=6, truncated_weight=1.0),
        longest=256,
    )
    config = method(chain, "adversarial", learning_rate=3e-2, warmup_fraction=0.0)
    stepper = Stepper(model.network, config, 12)
    ratings = []
    for step, batch in schedule_of(texts, epochs=3.0).steps():
        stepper.learn(step, [source.lessons(step, batch)], advantages)
        stepper.update(step)
        ratings.append(source.metrics()["train/rating_student"])
    assert sum(ratings[-2:]) / 2 > sum(ratings[:2]) / 2 + 0.4


def test_both_warm_up_before_the_ratings_count(chain: Chain, tmp_path: Path) -> None:
    eager = AdversarialConfig(samples=2, learning_rate=1e-2)
    config = method(chain, "adversarial", epochs=3.0, learning_rate=5e-3, adversarial=eager)
    student = learn(chain, tmp_path / "s", config)
    metrics = metrics_of(student)
    text_tokens = sum(text.num_tokens for text in texts_of(chain))
    assert sum(line["train/tokens"] for line in metrics[:4]) == text_tokens
    assert all(line["train/tokens"] <= 8 * 2 * 6 for line in metrics[4:])
    assert metrics[0]["train/discriminator_loss_nats"] == pytest.approx(0.6931, abs=1e-4)
    assert metrics[-1]["train/discriminator_loss_nats"] < 0.6
    assert metrics[-1]["train/rating_teacher"] > metrics[-1]["train/rating_student"]


def test_a_run_that_ends_within_its_warm_up_is_refused(chain: Chain, tmp_path: Path) -> None:
    config = method(chain, "adversarial", epochs=1.0)
    with pytest.raises(ConfigError, match="warmup_epochs=1 leaves nothing of epochs=1"):
        learn(chain, tmp_path / "s", config)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("objective", METHODS)
def test_an_objective_without_its_source_is_refused(chain: Chain, objective: str) -> None:
    with pytest.raises(ValueError, match=f"use {METHODS[objective]}"):
        method(chain, objective, source="dataset")


def test_prompts_with_many_answers_count_as_much_as_others() -> None:
    def text(prompt: int, answer: int) -> Lesson:
        return Lesson(EncodedExample((prompt, answer, 2), 1))

    texts = [text(5, 7), text(6, 7), text(5, 8), text(5, 9), text(5, 7)]
    assert [one.weight for one in weigh_prompts_alike(texts)] == [0.25, 1.0, 0.25, 0.25, 0.25]


def test_rollouts_count_as_much_as_the_text_whose_prompt_they_answer(chain: Chain) -> None:
    model = student_of(chain)
    first, *others = texts_of(chain)
    texts = [replace(first, weight=0.25), *others]
    draw, schedule = StudentDrawer(model, num_ids=NUM_IDS), schedule_of(texts)
    rollout = RolloutConfig(max_tokens=6, truncated_weight=1.0)
    drawn = Rollouts(texts, draw, schedule, rollout, share=1.0, longest=256)
    assert [one.weight for one in drawn.lessons(0, [0, 1])] == [0.25, 1.0]
    rated = RatedRollouts(
        texts,
        draw,
        FixedTaste(model.network, learning_rate=1e-3, clip_norm=1.0),
        schedule,
        AdversarialConfig(samples=2, warmup_epochs=0.0),
        rollout,
        longest=256,
    )
    assert [one.weight for one in rated.lessons(0, [0, 1])] == [0.25, 0.25, 1.0, 1.0]


@pytest.fixture(scope="module", params=METHODS)
def objective(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Whole(NamedTuple):
    """An uninterrupted run of eight steps, and the forward passes of its modules."""

    student: Path
    num_passes: int


@pytest.fixture(scope="module")
def whole(chain: Chain, objective: str, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    num_passes = 0

    def count(*args: object) -> None:
        nonlocal num_passes
        num_passes += 1

    handle = register_module_forward_pre_hook(count)
    try:
        out = tmp_path_factory.mktemp("whole") / objective
        return Whole(learn(chain, out, method(chain, objective)), num_passes)
    finally:
        handle.remove()


def test_training_twice_gives_the_same_bits(
    chain: Chain, objective: str, whole: Whole, tmp_path: Path
) -> None:
    assert_same_run(learn(chain, tmp_path / "s", method(chain, objective)), whole.student)


@pytest.mark.parametrize("share", [0.45, 0.8, 0.95])
def test_ctrl_c_in_a_forward_pass_changes_nothing(
    chain: Chain, objective: str, whole: Whole, tmp_path: Path, share: float
) -> None:
    config = method(chain, objective, checkpoint_s=NEVER_S)
    with interrupted_at(int(whole.num_passes * share), register_module_forward_pre_hook):
        learn(chain, tmp_path / "s", config)
    assert saved_steps(tmp_path / "s")
    assert_same_run(learn(chain, tmp_path / "s", config), whole.student)


def test_a_killed_process_loses_nothing_but_time(
    chain: Chain, objective: str, tmp_path: Path
) -> None:
    config = method(chain, objective, epochs=KILL_EPOCHS / 2, checkpoint_s=0.0)
    whole = learn(chain, tmp_path / "whole", config)
    out = tmp_path / "s"
    moment = random.Random(objective).randint(4, 10)
    kill_at(start_child(chain, out, config), out, moment)
    assert saved_steps(out)
    assert_same_run(learn(chain, out, config), whole)
