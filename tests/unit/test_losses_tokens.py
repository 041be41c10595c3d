"""Losses of the student's own tokens: whose gradient they give on average."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from loss_cases import DIVERGENCES, logits, relative_error
from torch import Tensor

from stillhouse.losses import Objective, ScoredTarget, loss_of_logits

torch.set_num_threads(1)

V = 23


def every_token(teacher_V: Tensor, behaviour_V: Tensor) -> ScoredTarget:
    """Each token once: weighted by how often it is drawn, an expectation without noise."""
    return ScoredTarget(torch.arange(V), teacher_V, behaviour_V)


def models() -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities of student, teacher and an older student."""
    student = logits(V, seed=1)
    older = student + logits(V, seed=3, scale=0.2)
    return tuple(torch.log_softmax(one, 0) for one in (student, logits(V, seed=2), older))  # type: ignore[return-value]


def mean_gradient(
    name: str, student: Tensor, target: ScoredTarget, draw_V: Tensor, **numbers: float
) -> Tensor:
    leaf = student.expand(V, V).clone().requires_grad_()
    loss = loss_of_logits(leaf, target, Objective(name, **numbers))
    (draw_V * loss).sum().backward()
    return leaf.grad.sum(0)


def gradient_of(divergence: str, student: Tensor, teacher: Tensor) -> Tensor:
    leaf = student.clone().requires_grad_()
    p, q = teacher.exp().unsqueeze(0), torch.softmax(leaf, 0).unsqueeze(0)
    DIVERGENCES[divergence](p, q).sum().backward()
    assert leaf.grad is not None
    return leaf.grad


@pytest.mark.parametrize(
    ("name", "numbers", "divergence", "other"),
    [
        ("k2_reverse_kl_gradient", {}, "reverse_kl", "forward_kl"),
        ("k3_forward_kl_gradient", {}, "forward_kl", "reverse_kl"),
        ("policy_gradient_truncated", {"max_ratio": 1.0}, "reverse_kl", "forward_kl"),
        ("policy_gradient_gated", {"max_ratio": 1.0}, "reverse_kl", "forward_kl"),
    ],
)
def test_names_say_which_divergence_is_descended_on_policy(
    name: str, numbers: dict[str, float], divergence: str, other: str
) -> None:
    student, teacher, _ = models()
    # Behind the kernel's own rounding, so that a gate of exactly 1 stays open.
    numbers = {key: value + 1e-9 for key, value in numbers.items()}
    found = mean_gradient(name, student, every_token(teacher, student), student.exp(), **numbers)
    assert relative_error(found, gradient_of(divergence, student, teacher)) < 1e-7
    assert relative_error(found, gradient_of(other, student, teacher)) > 0.1


@pytest.mark.parametrize("name", ["policy_gradient_truncated", "policy_gradient_gated"])
def test_the_importance_ratio_undoes_what_an_older_student_drew(name: str) -> None:
    student, teacher, older = models()
    target = every_token(teacher, older)
    wanted = gradient_of("reverse_kl", student, teacher)
    found = mean_gradient(name, student, target, older.exp(), max_ratio=100.0)
    assert relative_error(found, wanted) < 1e-12
    # A tight limit trades that for variance, and taking the draws for one's own is worse.
    naive = mean_gradient(name, student, every_token(teacher, student), older.exp())
    limited = mean_gradient(name, student, target, older.exp(), max_ratio=1.3)
    assert relative_error(naive, wanted) > relative_error(limited, wanted) > 1e-5


