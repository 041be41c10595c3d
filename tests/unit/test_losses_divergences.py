"""Divergences by hand: values, directions, limits and digits."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import (
    DIVERGENCES,
    SETTINGS,
    TopK,
    bucketed_kl_by_hand,
    forward_kl_by_hand,
    logits,
    relative_error,
    topk_of,
)
from torch import Tensor

from stillhouse.errors import ShapeError
from stillhouse.losses import (
    DenseTarget,
    Objective,
    TokenTarget,
    TopKTarget,
    draw_target,
    loss_of_logits,
)

torch.set_num_threads(1)

TEACHER = [0.7, 0.2, 0.1]
STUDENT = [0.5, 0.3, 0.2]
# 0.7 ln(0.7/0.5) + 0.2 ln(0.2/0.3) + 0.1 ln(0.1/0.2) = 0.235531 - 0.081093 - 0.069315
FORWARD = 0.085123
# 0.5 ln(0.5/0.7) + 0.3 ln(0.3/0.2) + 0.2 ln(0.2/0.1) = -0.168236 + 0.121640 + 0.138629
REVERSE = 0.092033
# M = (0.6, 0.25, 0.15): 0.7 ln(0.7/0.6) + 0.2 ln(0.2/0.25) + 0.1 ln(0.1/0.15) = 0.022730, and
# 0.5 ln(0.5/0.6) + 0.3 ln(0.3/0.25) + 0.2 ln(0.2/0.15) = 0.021072; half of each.
JENSEN_SHANNON = 0.021901


def as_logits(probabilities: list[float]) -> Tensor:
    return torch.tensor([probabilities], dtype=torch.float64).log()


def dense(name: str, student: Tensor, teacher: Tensor, **numbers: float) -> Tensor:
    return loss_of_logits(student, DenseTarget(teacher), Objective(name, **numbers))


def sparse(name: str, student: Tensor, top: TopK, **numbers: float) -> Tensor:
    return loss_of_logits(student, TopKTarget(*top), Objective(name, **numbers))


@pytest.mark.parametrize(
    ("name", "numbers", "wanted"),
    [
        ("forward_kl", {}, FORWARD),
        ("reverse_kl", {}, REVERSE),
        ("mixed_kl", {"forward_weight": 0.25}, 0.25 * FORWARD + 0.75 * REVERSE),
        ("generalized_jsd", {}, JENSEN_SHANNON),
        ("normalized_jsd", {}, 4 * JENSEN_SHANNON),
        ("total_variation", {}, 0.2),
        # The head is the first id, half of sum |p - q|.
        ("adaptive_kl", {}, (FORWARD + REVERSE) / 2),
        ("sorted_l1", {}, 0.4),
    ],
)
def test_three_tokens_by_hand(name: str, numbers: dict[str, float], wanted: float) -> None:
    loss = dense(name, as_logits(STUDENT), as_logits(TEACHER), **numbers)
    assert loss.item() == pytest.approx(wanted, abs=2e-6)


def test_tokens_and_one_kept_id_by_hand() -> None:
    for token, probability in enumerate(STUDENT):
        target = TokenTarget(torch.tensor([token]))
        loss = loss_of_logits(as_logits(STUDENT), target, Objective("sft"))
        assert loss.item() == pytest.approx(-math.log(probability))
    # 0.7 ln(0.7/0.5) + 0.3 ln(0.3/0.5) = 0.235531 - 0.153248.
    loss = sparse("forward_kl", as_logits(STUDENT), topk_of(as_logits(TEACHER), 1))
    assert loss.item() == pytest.approx(0.082283, abs=1e-6)


def test_sorted_distances_do_not_see_which_id_is_which() -> None:
    student = as_logits([0.2, 0.5, 0.3])
    assert dense("sorted_l1", student, as_logits([0.3, 0.2, 0.5])).item() < 1e-15
    # A longer vocabulary on either side: what has no partner counts whole.
    longer = as_logits([0.4, 0.3, 0.2, 0.1])
    assert dense("sorted_l1", student, longer).item() == pytest.approx(0.2)
    assert dense("sorted_l1", longer, student).item() == pytest.approx(0.2)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_a_constant_on_all_logits_changes_nothing(name: str) -> None:
    student, teacher = logits(20, 23, seed=1), logits(20, 23, seed=2)
    moved = dense(name, student + 7, teacher - 3)
    assert torch.allclose(moved, dense(name, student, teacher), rtol=1e-11)


SYMMETRIC = {"generalized_jsd", "total_variation", "sorted_l1", "mixed_kl", "normalized_jsd"}


@pytest.mark.parametrize("name", sorted(DIVERGENCES.keys() - SYMMETRIC))
def test_direction_matters(name: str) -> None:
    one, other = logits(20, 23, seed=1), logits(20, 23, seed=2)
    assert ((dense(name, one, other) - dense(name, other, one)).abs() > 1e-3).all()
    there, back = sparse(name, one, topk_of(other, 5)), sparse(name, other, topk_of(one, 5))
    assert ((there - back).abs() > 1e-3).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_normalised_jsd_runs_from_forward_to_reverse_kl(dtype: torch.dtype) -> None:
    student, teacher = logits(20, 23, seed=1).to(dtype), logits(20, 23, seed=2).to(dtype)
    for end, near, name in ((0.0, 1e-4, "forward_kl"), (1.0, 1 - 1e-4, "reverse_kl")):
        wanted = dense(name, student, teacher)
        assert torch.equal(dense("normalized_jsd", student, teacher, teacher_weight=end), wanted)
        close = dense("normalized_jsd", student, teacher, teacher_weight=near)
        # Convex combinations leave the end at a rate of the weight times a ratio p / q.
        assert relative_error(close, wanted.double()) < 1e-2
    # Digits at a weight where KL(q || M) is 1e-8 of what it is made of.
    wide = dense("normalized_jsd", student.double(), teacher.double(), teacher_weight=1e-4)
    close = dense("normalized_jsd", student, teacher, teacher_weight=1e-4)
    assert relative_error(close, wide) < 1e-6


def test_skews_of_zero_are_the_plain_divergences() -> None:
    student, teacher = logits(20, 23, seed=1), logits(20, 23, seed=2)
    for skewed, plain in (("skew_kl", "forward_kl"), ("skew_reverse_kl", "reverse_kl")):
        found = dense(skewed, student, teacher, skew=0.0)
        assert torch.allclose(found, dense(plain, student, teacher), rtol=1e-12)
        assert (dense(skewed, student, teacher, skew=0.1) < found).all()


def test_a_skew_bounds_what_a_missing_token_costs() -> None:
    teacher = torch.tensor([[0.0, -200.0]], dtype=torch.float64)
    found = dense("skew_kl", teacher.flip(1), teacher, skew=0.1)
    assert found.item() == pytest.approx(-math.log(0.1), rel=1e-6)


def test_more_ids_come_closer_from_below() -> None:
    student, teacher = logits(20, 23, seed=1), logits(20, 23, seed=2)
    for name in ("forward_kl", "reverse_kl", "generalized_jsd", "skew_kl", "total_variation"):
        values = [sparse(name, student, topk_of(teacher, k)) for k in range(1, 24)]
        for fewer, more in itertools.pairwise(values):
            assert (more >= fewer - 1e-13).all()
        assert (values[0] < dense(name, student, teacher) - 1e-4).any()


ROWS = st.lists(st.floats(-80, 80), min_size=6, max_size=6)


@settings(max_examples=150, deadline=None)
@given(student=ROWS, teacher=ROWS, k=st.integers(1, 6), name=st.sampled_from(sorted(DIVERGENCES)))
def test_divergences_are_finite_and_never_negative(
    student: list[float], teacher: list[float], k: int, name: str
) -> None:
    teacher_1V = torch.tensor([teacher], dtype=torch.float64)
    numbers = SETTINGS.get(name, [{}])[-1]
    targets = [DenseTarget(teacher_1V)]
    if name != "sorted_l1":
        targets.append(TopKTarget(*topk_of(teacher_1V, k)))
    for target in targets:
        student_1V = torch.tensor([student], dtype=torch.float64, requires_grad=True)
        loss = loss_of_logits(student_1V, target, Objective(name, **numbers))
        loss.sum().backward()
        assert loss.item() >= -1e-11
        assert torch.isfinite(loss).all()
        assert torch.isfinite(student_1V.grad).all()


@settings(max_examples=150, deadline=None)
@given(student=ROWS, teacher=ROWS, k=st.integers(1, 6))
def test_a_bucketed_kl_is_that_of_the_outcomes_for_any_logits(
    student: list[float], teacher: list[float], k: int
) -> None:
    top = topk_of(torch.tensor([teacher], dtype=torch.float64), k)
    leaf = torch.tensor([student], dtype=torch.float64, requires_grad=True)
    wide = leaf.detach().clone().requires_grad_()
    wanted = bucketed_kl_by_hand(wide, top)
    wanted.sum().backward()
    found = sparse("forward_kl", leaf, top)
    found.sum().backward()
    assert torch.allclose(found, wanted, rtol=1e-10, atol=1e-12)
    assert torch.allclose(leaf.grad, wide.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_a_teacher_may_rule_tokens_out(name: str) -> None:
    teacher = torch.tensor([[0.5, 0.5, 0.0]], dtype=torch.float64).log()
    top = TopK(torch.tensor([[0, 1, 2]]), teacher, torch.tensor([-math.inf]).double())
    p = torch.tensor([[0.5, 0.5, 0.0]], dtype=torch.float64)
    for numbers in SETTINGS.get(name, [{}]):
        wanted = DIVERGENCES[name](p, torch.tensor([STUDENT]).double(), **numbers).item()
        student = as_logits(STUDENT).requires_grad_()
        found = dense(name, student, teacher, **numbers)
        found.sum().backward()
        assert found.item() == pytest.approx(wanted, rel=1e-6)
        assert torch.isfinite(student.grad).all()
        if name != "sorted_l1":
            assert sparse(name, student, top, **numbers).item() == pytest.approx(wanted, rel=1e-6)


def test_reverse_kl_takes_a_missing_tail_for_the_resolution_of_a_signal() -> None:
    top = TopK(
        torch.tensor([[0]]), torch.zeros(1, 1).double(), torch.full((1,), -math.inf).double()
    )
    # 0.5 ln(0.5 / 1) + 0.5 ln(0.5 / 2**-23)
    wanted = 0.5 * math.log(0.5) + 0.5 * math.log(0.5 * 2**23)
    assert sparse("reverse_kl", as_logits(STUDENT), top).item() == pytest.approx(wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gap", [30.0, 80.0, 160.0])
def test_a_student_that_is_sure_of_the_wrong_thing_still_learns(
    gap: float, dtype: torch.dtype
) -> None:
    """Past a gap of 103 nats a float32 softmax over V would be zero, and so would the gradient."""
    half = gap / 2
    on_the_ids = torch.tensor([[half, half, -half, -half]], dtype=dtype)
    log2, none = math.log(2), -math.inf
    ids = torch.tensor([[0, 1]])
    outside = TopK(ids, torch.full((1, 2), none, dtype=dtype), torch.zeros(1, dtype=dtype))
    inside = TopK(ids, torch.full((1, 2), -log2, dtype=dtype), torch.full((1,), none, dtype=dtype))
    for start, top, sign in ((on_the_ids, outside, 1.0), (-on_the_ids, inside, -1.0)):
        leaf = start.clone().requires_grad_()
        loss = sparse("forward_kl", leaf, top)
        loss.sum().backward()
        assert loss.item() == pytest.approx(gap, rel=1e-6)
        wanted = sign * torch.tensor([[0.5, 0.5, -0.5, -0.5]], dtype=dtype)
        assert torch.allclose(leaf.grad, wanted, atol=1e-6)


@pytest.mark.parametrize("tail", [1e-7, 1e-12, 0.0])
def test_a_tiny_tail_pulls_only_as_much_as_it_weighs(tail: float) -> None:
    top = TopK(
        torch.tensor([[0, 1]]),
        torch.tensor([[math.log(0.75), math.log(0.25 - tail)]]),
        torch.tensor([math.log(tail) if tail else -math.inf]),
    )
    leaf = torch.tensor([[1.0, 0.0, -9.0, -12.0]], requires_grad=True)
    loss = sparse("forward_kl", leaf, top)
    loss.sum().backward()
    wide = leaf.detach().double().requires_grad_()
    wanted = bucketed_kl_by_hand(wide, TopK(top.ids_NK, *(part.double() for part in top[1:])))
    wanted.sum().backward()
    assert torch.allclose(loss.double(), wanted, atol=1e-6)
    # Relative on the two tokens outside, whose gradient is of the order of 1e-4.
    assert torch.allclose(leaf.grad.double(), wide.grad, rtol=1e-5, atol=1e-7)


def test_the_tail_bucket_comes_nearest_to_the_full_gradient() -> None:
    """The reason for the default signal: half the error of a top-k that is renormalised."""
    teacher = logits(60, 400, seed=1)
    student = teacher + logits(60, 400, seed=2, scale=0.5)
    top = topk_of(teacher, 20)
    renormalised = TopK(
        top.ids_NK,
        torch.log_softmax(top.logprobs_NK, 1),
        torch.full_like(top.tail_N, -math.inf),
    )
    leaf = student.clone().requires_grad_()
    grads = []
    for loss in (
        dense("forward_kl", leaf, teacher),
        sparse("forward_kl", leaf, top),
        sparse("forward_kl", leaf, renormalised),
    ):
        grads.append(torch.autograd.grad(loss.sum(), leaf)[0])
    assert relative_error(grads[1], grads[0]) < 0.5 * relative_error(grads[2], grads[0])


def test_no_gradient_reaches_the_teacher() -> None:
    teacher = logits(5, 11, seed=2).requires_grad_()
    assert dense("forward_kl", logits(5, 11, seed=1), teacher).requires_grad is False


def test_vocabularies_of_different_size_are_refused_and_may_be_cut() -> None:
    student, teacher = logits(4, 11, seed=1), logits(4, 12, seed=2)
    with pytest.raises(ShapeError, match="teacher has 12 ids and the student 11; cut"):
        dense("forward_kl", student, teacher)
    target = DenseTarget(teacher).cut(11)
    found = loss_of_logits(student, target, Objective("forward_kl"))
    assert torch.allclose(found, forward_kl_by_hand(student, teacher[:, :11]))


@pytest.mark.parametrize("flatten", [1.0, 0.7])
def test_drawn_targets_have_the_teachers_gradient_on_average(flatten: float) -> None:
    teacher = torch.log_softmax(logits(1, 31, seed=1), 1)
    student = logits(1, 31, seed=2)
    wanted = torch.softmax(student, 1) - teacher.exp()
    num_draws = 4_000
    drawn = draw_target(
        teacher.expand(num_draws, -1),
        12,
        flatten=flatten,
        generator=torch.Generator().manual_seed(3),
    )
    leaf = student.expand(num_draws, -1).clone().requires_grad_()
    loss = loss_of_logits(leaf, drawn, Objective("sampled_cross_entropy"))
    loss.sum().backward()
    along = leaf.grad @ wanted.squeeze(0) / wanted.square().sum()
    assert abs(along.mean() - 1) < 3 * along.std() / num_draws**0.5
    entropy = -(teacher.exp() * teacher).sum()
    excess = loss.detach() - entropy - forward_kl_by_hand(student, teacher)
    assert abs(excess.mean()) < 3 * excess.std() / num_draws**0.5
