"""Texts that the student draws itself: what is drawn, kept, weighed, dropped and resumed."""

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
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
from tiny_chain import Chain, losses_of, metrics_of, settings
from tiny_model import END_OF_TURN_ID

from stillhouse.artifacts import open_artifact
from stillhouse.errors import ConfigError, DataError
from stillhouse.train import TrainConfig, train
from stillhouse.train._assemble import check_can_draw
from stillhouse.train._lessons import Lesson
from stillhouse.train._live import ScoredTokens, TeacherDistribution
from stillhouse.train._on_policy import Rollouts
from stillhouse.train._ranks import Ranks
from stillhouse.train._rollout_config import RolloutConfig
from stillhouse.train._rollouts import Draft, Rollout
from stillhouse.train._staleness import chosen_correction, prefix_factors

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def pair(chain: Chain) -> Pair:
    return make_pair(chain)


def first_batch(pair: Pair) -> list[int]:
    return dict(schedule_of(pair.texts).steps())[0]


def test_a_rollout_goes_on_from_the_prompt_and_knows_its_log_probabilities(pair: Pair) -> None:
    batch = first_batch(pair)
    for lesson, index in zip(rollouts_of(pair).lessons(0, batch), batch, strict=True):
        text = pair.texts[index]
        num_prompt = text.example.num_prompt
        assert lesson.example.num_prompt == num_prompt
        assert lesson.example.ids[:num_prompt] == text.example.ids[:num_prompt]
        assert lesson.group == text.group
        assert 1 <= lesson.num_tokens <= MAX_TOKENS
        logprobs = completion_logits(pair.student.network, lesson.example).log_softmax(1)
        own = logprobs.gather(1, torch.tensor(lesson.example.completion_ids).unsqueeze(1))
        assert lesson.behaviour_logprobs is not None
        assert lesson.behaviour_logprobs.tolist() == pytest.approx(
            own.squeeze(1).tolist(), abs=1e-4
        )


def test_what_is_drawn_is_a_function_of_step_example_and_weights(pair: Pair) -> None:
    batches = dict(schedule_of(pair.texts).steps())
    first, second = (rollouts_of(pair).lessons(0, batches[0]) for _ in range(2))
    assert [one.example for one in first] == [one.example for one in second]
    again = next(step for step in range(4, 8) if batches[0][0] in batches[step])
    later = rollouts_of(pair).lessons(again, batches[again])
    assert later[batches[again].index(batches[0][0])].example != first[0].example


def test_a_buffer_draws_once_for_its_steps_and_says_how_old_they_are(pair: Pair) -> None:
    source = rollouts_of(pair, refresh_steps=3)
    batches = dict(schedule_of(pair.texts).steps())
    ages = []
    for step in range(4):
        lessons = source.lessons(step, batches[step])
        assert {lesson.age_steps for lesson in lessons} == {step % 3}
        ages.append(source.metrics()["train/rollout_age_steps"])
    assert ages == [0, 1, 2, 0]


def test_a_prompt_that_comes_back_within_the_window_is_answered_once(pair: Pair) -> None:
    source = rollouts_of(pair, refresh_steps=8)  # two epochs of four steps
    batches = dict(schedule_of(pair.texts).steps())
    seen: dict[int, set[tuple[int, ...]]] = {}
    for step in range(8):
        for index, lesson in zip(batches[step], source.lessons(step, batches[step]), strict=True):
            seen.setdefault(index, set()).add(lesson.example.ids)
    assert len(seen) == len(pair.texts)
    assert all(len(texts) == 1 for texts in seen.values())


def test_a_buffer_comes_back_from_its_state(pair: Pair) -> None:
    batches = dict(schedule_of(pair.texts).steps())
    source = rollouts_of(pair, refresh_steps=4)
    source.lessons(0, batches[0])
    # Weights that have moved on: what is drawn now would be something else.
    other = rollouts_of(make_pair_with_noise(pair), refresh_steps=4)
    other.restore(source.state())
    for step in (1, 3):
        ours, theirs = source.lessons(step, batches[step]), other.lessons(step, batches[step])
        for one, two in zip(ours, theirs, strict=True):
            assert one.example == two.example
            assert np.array_equal(one.behaviour_logprobs, two.behaviour_logprobs)
            assert (one.weight, one.is_truncated) == (two.weight, two.is_truncated)


