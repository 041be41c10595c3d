"""Head and loss in chunks, against the dense losses in float64 and by the memory they take."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import TopK, bucketed_kl_by_hand, cross_entropy_by_hand, logits, topk_of
from loss_cases import relative_error as error
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from stillhouse.errors import ShapeError
from stillhouse.losses import (
    HeadTarget,
    TokenTarget,
    TopKTarget,
    cross_entropy,
    forward_kl,
    forward_kl_topk,
    fused_head_loss,
    head_loss_and_grad,
)

N, V, D, K = 29, 37, 8, 5

Reference = Callable[[Tensor], Tensor]


def case(name: str, dtype: torch.dtype, *, k: int = K) -> tuple[HeadTarget, Reference]:
    """A target in `dtype` and its naive float64 loss as a function of the student's logits."""
    teacher = logits(N, V, seed=1)
    top = topk_of(teacher, k)
    if name == "tokens":
        ids = torch.randint(0, V, (N,), generator=torch.Generator().manual_seed(2))
        return TokenTarget(ids), lambda student: cross_entropy_by_hand(student, ids)
    target = TopKTarget(top.ids_NK, top.logprobs_NK.to(dtype), top.tail_N.to(dtype))
    return target, lambda student: bucketed_kl_by_hand(student, top)


def student(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Hidden states (N, D) and a head (V, D)."""
    return logits(N, D, seed=3, scale=1.0).to(dtype), logits(V, D, seed=4, scale=1.0).to(dtype)


def weights() -> Tensor:
    return torch.rand(N, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


OBJECTIVES = ["tokens", "top-k"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_values_and_gradients_are_those_of_the_definitions(name: str, dtype: torch.dtype) -> None:
    target, by_hand = case(name, dtype)
    hidden, head = student(dtype)
    wide_hidden = hidden.double().requires_grad_()
    wide_head = head.double().requires_grad_()
    wanted = by_hand(wide_hidden @ wide_head.T)
    (weights() * wanted).sum().backward()

    head_grad = torch.zeros_like(head)
    loss, hidden_grad = head_loss_and_grad(
        hidden, head, target, weight_N=weights().to(dtype), weight_grad_VD=head_grad
    )
    tight = dtype == torch.float64
    assert error(loss, wanted) < (1e-12 if tight else 1e-6)
    assert error(hidden_grad, wide_hidden.grad) < (1e-12 if tight else 1e-5)
    assert error(head_grad, wide_head.grad) < (1e-12 if tight else 1e-5)


@pytest.mark.parametrize("chunk", [1, 7, N, N + 100])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_size_of_chunks_changes_nothing(name: str, chunk: int) -> None:
    target, _ = case(name, torch.float64)
    hidden, head = student(torch.float64)
    results = []
    for size in (N, chunk):
        grad = torch.zeros_like(head)
        loss, hidden_grad = head_loss_and_grad(
            hidden, head, target, weight_N=weights(), weight_grad_VD=grad, chunk_tokens=size
        )
        results.append((loss, hidden_grad, grad))
    for whole, chunked in zip(*results, strict=True):
        assert torch.allclose(whole, chunked, atol=1e-14)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradcheck(name: str) -> None:
    target, _ = case(name, torch.float64)
    hidden, head = student(torch.float64)
    assert torch.autograd.gradcheck(
        lambda h, w: fused_head_loss(h, w, target, weight_N=weights()),
        (hidden.requires_grad_(), head.requires_grad_()),
    )


@pytest.mark.parametrize("name", OBJECTIVES)
def test_it_differentiates_inside_a_larger_expression(name: str) -> None:
    target, by_hand = case(name, torch.float64)
    grads = []
    for fused in (True, False):
        hidden, head = (tensor.requires_grad_() for tensor in student(torch.float64))
        if fused:
            loss = fused_head_loss(hidden, head, target, weight_N=weights())
        else:
            loss = (weights() * by_hand(hidden @ head.T)).sum()
        (-3.0 * loss**2).backward()
        grads.append((hidden.grad, head.grad))
    for found, wanted in zip(*grads, strict=True):
        assert error(found, wanted) < 1e-12


def test_a_second_derivative_is_refused_and_not_wrong() -> None:
    target, _ = case("tokens", torch.float64)
    hidden, head = (tensor.requires_grad_() for tensor in student(torch.float64))
    loss = fused_head_loss(hidden, head, target, weight_N=weights())
    (grad,) = torch.autograd.grad(loss**2, hidden, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


def test_a_frozen_head_gets_no_gradient_and_changes_none() -> None:
    target, _ = case("top-k", torch.float64)
    hidden, head = student(torch.float64)
    grad = torch.zeros_like(head)
    trained = head_loss_and_grad(hidden, head, target, weight_N=weights(), weight_grad_VD=grad)
    frozen = head_loss_and_grad(hidden, head, target, weight_N=weights(), weight_grad_VD=None)
    assert all(torch.equal(one, other) for one, other in zip(trained, frozen, strict=True))
    loss = fused_head_loss(hidden.requires_grad_(), head, target, weight_N=weights())
    loss.backward()
    assert head.grad is None
    assert torch.equal(hidden.grad, frozen[1])


def test_the_heads_gradient_is_added_to_what_is_there() -> None:
    target, _ = case("tokens", torch.float64)
    hidden, head = student(torch.float64)
    fresh, used = torch.zeros_like(head), torch.ones_like(head)
    for grad in (fresh, used):
        head_loss_and_grad(hidden, head, target, weight_N=weights(), weight_grad_VD=grad)
    assert torch.allclose(used, fresh + 1)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_two_halves_of_a_batch_add_up_to_the_whole(name: str) -> None:
    target, _ = case(name, torch.float64)
    hidden, head = student(torch.float64)
    whole, halves = torch.zeros_like(head), torch.zeros_like(head)
    head_loss_and_grad(hidden, head, target, weight_N=weights(), weight_grad_VD=whole)
    for rows in (slice(0, 10), slice(10, N)):
        head_loss_and_grad(
            hidden[rows],
            head,
            target.rows(rows.start, rows.stop),
            weight_N=weights()[rows],
            weight_grad_VD=halves,
        )
    assert torch.allclose(whole, halves, atol=1e-13)


def test_inputs_are_left_alone() -> None:
    target, _ = case("top-k", torch.float64)
    assert isinstance(target, TopKTarget)
    hidden, head = student(torch.float64)
    inputs = [hidden, head, target.ids_NK, target.logprobs_NK, target.tail_logprob_N]
    before = [tensor.clone() for tensor in inputs]
    head_loss_and_grad(hidden, head, target, weight_N=weights(), weight_grad_VD=None)
    assert all(torch.equal(one, other) for one, other in zip(before, inputs, strict=True))


@pytest.mark.parametrize("k", [1, K, V])
def test_nothing_is_left_to_learn_where_student_and_teacher_agree(k: int) -> None:
    hidden, head = student(torch.float64)
    top = topk_of(hidden @ head.T, k)
    grad = torch.zeros_like(head)
    loss, hidden_grad = head_loss_and_grad(
        hidden, head, TopKTarget(*top), weight_N=torch.ones(N).double(), weight_grad_VD=grad
    )
    for tensor in (loss, hidden_grad, grad):
        assert tensor.abs().max() < 1e-12
    moved, _ = head_loss_and_grad(
        hidden * 1.1, head, TopKTarget(*top), weight_N=torch.ones(N).double(), weight_grad_VD=None
    )
    assert moved.max() > 1e-4


def test_the_whole_vocabulary_kept_is_the_full_divergence() -> None:
    hidden, head = student(torch.float64)
    teacher = logits(N, V, seed=1)
    wanted = forward_kl(hidden @ head.T, teacher)
    top = topk_of(teacher, V)
    for tail in (top.tail_N, torch.full_like(top.tail_N, math.log(3e-7))):
        loss, grad = head_loss_and_grad(
            hidden,
            head,
            TopKTarget(top.ids_NK, top.logprobs_NK, tail),
            weight_N=torch.ones(N).double(),
            weight_grad_VD=None,
        )
        assert torch.allclose(loss, wanted, atol=1e-12)
        assert torch.isfinite(grad).all()


def test_direction_matters() -> None:
    one, other = logits(N, V, seed=1), logits(N, V, seed=2)
    there = of_logits(one, topk_of(other, K))[0]
    back = of_logits(other, topk_of(one, K))[0]
    assert ((there - back).abs() > 1e-3).all()


def of_logits(student_NV: Tensor, top: TopK) -> tuple[Tensor, Tensor]:
    """The fused loss and gradient by the logits themselves: the head is the identity."""
    size = student_NV.shape[1]
    return head_loss_and_grad(
        student_NV,
        torch.eye(size, dtype=student_NV.dtype),
        TopKTarget(*top),
        weight_N=torch.ones(len(student_NV), dtype=student_NV.dtype),
        weight_grad_VD=None,
    )


@settings(max_examples=200, deadline=None)
@given(
    student_row=st.lists(st.floats(-80, 80), min_size=6, max_size=6),
    teacher_row=st.lists(st.floats(-80, 80), min_size=6, max_size=6),
    k=st.integers(1, 6),
)
def test_it_is_the_dense_loss_for_any_logits_and_never_negative(
    student_row: list[float], teacher_row: list[float], k: int
) -> None:
    student_1V = torch.tensor([student_row], dtype=torch.float64, requires_grad=True)
    top = topk_of(torch.tensor([teacher_row], dtype=torch.float64), k)
    loss, grad = of_logits(student_1V.detach(), top)
    wanted = forward_kl_topk(student_1V, *top)
    wanted.sum().backward()
    assert float(loss) >= -1e-12
    assert torch.allclose(loss, wanted, rtol=1e-12, atol=1e-12)
    assert torch.allclose(grad, student_1V.grad, rtol=1e-12, atol=1e-12)


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
    everything_outside = TopK(
        ids, torch.full((1, 2), none, dtype=dtype), torch.zeros(1, dtype=dtype)
    )
    loss, grad = of_logits(on_the_ids, everything_outside)
    assert float(loss) == pytest.approx(gap, rel=1e-6)
    assert torch.allclose(grad, torch.tensor([[0.5, 0.5, -0.5, -0.5]], dtype=dtype), atol=1e-6)

    everything_inside = TopK(
        ids, torch.full((1, 2), -log2, dtype=dtype), torch.full((1,), none, dtype=dtype)
    )
    loss, grad = of_logits(-on_the_ids, everything_inside)
    assert float(loss) == pytest.approx(gap, rel=1e-6)
    assert torch.allclose(grad, torch.tensor([[-0.5, -0.5, 0.5, 0.5]], dtype=dtype), atol=1e-6)


@pytest.mark.parametrize("tail", [1e-7, 1e-12, 0.0])
def test_a_tiny_tail_pulls_only_as_much_as_it_weighs(tail: float) -> None:
    log_tail = math.log(tail) if tail else -math.inf
    top = TopK(
        torch.tensor([[0, 1]]),
        torch.tensor([[math.log(0.75), math.log(0.25 - tail)]]),
        torch.tensor([log_tail]),
    )
    student_1V = torch.tensor([[1.0, 0.0, -9.0, -12.0]], requires_grad=True)
    loss, grad = of_logits(student_1V.detach(), top)
    wide = student_1V.detach().double().requires_grad_()
    wanted = bucketed_kl_by_hand(wide, TopK(top.ids_NK, *(part.double() for part in top[1:])))
    wanted.sum().backward()
    assert torch.allclose(loss.double(), wanted.detach(), atol=1e-6)
    # Relative on the two tokens outside, whose gradient is of the order of 1e-4.
    assert torch.allclose(grad.double(), wide.grad, rtol=1e-5, atol=1e-7)


def test_one_position_is_enough_and_none_is_an_error() -> None:
    hidden, head = student(torch.float32)
    target = TokenTarget(torch.tensor([3]))
    loss, grad = head_loss_and_grad(
        hidden[:1], head, target, weight_N=torch.ones(1), weight_grad_VD=None
    )
    assert torch.allclose(loss, cross_entropy(hidden[:1] @ head.T, target.ids_N))
    assert grad.shape == (1, D)
    with pytest.raises(ShapeError, match="no positions"):
        head_loss_and_grad(
            hidden[:0], head, target.rows(0, 0), weight_N=torch.ones(0), weight_grad_VD=None
        )


def test_targets_and_weights_must_have_one_row_per_position() -> None:
    hidden, head = student(torch.float32)
    target, _ = case("top-k", torch.float32)
    for wrong_target, wrong_weights in (
        (target.rows(0, N - 1), torch.ones(N)),
        (target, torch.ones(N - 1)),
        (target, torch.ones(N, 1)),
    ):
        with pytest.raises(ShapeError, match=f"{N} hidden states"):
            head_loss_and_grad(
                hidden, head, wrong_target, weight_N=wrong_weights, weight_grad_VD=None
            )


class Allocations(TorchDispatchMode):
    """Elements of the largest new tensor; views and results written into given ones are none."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any | None = None
    ) -> Any:
        known = {tensor.untyped_storage().data_ptr() for tensor in _tensors(args, kwargs)}
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors((result,), None):
            if tensor.untyped_storage().data_ptr() not in known:
                self.largest = max(self.largest, tensor.numel())
        return result


