"""Teachers that are asked in every step: one, several, and those that cannot be."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from on_policy_cases import (
    Pair,
    completion_logits,
    gradients,
    live_settings,
    make_pair,
    stepper_of,
)
from tiny_chain import Chain, are_same_weights, losses_of, settings
from tiny_model import VOCABULARY_SIZE, make_tiny_model

from stillhouse.errors import ConfigError, ShapeError, VocabularyMismatchError
from stillhouse.losses import Head, HiddenTarget, MixtureTarget, Objective, head_loss_and_grad
from stillhouse.models import load_model, output_head, predicting_batch, predicting_hidden_states
from stillhouse.train import TrainConfig, train
from stillhouse.train._lessons import Lesson
from stillhouse.train._live import (
    AveragedTeachers,
    LiveTeacher,
    RoutedTeachers,
    ScoredTokens,
    TeacherDistribution,
    discounted_sum,
    open_live_teacher,
)

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def pair(chain: Chain) -> Pair:
    return make_pair(chain)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> LiveTeacher:
    """A second teacher of another seed."""
    folder = make_tiny_model(tmp_path_factory.mktemp("other"), seed=1)
    return LiveTeacher(load_model(folder), VOCABULARY_SIZE)


def logits_of(teacher: LiveTeacher, lessons: list[Lesson]) -> torch.Tensor:
    """The teacher's logits from its own whole forward pass, text by text, in float64."""
    network = teacher.model.network
    return torch.cat([completion_logits(network, one.example) for one in lessons]).detach()


def target_of(guide: Any, lessons: list[Lesson]) -> Any:
    return guide(lessons, predicting_batch([one.example for one in lessons]))


def test_a_live_teacher_gives_its_own_distribution_at_every_completion_token(pair: Pair) -> None:
    lessons = pair.texts[:5]
    target = target_of(TeacherDistribution(pair.teacher), lessons)
    wanted = logits_of(pair.teacher, lessons)
    torch.testing.assert_close(target.teacher_logits_CV().double(), wanted, atol=1e-4, rtol=1e-4)


def test_averaged_teachers_are_the_weighted_mean_of_probabilities(
    pair: Pair, other: LiveTeacher
) -> None:
    lessons = pair.texts[:5]
    guide = AveragedTeachers({"a": pair.teacher, "b": other}, {"a": 1.0, "b": 3.0})
    found = target_of(guide, lessons).teacher_logits_CV().double().softmax(1)
    a, b = (logits_of(one, lessons).softmax(1) for one in (pair.teacher, other))
    torch.testing.assert_close(found, 0.25 * a + 0.75 * b, atol=1e-6, rtol=1e-4)


def test_each_lesson_is_routed_to_the_teacher_of_its_group(pair: Pair, other: LiveTeacher) -> None:
    groups = ["x", "y", "y", "x", "x"]
    lessons = [replace(text, group=group) for text, group in zip(pair.texts, groups, strict=False)]
    guide = RoutedTeachers({"a": pair.teacher, "b": other}, {"x": "a", "y": "b"})
    found = target_of(guide, lessons).teacher_logits_CV().double().softmax(1)
    wanted = torch.cat(
        [
            logits_of(pair.teacher if group == "x" else other, [lesson])
            for lesson, group in zip(lessons, groups, strict=True)
        ]
    ).softmax(1)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-4)


def test_a_tile_of_a_mixture_is_its_rows(pair: Pair, other: LiveTeacher) -> None:
    guide = AveragedTeachers({"a": pair.teacher, "b": other}, {"a": 1.0, "b": 1.0})
    target = target_of(guide, pair.texts[:3])
    whole = target.teacher_logits_CV()
    torch.testing.assert_close(target.rows(4, 9).teacher_logits_CV(), whole[4:9])