def make_pair_with_noise(pair: Pair) -> Pair:
    from copy import deepcopy

    student = replace(pair.student, network=deepcopy(pair.student.network))
    with torch.no_grad():
        for parameter in student.network.parameters():
            parameter.mul_(1.1)
    return replace(pair, student=student)


def test_rollouts_that_were_cut_weigh_less_and_are_counted(pair: Pair) -> None:
    source = rollouts_of(pair, max_tokens=3, truncated_weight=0.25)
    lessons = source.lessons(0, first_batch(pair))
    ends = pair.student.chat.end_of_turn_ids
    for lesson in lessons:
        is_cut = lesson.example.ids[-1] not in ends
        assert lesson.is_truncated == is_cut
        assert lesson.weight == (0.25 if is_cut else 1.0)
    share = sum(lesson.is_truncated for lesson in lessons) / 8
    assert source.metrics()["train/truncated_fraction"] == share > 0


def test_dropped_rollouts_leave_the_others_and_none_is_an_error(pair: Pair) -> None:
    def draw(drafts: Sequence[Draft]) -> list[Rollout]:
        texts = [(5, END_OF_TURN_ID) if draft.seed % 2 else (5, 6, 7) for draft in drafts]
        return [Rollout(ids, None, is_truncated=ids[-1] != END_OF_TURN_ID) for ids in texts]

    schedule = schedule_of(pair.texts)
    source = Rollouts(
        pair.texts, draw, schedule, RolloutConfig(truncated_weight=0.0), share=1.0, longest=256
    )
    kept = source.lessons(0, first_batch(pair))
    assert 0 < len(kept) < 8
    assert {lesson.example.completion_ids for lesson in kept} == {(5, END_OF_TURN_ID)}
    assert source.metrics()["train/truncated_fraction"] == 1 - len(kept) / 8
    with pytest.raises(DataError, match=r"all rollouts were cut at rollout.max_tokens=1"):
        rollouts_of(pair, truncated_weight=0.0, max_tokens=1).lessons(0, first_batch(pair))


def test_a_mixed_batch_has_its_share_of_rollouts(pair: Pair) -> None:
    source = rollouts_of(pair, share=0.3)
    shares = []
    for step, batch in schedule_of(pair.texts).steps():
        lessons = source.lessons(step, batch)
        own = [lesson.behaviour_logprobs is not None for lesson in lessons]
        assert sum(own) in (2, 3)  # 2.4 of 8, rounded by chance
        assert source.metrics()["train/rollout_fraction"] == sum(own) / 8
        for lesson, index, is_own in zip(lessons, batch, own, strict=True):
            assert is_own or lesson is pair.texts[index]
        shares.append(sum(own))
    assert 2.2 < sum(shares) / len(shares) < 2.7


# One step against plain float64 --------------------------------------------------------------


