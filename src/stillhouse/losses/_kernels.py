"""A loss on one tile of logits, whose weighted gradient takes the logits' place.

One kernel per kind of target; which divergence or rule it applies is a parameter. Shape letters: C
rows of a tile, V vocabulary, K top-k, O outcomes, J ids per position.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from stillhouse.losses._divergences import LossAndSlope
from stillhouse.losses._targets import (
    ProjectedTarget,
    SampledTarget,
    ScoredTarget,
    TokenTarget,
    TopKTarget,
    WholeTarget,
)

Divergence = Callable[[Tensor, Tensor], LossAndSlope]
"""(teacher_CO, student_CO) log-probabilities -> loss (C,) and slope (C, O)."""

TokenRule = Callable[[Tensor, Any], LossAndSlope]
"""Log-probabilities (C, J) and the target's rows -> loss (C,) and slope (C, J)."""

BLOCK_ELEMENTS = 100_000
"""Logits that a whole-vocabulary divergence works on at once: its dozen arrays stay in cache."""

_VOID = -1e4  # log of nothing, but finite: 0 * inf would be NaN


def picked_kernel(
    logits_CV: Tensor,
    target: TokenTarget | ScoredTarget | SampledTarget,
    weight_C: Tensor,
    rule: TokenRule,
) -> Tensor:
    """A rule on the log-probabilities of the target's ids."""
    ids_CJ = target.ids_NJ if isinstance(target, SampledTarget) else target.ids_N.unsqueeze(1)
    picked_CJ = logits_CV.gather(1, ids_CJ)
    loss_C, slope_CJ = rule(picked_CJ - softmax_in_place(logits_CV), target)
    slope_CJ = slope_CJ * weight_C.unsqueeze(1)
    logits_CV.mul_(-slope_CJ.sum(dim=1, keepdim=True))
    logits_CV.scatter_add_(1, ids_CJ, slope_CJ)
    return loss_C


def topk_kernel(
    logits_CV: Tensor, target: TopKTarget, weight_C: Tensor, divergence: Divergence
) -> Tensor:
    """A divergence over the K ids and one outcome for everything else.

    With Q the student's mass outside the ids and r = q / Q its distribution there, the gradient of
    the outcome "everything else" is spread by r: the shape of the tail is left to the student.
    """
    ids_CK = target.ids_NK
    top_CK = logits_CV.gather(1, ids_CK)
    top_CK[:, 1:].masked_fill_(ids_CK[:, 1:] == ids_CK[:, :1], -torch.inf)  # fillers
    # The tail is normalised by itself: as 1 - sum(top), or as a part of one softmax over V, it
    # would have no correct digit left where it is below 1e-7.
    logits_CV.scatter_(1, ids_CK, -torch.inf)
    outcomes_CO = torch.cat([top_CK, softmax_in_place(logits_CV)], dim=1)
    if ids_CK.shape[1] >= logits_CV.shape[1]:
        logits_CV.nan_to_num_(0.0)  # rows whose ids are the whole vocabulary
    teacher_CO = torch.cat([target.logprobs_NK, target.tail_logprob_N.unsqueeze(1)], dim=1)
    teacher_CO, student_CO = _without_void(teacher_CO, outcomes_CO)
    loss_C, slope_CO = divergence(teacher_CO, student_CO)
    grad_CO = _normalised_grad(slope_CO * weight_C.unsqueeze(1), student_CO)
    logits_CV.mul_(grad_CO[:, -1:])
    # Added, not written: the ids hold zeros now, and a filler's id occurs twice.
    logits_CV.scatter_add_(1, ids_CK, grad_CO[:, :-1])
    return loss_C