@pytest.mark.parametrize("objective", ["forward_kl", "reverse_kl", "generalized_jsd"])
def test_a_mixture_in_tiles_equals_a_dense_float64_loss(
    pair: Pair, other: LiveTeacher, objective: str
) -> None:
    from loss_cases import logits as random_logits

    generator = torch.Generator().manual_seed(3)
    hidden_ND = torch.randn(150, 8, generator=generator, dtype=torch.float64)
    weight_VD = torch.randn(70, 8, generator=generator, dtype=torch.float64)
    teachers = tuple(
        HiddenTarget(
            torch.randn(150, 6, generator=generator, dtype=torch.float64),
            torch.randn(70, 6, generator=generator, dtype=torch.float64),
        )
        for _ in range(2)
    )
    weights_NM = random_logits(150, 2, seed=1).softmax(1)
    weights_NM[:20] = torch.tensor([1.0, 0.0])
    weight_N = torch.full((150,), 1 / 150, dtype=torch.float64)
    loss_N, grad_ND = head_loss_and_grad(
        hidden_ND,
        Head(weight_VD),
        MixtureTarget(weights_NM, teachers),
        Objective(objective),
        weight_N=weight_N,
    )
    p_NV = sum(
        weights_NM[:, m : m + 1] * (one.hidden_NE @ one.head_VE.T).softmax(1)
        for m, one in enumerate(teachers)
    )
    hidden = hidden_ND.clone().requires_grad_()
    q_NV = (hidden @ weight_VD.T).softmax(1)
    wanted_N = dense_loss(objective, p_NV, q_NV)
    (wanted_N * weight_N).sum().backward()
    torch.testing.assert_close(loss_N, wanted_N.detach(), atol=1e-9, rtol=1e-6)
    torch.testing.assert_close(grad_ND, hidden.grad, atol=1e-9, rtol=1e-6)


