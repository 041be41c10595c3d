"""Every divergence once, as a pure function of two distributions over the same O outcomes.

Each takes log-probabilities `teacher_CO` and `student_CO` and returns the divergence per row, in
nats, and its slope: the derivative by the student's log-probabilities as if they were free, up to
a multiple of q. The gradient by the student's logits is then slope - q * sum(slope), for which a
multiple of q is nothing; it is left out where it would only cost digits. The outcomes may be a
vocabulary, or a teacher's top-k and one tail bucket: no function here knows which.

An outcome that the teacher rules out (-inf) has no part in forward KL. Where the student's mass
is divided by the teacher's (reverse KL and what contains it), it counts as `RESOLUTION`: a stored
signal cannot tell a smaller probability from none, and an infinite loss teaches nothing.
"""

import math

import torch
from torch import Tensor

LossAndSlope = tuple[Tensor, Tensor]

RESOLUTION = math.log(2.0**-23)
"""Log of float32's resolution at 1."""

_LARGEST_EXPONENT = 80.0  # exp(88) is the largest in float32


def forward_kl(teacher_CO: Tensor, student_CO: Tensor) -> LossAndSlope:
    """KL(p || q) = sum p log(p / q)."""
    p_CO = teacher_CO.exp()
    # where, not a product: 0 * inf is not 0.
    terms_CO = torch.where(p_CO > 0, p_CO * (teacher_CO - student_CO), 0.0)
    return terms_CO.sum(dim=1), p_CO.neg_()


def reverse_kl(teacher_CO: Tensor, student_CO: Tensor) -> LossAndSlope:
    """KL(q || p) = sum q log(q / p)."""
    floored_CO = teacher_CO.masked_fill(teacher_CO == -torch.inf, RESOLUTION)
    slope_CO = student_CO.exp() * (student_CO - floored_CO)
    return slope_CO.sum(dim=1), slope_CO


def mixed_kl(teacher_CO: Tensor, student_CO: Tensor, *, forward_weight: float) -> LossAndSlope:
    """forward_weight * KL(p || q) + (1 - forward_weight) * KL(q || p)."""
    forward = forward_kl(teacher_CO, student_CO)
    reverse = reverse_kl(teacher_CO, student_CO)
    return _weighted(forward, forward_weight, reverse, 1.0 - forward_weight)


def generalized_jsd(
    teacher_CO: Tensor, student_CO: Tensor, *, teacher_weight: float
) -> LossAndSlope:
    """Weights b KL(p || M) + (1 - b) KL(q || M), M = b p + (1 - b) q, b the teacher's weight."""
    loss_C, slope_CO = normalized_jsd(teacher_CO, student_CO, teacher_weight=teacher_weight)
    size = teacher_weight * (1.0 - teacher_weight)
    return loss_C * size, slope_CO.mul_(size)


def normalized_jsd(
    teacher_CO: Tensor, student_CO: Tensor, *, teacher_weight: float
) -> LossAndSlope:
    """generalized_jsd / (b (1 - b)): forward KL at b = 0, reverse KL at b = 1, both exactly."""
    if teacher_weight == 0.0:
        return forward_kl(teacher_CO, student_CO)
    if teacher_weight == 1.0:
        return reverse_kl(teacher_CO, student_CO)
    over_student_CO, over_teacher_CO = _log_mixture(teacher_CO, student_CO, teacher_weight)
    p_CO, q_CO = teacher_CO.exp(), student_CO.exp()
    slope_CO = q_CO * over_student_CO / -teacher_weight
    to_teacher_CO = torch.where(p_CO > 0, p_CO * over_teacher_CO, 0.0)
    return slope_CO.sum(dim=1) - to_teacher_CO.sum(dim=1) / (1.0 - teacher_weight), slope_CO


def skew_kl(teacher_CO: Tensor, student_CO: Tensor, *, skew: float) -> LossAndSlope:
    """KL(p || M) with M = skew p + (1 - skew) q."""
    over_student_CO, over_teacher_CO = _log_mixture(teacher_CO, student_CO, skew)
    p_CO = teacher_CO.exp()
    loss_C = -torch.where(p_CO > 0, p_CO * over_teacher_CO, 0.0).sum(dim=1)
    return loss_C, p_CO.mul_((-over_student_CO).exp_()).mul_(skew - 1.0)


def skew_reverse_kl(teacher_CO: Tensor, student_CO: Tensor, *, skew: float) -> LossAndSlope:
    """KL(q || M) with M = skew q + (1 - skew) p; its exact gradient, through M too.

    The method's authors detach the q in M.
    """
    if skew == 0.0:
        return reverse_kl(teacher_CO, student_CO)
    over_student_CO, _ = _log_mixture(teacher_CO, student_CO, 1.0 - skew)
    q_CO = student_CO.exp()
    terms_CO = q_CO * over_student_CO
    through_mixture_CO = q_CO * torch.expm1(-over_student_CO)
    return -terms_CO.sum(dim=1), -(terms_CO + skew * through_mixture_CO)


