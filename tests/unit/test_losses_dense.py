"""The readable losses, against definitions written out in float64."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import (
    TopK,
    bucketed_kl_by_hand,
    cross_entropy_by_hand,
    forward_kl_by_hand,
    logits,
    relative_error,
    topk_of,
)
from torch import Tensor

from stillhouse.errors import ShapeError
from stillhouse.losses import cross_entropy, forward_kl, forward_kl_topk

TEACHER = [0.7, 0.2, 0.1]
STUDENT = [0.5, 0.3, 0.2]
# 0.7 ln(0.7/0.5) + 0.2 ln(0.2/0.3) + 0.1 ln(0.1/0.2) = 0.235531 - 0.081093 - 0.069315
FORWARD = 0.085123
# 0.5 ln(0.5/0.7) + 0.3 ln(0.3/0.2) + 0.2 ln(0.2/0.1) = -0.168236 + 0.121640 + 0.138629
BACKWARD = 0.092033


def topk_loss(student: Tensor, top: TopK) -> Tensor:
    return forward_kl_topk(student, top.ids_NK, top.logprobs_NK, top.tail_N)


def as_logits(probabilities: list[float]) -> Tensor:
    return torch.tensor(probabilities, dtype=torch.float64).log()


def test_three_tokens_by_hand() -> None:
    student, teacher = as_logits(STUDENT), as_logits(TEACHER)
    assert float(forward_kl(student, teacher)) == pytest.approx(FORWARD, abs=1e-6)
    assert float(forward_kl(teacher, student)) == pytest.approx(BACKWARD, abs=1e-6)
    for token, probability in enumerate(STUDENT):
        loss = float(cross_entropy(student, torch.tensor(token)))
        assert loss == pytest.approx(-math.log(probability))
    # One id kept: 0.7 ln(0.7/0.5) + 0.3 ln(0.3/0.5) = 0.235531 - 0.153248.
    assert float(topk_loss(student, topk_of(teacher, 1))) == pytest.approx(0.082283, abs=1e-6)


def test_a_constant_on_all_logits_changes_nothing() -> None:
    student, teacher = as_logits(STUDENT), as_logits(TEACHER)
    assert float(forward_kl(student + 7, teacher - 3)) == pytest.approx(FORWARD, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_are_those_of_the_definitions(dtype: torch.dtype) -> None:
    teacher = logits(40, 23, seed=1)
    ids = torch.randint(0, 23, (40,), generator=torch.Generator().manual_seed(2))
    top = topk_of(teacher, 5)
    cast = TopK(top.ids_NK, top.logprobs_NK.to(dtype), top.tail_N.to(dtype))
    for loss, by_hand in (
        (lambda s: cross_entropy(s, ids), lambda s: cross_entropy_by_hand(s, ids)),
        (lambda s: forward_kl(s, teacher.to(dtype)), lambda s: forward_kl_by_hand(s, teacher)),
        (lambda s: topk_loss(s, cast), lambda s: bucketed_kl_by_hand(s, top)),
    ):
        reference = logits(40, 23, seed=3).requires_grad_()
        student = reference.detach().to(dtype).requires_grad_()
        wanted, found = by_hand(reference), loss(student)
        assert found.dtype == dtype
        assert found.shape == (40,)
        wanted.sum().backward()
        found.sum().backward()
        assert relative_error(found, wanted) < 1e-6
        assert relative_error(student.grad, reference.grad) < 1e-5


def test_leading_dimensions_are_kept() -> None:
    student, teacher = logits(2, 3, 11, seed=1), logits(2, 3, 11, seed=2)
    top = topk_of(teacher, 4)
    assert torch.equal(forward_kl(student, teacher)[1], forward_kl(student[1], teacher[1]))
    row = topk_loss(student[1], TopK(*(part[1] for part in top)))
    assert torch.equal(topk_loss(student, top)[1], row)
    ids = torch.zeros(2, 3, dtype=torch.long)
    assert torch.equal(cross_entropy(student, ids)[1], cross_entropy(student[1], ids[1]))


@pytest.mark.parametrize("k", [1, 4, 11])
def test_gradcheck(k: int) -> None:
    teacher = logits(3, 11, seed=1)
    top = topk_of(teacher, k)
    student = logits(3, 11, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: forward_kl(s, teacher, loss_temperature=2.0), student)
    assert torch.autograd.gradcheck(lambda s: topk_loss(s, top), student)
    assert torch.autograd.gradcheck(lambda s: cross_entropy(s, top.ids_NK[:, 0]), student)


@pytest.mark.parametrize("k", [1, 5, 23])
def test_nothing_is_left_to_learn_where_student_and_teacher_agree(k: int) -> None:
    teacher = logits(20, 23, seed=1)
    for loss in (
        lambda s: forward_kl(s, teacher),
        lambda s: topk_loss(s, topk_of(teacher, k)),
    ):
        student = teacher.clone().requires_grad_()
        value = loss(student)
        value.sum().backward()
        assert value.abs().max() < 1e-14
        assert student.grad is not None
        assert student.grad.abs().max() < 1e-14


def test_a_slightly_wrong_student_has_something_to_learn() -> None:
    teacher = logits(20, 23, seed=1)
    student = (teacher + 0.01 * logits(20, 23, seed=2)).requires_grad_()
    for value in (forward_kl(student, teacher), topk_loss(student, topk_of(teacher, 5))):
        assert (value > 1e-7).all()


def test_direction_matters() -> None:
    one, other = logits(20, 23, seed=1), logits(20, 23, seed=2)
    there, back = forward_kl(one, other), forward_kl(other, one)
    assert ((there - back).abs() > 1e-3).all()
    there, back = topk_loss(one, topk_of(other, 5)), topk_loss(other, topk_of(one, 5))
    assert ((there - back).abs() > 1e-3).all()


def test_the_whole_vocabulary_kept_is_the_full_divergence() -> None:
    student, teacher = logits(20, 23, seed=1), logits(20, 23, seed=2)
    top = topk_of(teacher, 23)
    assert torch.allclose(topk_loss(student, top), forward_kl(student, teacher), atol=1e-13)
    # Even where 1 - sum(top) left a tail of rounding.
    rounded = TopK(top.ids_NK, top.logprobs_NK, torch.full_like(top.tail_N, math.log(3e-7)))
    assert torch.allclose(topk_loss(student, rounded), forward_kl(student, teacher), atol=1e-13)


def test_more_ids_come_closer_from_below() -> None:
    student, teacher = logits(20, 23, seed=1), logits(20, 23, seed=2)
    values = [topk_loss(student, topk_of(teacher, k)) for k in range(1, 24)]
    for fewer, more in itertools.pairwise(values):
        assert (more >= fewer - 1e-13).all()
    assert (values[0] < forward_kl(student, teacher) - 1e-3).all()


@settings(max_examples=200, deadline=None)
@given(
    student=st.lists(st.floats(-80, 80), min_size=6, max_size=6),
    teacher=st.lists(st.floats(-80, 80), min_size=6, max_size=6),
    k=st.integers(1, 6),
)
def test_divergences_are_finite_and_never_negative(
    student: list[float], teacher: list[float], k: int
) -> None:
    student_V = torch.tensor(student, dtype=torch.float64, requires_grad=True)
    teacher_V = torch.tensor(teacher, dtype=torch.float64)
    for loss in (forward_kl(student_V, teacher_V), topk_loss(student_V, topk_of(teacher_V, k))):
        assert loss.item() >= -1e-12
        assert torch.isfinite(loss)
        (grad,) = torch.autograd.grad(loss, student_V)
        assert torch.isfinite(grad).all()


def test_a_teacher_may_rule_tokens_out() -> None:
    teacher = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64).log()
    student = as_logits(STUDENT).requires_grad_()
    wanted = 0.5 * math.log(0.5 / 0.5) + 0.5 * math.log(0.5 / 0.3)
    top = TopK(torch.tensor([0, 1, 2]), teacher, torch.tensor(-math.inf, dtype=torch.float64))
    for loss in (forward_kl(student, teacher), topk_loss(student, top)):
        assert loss.item() == pytest.approx(wanted)
        (grad,) = torch.autograd.grad(loss, student)
        assert torch.allclose(grad, torch.tensor([0.0, -0.2, 0.2], dtype=torch.float64))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_loss_temperature_divides_both_logits_and_scales_nothing(temperature: float) -> None:
    student, teacher = logits(5, 11, seed=1), logits(5, 11, seed=2)
    found = forward_kl(student, teacher, loss_temperature=temperature)
    assert torch.allclose(found, forward_kl_by_hand(student / temperature, teacher / temperature))


def test_no_gradient_reaches_the_teacher() -> None:
    teacher = logits(5, 11, seed=2).requires_grad_()
    assert forward_kl(logits(5, 11, seed=1), teacher).requires_grad is False


def test_shapes_that_do_not_fit_are_named() -> None:
    student = logits(4, 11, seed=1)
    with pytest.raises(ShapeError, match=r"\(4, 11\).*\(3,\)"):
        cross_entropy(student, torch.zeros(3, dtype=torch.long))
    with pytest.raises(ShapeError, match="shared vocabulary"):
        forward_kl(student, logits(4, 12, seed=1))
    top = topk_of(student, 3)
    for wrong in (
        top._replace(ids_NK=top.ids_NK[:3]),
        top._replace(logprobs_NK=top.logprobs_NK[:, :2]),
        top._replace(tail_N=top.tail_N[:3]),
    ):
        with pytest.raises(ShapeError, match="do not fit student logits"):
            topk_loss(student, wrong)