def dense_kernel(
    logits_CV: Tensor,
    target: WholeTarget,
    weight_C: Tensor,
    divergence: Divergence,
    loss_temperature: float,
) -> Tensor:
    """A divergence over the whole vocabulary, of both logits divided by `loss_temperature`."""
    teacher_CV = target.teacher_logits_CV()
    block = max(1, BLOCK_ELEMENTS // logits_CV.shape[1])
    losses = []
    for start in range(0, logits_CV.shape[0], block):
        rows = slice(start, start + block)
        teacher_BV, student_BV = teacher_CV[rows], logits_CV[rows]
        if loss_temperature != 1.0:
            teacher_BV, student_BV = teacher_BV / loss_temperature, student_BV / loss_temperature
        student_BV = torch.log_softmax(student_BV, dim=1)
        loss_B, slope_BV = divergence(torch.log_softmax(teacher_BV, dim=1), student_BV)
        slope_BV.mul_((weight_C[rows] / loss_temperature).unsqueeze(1))
        logits_CV[rows] = _normalised_grad(slope_BV, student_BV)
        losses.append(loss_B)
    return torch.cat(losses)


def projected_kernel(
    logits_CV: Tensor, target: ProjectedTarget, weight_C: Tensor, divergence: Divergence
) -> Tensor:
    """A divergence over a teacher's ids, each a weighted set of the student's, and the tail."""
    block = max(1, BLOCK_ELEMENTS // logits_CV.shape[1])
    losses = [
        _projected_block(
            logits_CV[start : start + block],
            target.rows(start, start + block),
            weight_C[start : start + block],
            divergence,
        )
        for start in range(0, logits_CV.shape[0], block)
    ]
    return torch.cat(losses)


def _projected_block(
    logits_CV: Tensor, target: ProjectedTarget, weight_C: Tensor, divergence: Divergence
) -> Tensor:
    ids_CM = target.student_ids_NKJ.flatten(1)  # M = K * J
    weights_CKJ = target.weights_NKJ.to(logits_CV.dtype)
    # log of what no set claims of each student id; -inf where all of it is claimed.
    unclaimed_CV = torch.zeros_like(logits_CV).scatter_add_(1, ids_CM, -weights_CKJ.flatten(1))
    tail_CV = unclaimed_CV.clamp_(min=-1.0).log1p_().add_(logits_CV)
    # log of weight * exp(logit), normalised within each set: an id's share of its outcome.
    claims_CKJ = logits_CV.gather(1, ids_CM).view_as(weights_CKJ) + weights_CKJ.log()
    sets_CK = torch.logsumexp(claims_CKJ, dim=2)
    outcomes_CO = torch.cat([sets_CK, softmax_in_place(tail_CV)], dim=1)
    teacher_CO = torch.cat([target.logprobs_NK, target.tail_logprob_N.unsqueeze(1)], dim=1)
    teacher_CO, student_CO = _without_void(teacher_CO, outcomes_CO)
    loss_C, slope_CO = divergence(teacher_CO, student_CO)
    grad_CO = _normalised_grad(slope_CO * weight_C.unsqueeze(1), student_CO)
    # Each id gets its share of each outcome's gradient.
    sets_CK.masked_fill_(sets_CK == -torch.inf, 0.0)
    shares_CKJ = (claims_CKJ - sets_CK.unsqueeze(2)).exp_().mul_(grad_CO[:, :-1].unsqueeze(2))
    torch.mul(tail_CV.nan_to_num_(0.0), grad_CO[:, -1:], out=logits_CV)
    logits_CV.scatter_add_(1, ids_CM, shares_CKJ.flatten(1))
    return loss_C


def _without_void(teacher_CO: Tensor, outcomes_CO: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of both; an outcome that no id of the student makes is none for either.

    Such are fillers, and a tail where the ids or sets are the whole vocabulary: what is left of
    the teacher's mass there is the rounding of 1 - sum(top).
    """
    is_void_CO = outcomes_CO == -torch.inf
    student_CO = torch.log_softmax(outcomes_CO, dim=1).masked_fill_(is_void_CO, _VOID)
    return teacher_CO.masked_fill(is_void_CO, -torch.inf), student_CO


def _normalised_grad(slope_CO: Tensor, student_CO: Tensor) -> Tensor:
    """The gradient slope - q * sum(slope) by the outcomes' logits; uses its arguments up.

    For forward KL, -sum(slope) is the teacher's whole mass, which stored log-probabilities round
    to 1 +- 1e-7: keeping it keeps gradient and value consistent.
    """
    return slope_CO.sub_(student_CO.exp_().mul_(slope_CO.sum(dim=1, keepdim=True)))


def softmax_in_place(logits_CV: Tensor) -> Tensor:
    """Turn logits into probabilities and return the log of their normaliser, (C, 1).

    A row that is -inf throughout has the normaliser -inf, and no probabilities: NaN.
    """
    largest_C1 = logits_CV.amax(dim=1, keepdim=True)
    torch.softmax(logits_CV, dim=1, out=logits_CV)
    # The largest probability is 1 / sum(exp(z - max)), at least 1 / V: its log is exact enough.
    log_normaliser_C1 = largest_C1 - logits_CV.amax(dim=1, keepdim=True).log()
    return torch.where(largest_C1 == -torch.inf, largest_C1, log_normaliser_C1)