def reverse_kl(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    return (q.exp() * (q - p)).sum(1)


def forward_kl(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    return (p.exp() * (p - q)).sum(1)


def naive_gradient(pair: Pair, lessons: list[Lesson], loss_of: object) -> torch.Tensor:
    """The gradient of one step from whole logits, text by text, in float64."""
    from copy import deepcopy

    network = deepcopy(pair.student.network).double()
    network.zero_grad()
    # A module that knows a padding id gives that id no gradient, wherever it stands.
    network.get_input_embeddings().padding_idx = None
    teacher = deepcopy(pair.teacher.model.network).double()
    total = sum(lesson.weight * lesson.num_tokens for lesson in lessons)
    loss = torch.zeros((), dtype=torch.float64)
    for lesson in lessons:
        q_TV = completion_logits(network, lesson.example).log_softmax(1)
        p_TV = completion_logits(teacher, lesson.example).log_softmax(1).detach()
        loss = loss + lesson.weight * loss_of(p_TV, q_TV, lesson).sum() / total  # type: ignore[operator]
    loss.backward()
    return gradients(network)


def step_gradient(pair: Pair, config: TrainConfig, lessons: list[Lesson]) -> torch.Tensor:
    stepper = stepper_of(pair, config)
    stepper.optimizer.zero_grad(set_to_none=False)
    guide = (
        ScoredTokens(pair.teacher, future_discount=config.rollout.future_discount)
        if config.objective.startswith(("policy", "k2", "k3"))
        else TeacherDistribution(pair.teacher)
    )
    stepper.learn(0, [lessons[:3], lessons[3:]], guide)
    found = gradients(stepper.network)
    stepper.optimizer.zero_grad(set_to_none=False)
    return found


def assert_near(found: torch.Tensor, wanted: torch.Tensor) -> None:
    assert float((found - wanted).norm() / wanted.norm()) < 2e-4


def old_lessons(pair: Pair, *, age: int) -> list[Lesson]:
    """Rollouts whose sampler was a little off from the present student."""
    rng = np.random.default_rng(5)
    lessons = []
    for lesson in rollouts_of(pair, max_tokens=6).lessons(0, first_batch(pair)):
        assert lesson.behaviour_logprobs is not None
        noise = rng.normal(scale=0.4, size=lesson.num_tokens).astype(np.float32)
        logprobs = lesson.behaviour_logprobs + noise
        lessons.append(replace(lesson, behaviour_logprobs=logprobs, age_steps=age))
    return lessons


@pytest.mark.parametrize("name", ["forward_kl", "reverse_kl"])
def test_a_step_on_fresh_rollouts_is_that_of_a_naive_one(
    chain: Chain, pair: Pair, name: str
) -> None:
    divergence = {"forward_kl": forward_kl, "reverse_kl": reverse_kl}[name]
    lessons = rollouts_of(pair).lessons(0, first_batch(pair))
    config = live_settings(chain, objective=name, clip_norm=1e9)
    wanted = naive_gradient(pair, lessons, lambda p, q, lesson: divergence(p, q))
    assert_near(step_gradient(pair, config, lessons), wanted)


@pytest.mark.parametrize("correction", ["truncate", "gate"])
def test_older_rollouts_weigh_by_how_likely_their_prefix_has_become(
    chain: Chain, pair: Pair, correction: str
) -> None:
    lessons = old_lessons(pair, age=1)

    def corrected(p: torch.Tensor, q: torch.Tensor, lesson: Lesson) -> torch.Tensor:
        own = q.detach().gather(1, torch.tensor(lesson.example.completion_ids).unsqueeze(1))
        gains = own.squeeze(1) - torch.from_numpy(lesson.behaviour_logprobs).double()
        factors = []
        for position in range(lesson.num_tokens):
            ratio = math.exp(float(gains[:position].sum()))
            if correction == "truncate":
                factors.append(min(ratio, 1.5))
            else:
                factors.append(ratio if 1 / 1.5 <= ratio <= 1.5 else 0.0)
        return torch.tensor(factors, dtype=torch.float64) * reverse_kl(p, q)

    rollout = {"max_tokens": 6, "correction": correction, "max_ratio": 1.5, "refresh_steps": 2}
    config = live_settings(chain, rollout=rollout, clip_norm=1e9)
    wanted = naive_gradient(pair, lessons, corrected)
    assert_near(step_gradient(pair, config, lessons), wanted)
    plain = naive_gradient(pair, lessons, lambda p, q, lesson: reverse_kl(p, q))
    assert float((plain - wanted).norm() / wanted.norm()) > 0.05


def test_fresh_rollouts_and_forward_kl_need_no_correction(pair: Pair) -> None:
    fresh, old = old_lessons(pair, age=0), old_lessons(pair, age=1)
    logprob_N = torch.zeros(sum(lesson.num_tokens for lesson in fresh))
    assert prefix_factors(fresh, logprob_N, "truncate", 2.0).unique().tolist() == [1.0]
    assert prefix_factors(old, logprob_N, "truncate", 2.0).unique().tolist() == [1.0, 2.0]
    assert chosen_correction(RolloutConfig(), "forward_kl") == "none"
    assert chosen_correction(RolloutConfig(), "reverse_kl") == "truncate"
    assert chosen_correction(RolloutConfig(correction="gate"), "forward_kl") == "gate"
    assert chosen_correction(RolloutConfig(correction="gate"), "policy_gradient_gated") == "none"


@pytest.mark.parametrize("discount", [0.0, 0.7])
def test_a_policy_gradient_step_is_that_of_a_naive_one(
    chain: Chain, pair: Pair, discount: float
) -> None:
    lessons = old_lessons(pair, age=1)

    def policy_gradient(p: torch.Tensor, q: torch.Tensor, lesson: Lesson) -> torch.Tensor:
        ids = torch.tensor(lesson.example.completion_ids).unsqueeze(1)
        own, teacher = q.gather(1, ids).squeeze(1), p.gather(1, ids).squeeze(1)
        behaviour = torch.from_numpy(lesson.behaviour_logprobs).double()
        now = own.detach()
        if discount:
            gains = (teacher - behaviour).tolist()
            future = [
                sum(discount ** (s - t) * gains[s] for s in range(t, len(gains)))
                for t in range(len(gains))
            ]
            teacher = behaviour + torch.tensor(future, dtype=torch.float64)
        ratio = (now - behaviour).exp().clamp(max=2.0)
        return ratio * (now - teacher) * own

    rollout = {"max_tokens": 6, "future_discount": discount}
    config = live_settings(
        chain, objective="policy_gradient_truncated", rollout=rollout, clip_norm=1e9
    )
    wanted = naive_gradient(pair, lessons, policy_gradient)
    assert_near(step_gradient(pair, config, lessons), wanted)


# Whole runs ------------------------------------------------------------------------------------


def own_kl(student: Path) -> tuple[float, float]:
    """KL on the student's own rollouts before and after."""
    results = open_artifact(student).manifest.results
    name = "rollout_reverse_kl_nats"
    return results["diagnosis_before"][name], results["diagnosis_after"][name]


@pytest.mark.parametrize("objective", ["reverse_kl", "forward_kl", "policy_gradient_truncated"])
def test_on_policy_training_lowers_the_kl_on_the_students_own_texts(
    chain: Chain, tmp_path: Path, objective: str
) -> None:
    is_noisy = objective.startswith("policy")  # one drawn token says little about a distribution
    pace = {"epochs": 5.0}
    if is_noisy:
        pace = {"epochs": 30.0, "batch_size": 32, "learning_rate": 1e-3}
    config = live_settings(
        chain,
        objective=objective,
        **pace,
        diagnose={"every_steps": 100, "prompts": 16, "max_tokens": MAX_TOKENS},
    )
    train(chain.dataset, tmp_path / "s", config=config)
    before, after = own_kl(tmp_path / "s")
    assert after < (0.95 if is_noisy else 0.75) * before
    for line in metrics_of(tmp_path / "s"):
        assert line["train/rollout_fraction"] == 1.0
        assert 0.0 <= line["train/truncated_fraction"] <= 1.0
        assert line["time/rollouts_s"] > 0.0


def test_a_student_goes_on_from_an_earlier_one_and_says_so(
    chain: Chain, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    train(chain.dataset, first, config=settings(chain, objective="sft", epochs=0.5))
    with caplog.at_level(logging.WARNING):
        config = live_settings(chain, base=f"local:{first}", keep_layers=None, epochs=0.25)
        train(chain.dataset, second, config=config)
    assert not caplog.records
    manifest = open_artifact(second).manifest
    assert open_artifact(first).manifest_sha256 in {parent.sha256 for parent in manifest.parents}
    assert manifest.student is not None
    assert manifest.student.base == "first"
    assert manifest.config["teacher_revisions"].keys() == {chain.teacher}


def test_an_untrained_student_that_learns_from_itself_is_warned_of(
    chain: Chain, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        train(chain.dataset, tmp_path / "s", config=live_settings(chain, epochs=0.25))
    (record,) = caplog.records
    assert "has learnt nothing since: train it on source dataset first" in record.getMessage()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"live": None}, "no captured signal can know; set live.teachers"),
        ({"objective": "sft"}, "objective sft cannot learn from source rollouts"),
        (
            {"objective": "k2_reverse_kl_gradient", "rollout": {"refresh_steps": 2}},
            "right on fresh rollouts only",
        ),
        ({"rollout": {"future_discount": 0.5}}, "is for policy gradients, not for reverse_kl"),
        ({"rollout": {"temperature": 0.7}}, "temperature"),
        ({"rollout": {"top_p": 0.9}}, "top_p"),
    ],
)
def test_rollouts_that_would_teach_something_else_are_refused(
    chain: Chain, change: dict[str, object], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        live_settings(chain, **change)


def test_several_processes_cannot_share_a_student_that_draws(chain: Chain) -> None:
    ranks = Ranks(rank=0, size=2, device=torch.device("cpu"))
    check_can_draw(settings(chain), ranks)
    with pytest.raises(ConfigError, match="runs in one process on the CPU, and this is 2 on cpu"):
        check_can_draw(live_settings(chain), ranks)


def test_training_on_policy_twice_gives_the_same_losses(chain: Chain, tmp_path: Path) -> None:
    config = live_settings(chain, rollout={"max_tokens": MAX_TOKENS, "refresh_steps": 2})
    for name in ("one", "two"):
        train(chain.dataset, tmp_path / name, config=config)
    assert losses_of(tmp_path / "one") == losses_of(tmp_path / "two")