def dense_loss(objective: str, p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    def kl(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a * (a / b).log()).sum(1)

    if objective == "generalized_jsd":
        m = 0.5 * (p + q)
        return 0.5 * kl(p, m) + 0.5 * kl(q, m)
    return kl(p, q) if objective == "forward_kl" else kl(q, p)


def test_mixtures_whose_parts_do_not_fit_are_refused(pair: Pair) -> None:
    target = HiddenTarget(torch.zeros(3, 2), torch.zeros(5, 2))
    with pytest.raises(ShapeError, match="a column each"):
        MixtureTarget(torch.ones(3, 2), (target,))
    with pytest.raises(ShapeError, match="a column each"):
        MixtureTarget(
            torch.ones(3, 2), (target, HiddenTarget(torch.zeros(3, 2), torch.zeros(6, 2)))
        )


def test_scores_are_the_log_probabilities_of_teacher_and_sampler(pair: Pair) -> None:
    lessons = [
        replace(text, behaviour_logprobs=np.full(text.num_tokens, -2.0, dtype=np.float32))
        for text in pair.texts[:3]
    ]
    target = target_of(ScoredTokens(pair.teacher), lessons)
    logprobs_NV = logits_of(pair.teacher, lessons).log_softmax(1)
    wanted = logprobs_NV.gather(1, target.ids_N.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(target.teacher_logprob_N.double(), wanted, atol=1e-5, rtol=1e-5)
    assert target.behaviour_logprob_N.unique().tolist() == [-2.0]
    with_future = target_of(ScoredTokens(pair.teacher, future_discount=0.5), lessons)
    first = lessons[0].num_tokens
    gains = (wanted[:first] + 2.0).tolist()
    by_hand = [sum(0.5 ** (s - t) * gains[s] for s in range(t, first)) - 2.0 for t in range(first)]
    assert with_future.teacher_logprob_N[:first].tolist() == pytest.approx(by_hand, abs=1e-4)


def test_a_discounted_sum_of_one_number_is_that_number() -> None:
    assert discounted_sum(torch.tensor([3.0]), 0.9).tolist() == [3.0]
    assert discounted_sum(torch.tensor([1.0, 2.0, 4.0]), 0.5).tolist() == [3.0, 4.0, 4.0]


def test_a_longer_vocabulary_of_either_side_gets_no_probability(chain: Chain) -> None:
    config = settings(chain, objective="forward_kl", live={"teachers": {"teacher": chain.teacher}})
    whole, cut = (make_pair(chain, num_ids=number) for number in (VOCABULARY_SIZE, 350))
    lessons = [whole.texts[:4]]
    losses = []
    for pair in (whole, cut):
        stepper = stepper_of(pair, config)
        losses.append(stepper.learn(0, lessons, TeacherDistribution(pair.teacher)).loss_nats)
    head_grad = output_head(cut.student.network).grad
    assert head_grad is not None
    hidden = predicting_hidden_states(
        cut.student.network, predicting_batch([one.example for one in lessons[0]])
    ).double()
    q = (hidden @ output_head(cut.student.network).double().T)[:, :350].log_softmax(1)
    p = logits_of(cut.teacher, lessons[0])[:, :350].log_softmax(1)
    wanted = float((p.exp() * (p - q.detach())).sum(1).mean())
    assert losses[1] == pytest.approx(wanted, rel=1e-5)
    assert losses[0] != pytest.approx(wanted, rel=1e-3)


def test_a_teacher_that_reads_text_otherwise_is_refused(
    chain: Chain, pair: Pair, tmp_path: Path
) -> None:
    folder = make_tiny_model(tmp_path / "m")
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("assistant", "helper"))
    with pytest.raises(VocabularyMismatchError, match="another chat template than the student"):
        open_live_teacher(f"local:{folder}", pair.student.chat, num_student_ids=VOCABULARY_SIZE)


@pytest.mark.parametrize(
    ("live", "says"),
    [
        ({"teachers": {"a": "openai:gpt"}}, "only local: teachers can"),
        ({"teachers": {}}, "at least 1"),
        ({"weights": {"b": 1.0}}, "weights names 'b'; the teachers are teacher"),
        ({"routes": {"g": "b"}}, "routes names 'b'"),
        ({"weights": {"teacher": -1.0}}, "weights must be positive"),
        ({"weights": {"teacher": 1.0}, "routes": {"g": "teacher"}}, "average teachers or route"),
    ],
)
def test_wrong_settings_of_teachers_are_refused(live: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        TrainConfig.model_validate({"live": live})


def test_a_group_without_a_teacher_is_refused_before_anything_is_written(
    chain: Chain, tmp_path: Path
) -> None:
    live = {"teachers": {"a": chain.teacher}, "routes": {"subject 0": "a"}}
    with pytest.raises(ConfigError, match=r"has no teacher; live.routes names subject 0"):
        train(chain.dataset, tmp_path / "s", config=settings(chain, live=live))
    assert not (tmp_path / "s").exists()


def test_two_teachers_are_refused_where_one_is_asked(chain: Chain, tmp_path: Path) -> None:
    live = {"teachers": {"a": chain.teacher, "b": chain.teacher}}
    for change in ({"source": "speculative"}, {"objective": "policy_gradient_gated"}):
        config = live_settings(chain, live=live, **change)
        with pytest.raises(ConfigError, match=r"asks one teacher, but live.teachers names 2"):
            train(chain.dataset, tmp_path / "s", config=config)


def test_the_same_teacher_twice_trains_the_same_student(chain: Chain, tmp_path: Path) -> None:
    one = {"teachers": {"a": chain.teacher}}
    two = {"teachers": {"a": chain.teacher, "b": chain.teacher}}
    for name, live in (("one", one), ("two", two)):
        train(chain.dataset, tmp_path / name, config=settings(chain, live=live, epochs=0.5))
    assert losses_of(tmp_path / "one") == pytest.approx(losses_of(tmp_path / "two"), rel=1e-4)


def test_a_live_teacher_trains_as_its_captured_signal_does(chain: Chain, tmp_path: Path) -> None:
    """The signal leaves the tail of 16 of 400 ids to one outcome: near, not equal."""
    live = settings(chain, live={"teachers": {"t": chain.teacher}})
    train(chain.dataset, tmp_path / "live", config=live)
    train(chain.dataset, tmp_path / "cached", config=settings(chain), signal=chain.signal)
    first_live, first_cached = losses_of(tmp_path / "live")[0], losses_of(tmp_path / "cached")[0]
    assert first_cached < first_live  # merging outcomes can only lower a KL
    assert not are_same_weights(tmp_path / "live", tmp_path / "cached")


def test_a_student_that_is_its_teacher_has_nothing_to_learn(chain: Chain) -> None:
    pair = make_pair(chain, layers=(0, 1, 2, 3))
    for objective in ("forward_kl", "reverse_kl", "generalized_jsd", "total_variation"):
        stepper = stepper_of(pair, live_settings(chain, objective=objective))
        result = stepper.learn(0, [pair.texts[:6]], TeacherDistribution(pair.teacher))
        assert abs(result.loss_nats) < 1e-6
        assert result.grad_norm < 1e-3
        assert math.isclose(
            float(gradients(stepper.network).norm()), result.grad_norm, rel_tol=1e-3
        )
        stepper.optimizer.zero_grad(set_to_none=False)
