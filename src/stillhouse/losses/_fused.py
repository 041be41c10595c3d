"""Head and loss in one pass over chunks of valid positions, gradient computed on the way.

A head of V = 49,152 turns 2,048 positions into 384 MB of float32 logits, and a dense KL keeps five
to seven arrays of that size. Here one (C, V) buffer holds a chunk's logits, becomes its
probabilities and then the gradient of the loss with respect to the logits, in place; only the (N,
D) gradient of the hidden states and the head's own gradient remain.

A *kernel* is one objective on one chunk: it gets the logits buffer and its rows of the target,
returns the loss per row and leaves d(loss)/d(logits) in the buffer. That is all there is to add
for a new objective.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from stillhouse.errors import ShapeError

CHUNK_TOKENS = 128
"""Rows of one logits buffer: 25 MB at V = 49,152. 64 to 256 run at the same speed on two cores."""


@dataclass(frozen=True)
class TokenTarget:
    """Hard targets: the ids to predict, (N,) int64."""

    ids_N: Tensor

    def __len__(self) -> int:
        return int(self.ids_N.shape[0])

    def rows(self, start: int, stop: int) -> "TokenTarget":
        """The target of positions `start` to `stop`."""
        return TokenTarget(self.ids_N[start:stop])


@dataclass(frozen=True)
class TopKTarget:
    """A teacher's top-k log-probabilities and the log of the mass outside them."""

    ids_NK: Tensor
    logprobs_NK: Tensor
    tail_logprob_N: Tensor

    def __len__(self) -> int:
        return int(self.ids_NK.shape[0])

    def rows(self, start: int, stop: int) -> "TopKTarget":
        """The target of positions `start` to `stop`."""
        return TopKTarget(
            self.ids_NK[start:stop], self.logprobs_NK[start:stop], self.tail_logprob_N[start:stop]
        )


HeadTarget = TokenTarget | TopKTarget


def cross_entropy_kernel(logits_CV: Tensor, target: TokenTarget) -> Tensor:
    """-log q(id); the gradient q - onehot(id) replaces the logits."""
    ids_C1 = target.ids_N.unsqueeze(1)
    picked = logits_CV.gather(1, ids_C1)
    log_normaliser_C1 = _softmax_in_place(logits_CV)
    loss_C = (log_normaliser_C1 - picked).squeeze(1)
    logits_CV.scatter_add_(1, ids_C1, torch.full_like(picked, -1.0))
    return loss_C


def forward_kl_topk_kernel(logits_CV: Tensor, target: TopKTarget) -> Tensor:
    """Top-k + tail forward KL; its gradient replaces the logits.

    With q the student, Q its mass outside the ids, r = q / Q its distribution there and P the
    teacher's tail, the gradient is q - p on the ids and r (Q - P) elsewhere: the shape of the tail
    is left to the student.
    """
    ids_CK = target.ids_NK
    top_logits_CK = logits_CV.gather(1, ids_CK)
    # The tail is normalised by itself: as 1 - sum(top), or as a part of one softmax over V, it
    # would have no correct digit left where it is below 1e-7.
    logits_CV.scatter_(1, ids_CK, -torch.inf)
    tail_normaliser_C1 = _softmax_in_place(logits_CV)
    # K + 1 outcomes, the tail last.
    student_CK1 = torch.log_softmax(torch.cat([top_logits_CK, tail_normaliser_C1], dim=1), dim=1)
    teacher_CK1 = torch.cat([target.logprobs_NK, _tail_C1(target, logits_CV)], dim=1)
    teacher_probs_CK1 = teacher_CK1.exp()
    loss_C = torch.where(
        teacher_probs_CK1 > 0, teacher_probs_CK1 * (teacher_CK1 - student_CK1), 0.0
    ).sum(dim=1)

    # The gradient of sum(p) * logsumexp needs the teacher's whole mass, which stored
    # log-probabilities round to 1 +- 1e-7: q * mass, not q, keeps gradient and value consistent.
    mass_C1 = teacher_probs_CK1.sum(dim=1, keepdim=True)
    grad_CK1 = student_CK1.exp() * mass_C1 - teacher_probs_CK1
    logits_CV.mul_(grad_CK1[:, -1:])
    logits_CV.scatter_(1, ids_CK, grad_CK1[:, :-1])
    return loss_C


def _tail_C1(target: TopKTarget, logits_CV: Tensor) -> Tensor:
    """Log of the teacher's tail, (C, 1); none where the ids are the whole vocabulary."""
    tail_C1 = target.tail_logprob_N.unsqueeze(1)
    is_whole = target.ids_NK.shape[1] == logits_CV.shape[1]
    return torch.full_like(tail_C1, -torch.inf) if is_whole else tail_C1