def total_variation(teacher_CO: Tensor, student_CO: Tensor) -> LossAndSlope:
    """Half the sum of |p - q|."""
    q_CO = student_CO.exp()
    gap_CO = q_CO - teacher_CO.exp()
    return 0.5 * gap_CO.abs().sum(dim=1), 0.5 * q_CO * gap_CO.sign()


def adaptive_kl(teacher_CO: Tensor, student_CO: Tensor, *, head_mass: float) -> LossAndSlope:
    """(g_head forward_kl + g_rest reverse_kl) / (g_head + g_rest), g = sum of |p - q|, detached.

    The head is the teacher's fewest outcomes that hold `head_mass`.
    """
    p_CO = teacher_CO.exp()
    gap_CO = (p_CO - student_CO.exp()).abs_()
    sorted_CO, order_CO = p_CO.sort(dim=1, descending=True)
    is_head_CO = sorted_CO.cumsum(dim=1) - sorted_CO < head_mass
    head_C = torch.where(is_head_CO, gap_CO.gather(1, order_CO), 0.0).sum(dim=1)
    all_C = gap_CO.sum(dim=1)
    share_C = torch.where(all_C > 0, head_C / all_C, 0.5)
    forward = forward_kl(teacher_CO, student_CO)
    return _weighted(forward, share_C, reverse_kl(teacher_CO, student_CO), 1.0 - share_C)


def sorted_l1(teacher_CO: Tensor, student_CO: Tensor) -> LossAndSlope:
    """Sum of |p_(i) - q_(i)|, each sorted by itself: blind to which id is which.

    The shorter of the two is filled with zeros, so vocabularies may differ.
    """
    q_CO = student_CO.exp()
    sorted_CO, order_CO = q_CO.sort(dim=1, descending=True)
    teacher_sorted_CO = teacher_CO.exp().sort(dim=1, descending=True).values
    shared = min(sorted_CO.shape[1], teacher_sorted_CO.shape[1])
    gap_CO = sorted_CO.clone()
    gap_CO[:, :shared] -= teacher_sorted_CO[:, :shared]
    unmatched_C = teacher_sorted_CO[:, shared:].sum(dim=1)
    slope_CO = torch.empty_like(q_CO).scatter_(1, order_CO, gap_CO.sign() * sorted_CO)
    return gap_CO.abs().sum(dim=1) + unmatched_C, slope_CO


def _log_mixture(
    teacher_CO: Tensor, student_CO: Tensor, teacher_weight: float
) -> tuple[Tensor, Tensor]:
    """log(M / q) and log(M / p) with M = w p + (1 - w) q, w < 1.

    log1p of expm1 keeps the digits that a log of a sum loses where p and q are close or w is
    small; it is taken from the side of the larger weight, where it never comes near log 0.
    """
    w = teacher_weight
    log_ratio_CO = teacher_CO - student_CO
    if w <= 0.5:
        over_student_CO = _log1p_expm1(log_ratio_CO, w)
        over_teacher_CO = over_student_CO - log_ratio_CO
    else:
        over_teacher_CO = _log1p_expm1(-log_ratio_CO, 1.0 - w)
        over_student_CO = over_teacher_CO + log_ratio_CO
        if w < 1.0:
            over_student_CO.masked_fill_(teacher_CO == -torch.inf, math.log1p(-w))
    return over_student_CO, over_teacher_CO


def _log1p_expm1(exponent_CO: Tensor, weight: float) -> Tensor:
    """log(1 + weight * (exp(x) - 1)) without overflow, weight <= 0.5."""
    if weight == 0.0:
        return torch.zeros_like(exponent_CO)
    above_CO = (exponent_CO - _LARGEST_EXPONENT).clamp_(min=0.0)
    clamped_CO = exponent_CO.clamp(max=_LARGEST_EXPONENT)
    return clamped_CO.expm1_().mul_(weight).log1p_().add_(above_CO)


def _weighted(
    one: LossAndSlope, one_weight: float | Tensor, other: LossAndSlope, other_weight: float | Tensor
) -> LossAndSlope:
    loss_C = one_weight * one[0] + other_weight * other[0]
    if isinstance(one_weight, Tensor) and isinstance(other_weight, Tensor):
        one_weight, other_weight = one_weight.unsqueeze(1), other_weight.unsqueeze(1)
    return loss_C, one[1].mul_(one_weight).add_(other[1].mul_(other_weight))