@pytest.mark.parametrize("name", ["policy_gradient_truncated", "policy_gradient_gated"])
def test_a_baseline_changes_the_variance_of_a_policy_gradient_and_not_its_mean(name: str) -> None:
    student, teacher, _ = models()
    plain = every_token(teacher, student)
    reverse_kl = (student.exp() * (student - teacher)).sum()
    compared = replace(plain, baseline_N=reverse_kl.expand(V))
    draw_V, objective = student.exp(), Objective(name)
    means, variances, losses = [], [], []
    for target in (plain, compared):
        leaf_VV = student.expand(V, V).clone().requires_grad_()
        losses.append(loss_of_logits(leaf_VV, target, objective))
        (one_VV,) = torch.autograd.grad(losses[-1].sum(), leaf_VV)  # a row for each token drawn
        means.append(draw_V @ one_VV)
        variances.append(float(draw_V @ (one_VV - means[-1]).square().sum(1)))
    assert relative_error(means[1], means[0]) < 1e-12
    assert relative_error(means[1], gradient_of("reverse_kl", student, teacher)) < 1e-12
    assert variances[1] < 0.9 * variances[0]
    assert torch.equal(losses[0], losses[1])  # what is told stays an estimate of reverse KL


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("policy_gradient_truncated", [0.5, 1.0, 2.0]), ("policy_gradient_gated", [0.5, 1.0, 0.0])],
)
def test_ratios_beyond_the_limit_are_cut_or_dropped(name: str, wanted: list[float]) -> None:
    student = torch.log_softmax(logits(3, V, seed=1), 1)
    ids = torch.tensor([4, 5, 6])
    logprob = student.gather(1, ids.unsqueeze(1)).squeeze(1)
    ratios = torch.tensor([0.5, 1.0, 3.0]).double()
    target = ScoredTarget(ids, logprob - 1.0, logprob - ratios.log())
    loss = loss_of_logits(student, target, Objective(name, max_ratio=2.0 + 1e-9))
    assert torch.allclose(loss, torch.tensor(wanted).double(), atol=1e-8)


def test_a_ratio_far_below_the_gate_is_dropped_too() -> None:
    student = torch.log_softmax(logits(1, V, seed=1), 1)
    target = ScoredTarget(torch.tensor([4]), student[:, 4] - 1.0, student[:, 4] + 3.0)
    assert loss_of_logits(student, target, Objective("policy_gradient_gated")).item() == 0
    assert loss_of_logits(student, target, Objective("policy_gradient_truncated")).item() > 0


def test_estimates_of_reverse_kl_are_right_within_three_sigma() -> None:
    student, teacher, _ = models()
    num_draws = 20_000
    generator = torch.Generator().manual_seed(7)
    ids_N = torch.multinomial(student.exp(), num_draws, replacement=True, generator=generator)
    target = ScoredTarget(ids_N, teacher[ids_N], student[ids_N])
    wanted = DIVERGENCES["reverse_kl"](teacher.exp().unsqueeze(0), student.exp().unsqueeze(0))
    rows: Any = student.expand(num_draws, V)
    for name in ("k3_forward_kl_gradient", "policy_gradient_truncated", "policy_gradient_gated"):
        loss = loss_of_logits(rows, target, Objective(name))
        assert abs(loss.mean() - wanted.item()) < 3 * loss.std() / num_draws**0.5


def test_gradients_of_draws_point_the_right_way_within_three_sigma() -> None:
    student, teacher, older = models()
    num_draws = 20_000
    generator = torch.Generator().manual_seed(8)
    ids_N = torch.multinomial(older.exp(), num_draws, replacement=True, generator=generator)
    target = ScoredTarget(ids_N, teacher[ids_N], older[ids_N])
    wanted = gradient_of("reverse_kl", student, teacher)
    leaf = student.expand(num_draws, V).clone().requires_grad_()
    objective = Objective("policy_gradient_truncated", max_ratio=100.0)
    loss_of_logits(leaf, target, objective).sum().backward()
    assert leaf.grad is not None
    along = leaf.grad @ wanted / wanted.square().sum()
    assert abs(along.mean() - 1) < 3 * along.std() / num_draws**0.5


@pytest.mark.parametrize("name", ["k2_reverse_kl_gradient", "k3_forward_kl_gradient"])
def test_nothing_is_left_to_learn_where_student_and_teacher_agree(name: str) -> None:
    student, _, _ = models()
    target = every_token(student, student)
    leaf = student.expand(V, V).clone().requires_grad_()
    loss = loss_of_logits(leaf, target, Objective(name))
    loss.sum().backward()
    assert loss.abs().max() < 1e-14
    assert leaf.grad is not None
    assert leaf.grad.abs().max() < 1e-13