def _softmax_in_place(logits_CV: Tensor) -> Tensor:
    """Turn logits into probabilities and return the log of their normaliser, (C, 1).

    A row that is -inf throughout has the normaliser -inf, and no probabilities: NaN.
    """
    largest_C1 = logits_CV.amax(dim=1, keepdim=True)
    torch.softmax(logits_CV, dim=1, out=logits_CV)
    # The largest probability is 1 / sum(exp(z - max)), at least 1 / V: its log is exact enough.
    log_normaliser_C1 = largest_C1 - logits_CV.amax(dim=1, keepdim=True).log()
    return torch.where(largest_C1 == -torch.inf, largest_C1, log_normaliser_C1)


_KERNELS: dict[type, Callable[[Tensor, Any], Tensor]] = {
    TokenTarget: cross_entropy_kernel,
    TopKTarget: forward_kl_topk_kernel,
}


def head_loss_and_grad(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    target: HeadTarget,
    *,
    weight_N: Tensor,
    weight_grad_VD: Tensor | None,
    chunk_tokens: int = CHUNK_TOKENS,
) -> tuple[Tensor, Tensor]:
    """Losses per position and the gradient of their weighted sum.

    Args:
        hidden_ND: Hidden states at the positions that predict a valid token, N > 0.
        weight_VD: The output head, of the same dtype.
        target: What to match, N rows.
        weight_N: The factor of each position in the sum, for instance 1 / number of valid tokens.
        weight_grad_VD: Where the head's gradient is added; None for a frozen head.
        chunk_tokens: Rows of the logits buffer.

    Returns:
        Losses (N,) without the weights, and the gradient of sum(weight * loss) by `hidden_ND`.

    Raises:
        ShapeError: there is no position, or target or weights have another number of rows than
            the hidden states.
    """
    num_tokens = hidden_ND.shape[0]
    if num_tokens == 0:
        raise ShapeError("no positions to learn from; give at least one completion token.")
    if len(target) != num_tokens or weight_N.shape != (num_tokens,):
        raise ShapeError(
            f"{num_tokens} hidden states, {len(target)} target rows and weights of shape "
            f"{tuple(weight_N.shape)}: there must be one of each per position."
        )
    kernel = _KERNELS[type(target)]
    hidden_ND = hidden_ND.detach()
    loss_N = hidden_ND.new_empty(num_tokens)
    hidden_grad_ND = torch.empty_like(hidden_ND)
    buffer_CV = hidden_ND.new_empty(min(chunk_tokens, num_tokens), weight_VD.shape[0])
    with torch.no_grad():
        for start in range(0, num_tokens, chunk_tokens):
            stop = min(start + chunk_tokens, num_tokens)
            hidden_CD = hidden_ND[start:stop]
            logits_CV = buffer_CV[: stop - start]
            torch.mm(hidden_CD, weight_VD.T, out=logits_CV)
            loss_N[start:stop] = kernel(logits_CV, target.rows(start, stop))
            logits_CV.mul_(weight_N[start:stop].unsqueeze(1))
            torch.mm(logits_CV, weight_VD, out=hidden_grad_ND[start:stop])
            if weight_grad_VD is not None:
                weight_grad_VD.addmm_(logits_CV.T, hidden_CD)
    return loss_N, hidden_grad_ND


class _FusedHeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, target: HeadTarget, weight_N: Tensor
    ) -> Tensor:
        weight_grad_VD = torch.zeros_like(weight_VD) if ctx.needs_input_grad[1] else None
        loss_N, hidden_grad_ND = head_loss_and_grad(
            hidden_ND,
            weight_VD.detach(),
            target,
            weight_N=weight_N,
            weight_grad_VD=weight_grad_VD,
        )
        ctx.save_for_backward(hidden_grad_ND, weight_grad_VD)
        return (loss_N * weight_N).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        (grad,) = grads
        hidden_grad_ND, weight_grad_VD = ctx.saved_tensors
        scaled = None if weight_grad_VD is None else weight_grad_VD * grad
        return hidden_grad_ND * grad, scaled, None, None


def fused_head_loss(
    hidden_ND: Tensor, weight_VD: Tensor, target: HeadTarget, *, weight_N: Tensor
) -> Tensor:
    """The weighted sum of losses as a scalar that autograd can differentiate.

    The training loop calls `head_loss_and_grad`, which adds the head's gradient where it belongs;
    this is the same kernel for use inside a larger expression. See there for the arguments.
    """
    loss: Tensor = _FusedHeadLoss.apply(hidden_ND, weight_VD, target, weight_N)
    return loss
