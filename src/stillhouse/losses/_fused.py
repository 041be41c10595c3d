"""Head and loss in one pass over tiles of valid positions, gradient computed on the way.

A head of V = 49,152 turns 2,048 positions into 384 MB of float32 logits, and a dense divergence
keeps five to seven arrays of that size. Here one (C, V) buffer holds a tile's logits and then, in
place, the gradient of the loss with respect to them; only the (N, D) gradient of the hidden states
and the head's own gradient remain.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from stillhouse.errors import ShapeError
from stillhouse.losses._head import PLAIN, Head, HeadForm
from stillhouse.losses._objectives import Kernel, Objective
from stillhouse.losses._targets import (
    HeadTarget,
    ProjectedTarget,
    SampledTarget,
    ScoredTarget,
    TokenTarget,
    TopKTarget,
    WholeTarget,
)

TILE_TOKENS = 128
"""Rows of one logits buffer: 25 MB at V = 49,152. 64 to 256 run at the same speed on two cores."""

WHOLE_TILE_TOKENS = 64
"""The same where the teacher's logits need a second buffer. A softcap halves either."""


def head_loss_and_grad(
    hidden_ND: Tensor,
    head: Head,
    target: HeadTarget,
    objective: Objective,
    *,
    weight_N: Tensor,
    tile_tokens: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Losses per position and the gradient of their weighted sum.

    Args:
        hidden_ND: Hidden states at the positions that predict a valid token, N > 0.
        head: The output head, of the same dtype; its gradient is added to `head.grad_VD`.
        target: What to match, N rows.
        objective: How.
        weight_N: The factor of each position in the sum: 1 / number of valid tokens of the whole
            step, not of this call, so that a batch in parts gives the same gradient.
        tile_tokens: Rows of the logits buffer; None chooses by the kind of target.

    Returns:
        Losses (N,) without the weights, and the gradient of sum(weight * loss) by `hidden_ND`.

    Raises:
        ConfigError: the objective cannot learn from this kind of target.
        ShapeError: there is no position, the rows of target or weights are not those of the
            hidden states, or teacher and student have different vocabularies.
    """
    kernel = objective.kernel_for(target)
    _check_rows(hidden_ND, target, weight_N)
    if objective.name != "sorted_l1":
        _check_vocabulary(target, head.vocabulary_size)
    num_tokens = hidden_ND.shape[0]
    tile = min(tile_tokens or _tile_tokens(target, head), num_tokens)
    hidden_ND = hidden_ND.detach()
    loss_N = hidden_ND.new_empty(num_tokens)
    hidden_grad_ND = torch.empty_like(hidden_ND)
    buffer_CV = hidden_ND.new_empty(tile, head.vocabulary_size)
    scaled_N = weight_N * head.form.scale
    with torch.no_grad():
        for start in range(0, num_tokens, tile):
            rows = slice(start, min(start + tile, num_tokens))
            logits_CV = buffer_CV[: rows.stop - start]
            slope_CV = head.logits_(hidden_ND[rows], logits_CV)
            loss_N[rows] = kernel(logits_CV, target.rows(start, rows.stop), scaled_N[rows])
            head.backward(logits_CV, slope_CV, hidden_ND[rows], hidden_grad_ND[rows])
    return loss_N, hidden_grad_ND


@torch.no_grad()
def token_logprobs(hidden_ND: Tensor, head: Head, ids_N: Tensor) -> Tensor:
    """The student's log-probability of one token per position, (N,), tile by tile.

    Raises:
        ShapeError: there is no position, or not one id for each.
    """
    target = TokenTarget(ids_N)
    _check_rows(hidden_ND, target, ids_N)
    _check_vocabulary(target, head.vocabulary_size)
    parts = []
    for hidden_CD, ids_C in zip(
        hidden_ND.split(TILE_TOKENS), ids_N.split(TILE_TOKENS), strict=True
    ):
        logits_CV = hidden_CD @ head.weight_VD.T
        head.form.apply_(logits_CV)
        picked_C1 = logits_CV.gather(1, ids_C.unsqueeze(1))
        parts.append(picked_C1.squeeze(1) - torch.logsumexp(logits_CV, dim=1))
    return torch.cat(parts)


def _tile_tokens(target: HeadTarget, head: Head) -> int:
    rows = WHOLE_TILE_TOKENS if isinstance(target, WholeTarget) else TILE_TOKENS
    # Its derivative is one more buffer.
    return rows if head.form.softcap is None else rows // 2


def _check_rows(hidden_ND: Tensor, target: HeadTarget, weight_N: Tensor) -> None:
    num_tokens = hidden_ND.shape[0]
    if num_tokens == 0:
        raise ShapeError("no positions to learn from; give at least one completion token.")
    if len(target) != num_tokens or weight_N.shape != (num_tokens,):
        raise ShapeError(
            f"{num_tokens} hidden states, {len(target)} target rows and weights of shape "
            f"{tuple(weight_N.shape)}: there must be one of each per position."
        )


def _check_vocabulary(target: HeadTarget, vocabulary_size: int) -> None:
    if isinstance(target, WholeTarget):
        if target.vocabulary_size != vocabulary_size:
            raise ShapeError(
                f"the teacher has {target.vocabulary_size} ids and the student {vocabulary_size}; "
                "cut head and target to the shared ones."
            )
        return
    ids = _ids(target)
    low, high = (int(end) for end in ids.aminmax())
    if low < 0 or high >= vocabulary_size:
        raise ShapeError(
            f"target ids from {low} to {high}, but the student has {vocabulary_size} ids; "
            "the target must be made with the student's tokenizer."
        )
    if isinstance(target, ProjectedTarget):
        is_unmapped_NK = target.weights_NKJ.sum(dim=2) <= 0
        if bool((is_unmapped_NK & (target.logprobs_NK > -torch.inf)).any()):
            raise ShapeError(
                "a teacher id with some probability has no student id; add it to the tail."
            )


def _ids(
    target: TokenTarget | ScoredTarget | SampledTarget | TopKTarget | ProjectedTarget,
) -> Tensor:
    match target:
        case TopKTarget():
            return target.ids_NK
        case SampledTarget():
            return target.ids_NJ
        case ProjectedTarget():
            return target.student_ids_NKJ
    return target.ids_N


class _FusedHeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        task: tuple[HeadTarget, Objective, Tensor, HeadForm],
    ) -> Tensor:
        target, objective, weight_N, form = task
        grad_VD = torch.zeros_like(weight_VD) if ctx.needs_input_grad[1] else None
        head = Head(weight_VD.detach(), grad_VD, form)
        loss_N, hidden_grad_ND = head_loss_and_grad(
            hidden_ND, head, target, objective, weight_N=weight_N
        )
        ctx.save_for_backward(hidden_grad_ND, grad_VD)
        return (loss_N * weight_N).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        (grad,) = grads
        hidden_grad_ND, grad_VD = ctx.saved_tensors
        return hidden_grad_ND * grad, None if grad_VD is None else grad_VD * grad, None


def fused_head_loss(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    target: HeadTarget,
    objective: Objective,
    *,
    weight_N: Tensor,
    form: HeadForm = PLAIN,
) -> Tensor:
    """The weighted sum of losses as a scalar that autograd can differentiate.

    The training loop calls `head_loss_and_grad`, which adds the head's gradient where it belongs;
    this is the same pass for use inside a larger expression. See there for the arguments.
    """
    task = (target, objective, weight_N, form)
    loss: Tensor = _FusedHeadLoss.apply(hidden_ND, weight_VD, task)
    return loss


class _LossOfLogits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits_NV: Tensor, target: HeadTarget, kernel: Kernel) -> Tensor:
        grad_NV = logits_NV.detach().clone()
        loss_N = kernel(grad_NV, target, grad_NV.new_ones(len(target)))
        ctx.save_for_backward(grad_NV)
        return loss_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (grad_N,) = grads
        (grad_NV,) = ctx.saved_tensors
        return grad_NV * grad_N.unsqueeze(1), None, None


def loss_of_logits(logits_NV: Tensor, target: HeadTarget, objective: Objective) -> Tensor:
    """Losses (N,) of whole student logits, differentiable: for small things and for reading.

    Raises:
        ConfigError: the objective cannot learn from this kind of target.
        ShapeError: rows or vocabularies do not fit.
    """
    kernel = objective.kernel_for(target)
    _check_rows(logits_NV, target, logits_NV.new_empty(logits_NV.shape[0]))
    if objective.name != "sorted_l1":
        _check_vocabulary(target, logits_NV.shape[1])
    loss_N: Tensor = _LossOfLogits.apply(logits_NV, target, kernel)
    return loss_N