def _tensors(args: Any, kwargs: Any) -> list[Tensor]:
    leaves, _ = torch.utils._pytree.tree_flatten((args, kwargs or {}))
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_no_tensor_of_all_positions_and_the_whole_vocabulary_exists(name: str) -> None:
    num_tokens, vocabulary, width, chunk = 64, 4096, 16, 8
    hidden = logits(num_tokens, width, seed=1).float()
    head = logits(vocabulary, width, seed=2).float()
    target: HeadTarget = TokenTarget(torch.zeros(num_tokens, dtype=torch.long))
    if name == "top-k":
        top = topk_of(logits(num_tokens, vocabulary, seed=3), 32)
        target = TopKTarget(top.ids_NK, top.logprobs_NK.float(), top.tail_N.float())
    with Allocations() as seen:
        head_loss_and_grad(
            hidden,
            head,
            target,
            weight_N=torch.ones(num_tokens),
            weight_grad_VD=torch.zeros_like(head),
            chunk_tokens=chunk,
        )
    # The logits buffer of one chunk, and zeros_like(head) above, are the largest.
    assert seen.largest == max(chunk * vocabulary, vocabulary * width)
    with Allocations() as dense:
        cross_entropy(hidden @ head.T, torch.zeros(num_tokens, dtype=torch.long))
    assert dense.largest == num_tokens * vocabulary
