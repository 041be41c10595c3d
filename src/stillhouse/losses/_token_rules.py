"""Losses of picked tokens: the student's log-probability of an id, not its whole distribution.

A rule takes the student's log-probabilities `student_CJ` of J ids per position and the target's
rows, and returns the loss per position and its slope by each log-probability; the gradient by the
logits is slope * (onehot - q), summed over the ids. Where ids were drawn from the student, only
the mean of that gradient over draws means anything, and it need not be the gradient of the mean
loss: the names say which divergence it descends. log(q / p) itself ("k1") is not among them and
cannot be had: its gradient's mean is zero whatever the teacher says.
"""

import torch
from torch import Tensor

from stillhouse.losses._divergences import LossAndSlope
from stillhouse.losses._targets import SampledTarget, ScoredTarget, TokenTarget


def sft(student_CJ: Tensor, target: TokenTarget) -> LossAndSlope:
    """-log q(token)."""
    return -student_CJ.squeeze(1), torch.full_like(student_CJ, -1.0)


def sampled_cross_entropy(student_CJ: Tensor, target: SampledTarget) -> LossAndSlope:
    """-sum t log q over drawn ids; its mean is forward KL plus the teacher's entropy."""
    return -(target.weights_NJ * student_CJ).sum(dim=1), -target.weights_NJ


def k2_reverse_kl_gradient(student_CJ: Tensor, target: ScoredTarget) -> LossAndSlope:
    """log(q / p)**2 / 2 on the student's own tokens: descends reverse KL."""
    log_ratio_C1 = student_CJ - target.teacher_logprob_N.unsqueeze(1)
    return 0.5 * log_ratio_C1.square().squeeze(1), log_ratio_C1


def k3_forward_kl_gradient(student_CJ: Tensor, target: ScoredTarget) -> LossAndSlope:
    """Estimates reverse KL: p / q - 1 - log(p / q) on the student's own tokens.

    It descends forward KL all the same.
    """
    log_ratio_C1 = target.teacher_logprob_N.unsqueeze(1) - student_CJ
    excess_C1 = torch.expm1(log_ratio_C1)
    return (excess_C1 - log_ratio_C1).squeeze(1), -excess_C1


def policy_gradient_truncated(
    student_CJ: Tensor, target: ScoredTarget, *, max_ratio: float
) -> LossAndSlope:
    """min(q / q_behaviour, max_ratio) * log(q / p): descends reverse KL from older draws."""
    return _policy_gradient(
        student_CJ, target, _importance(student_CJ, target).clamp(max=max_ratio)
    )


def policy_gradient_gated(
    student_CJ: Tensor, target: ScoredTarget, *, max_ratio: float
) -> LossAndSlope:
    """Costs q / q_behaviour * log(q / p), and nothing where that ratio leaves [1 / max, max]."""
    ratio_C1 = _importance(student_CJ, target)
    is_near_C1 = (ratio_C1 <= max_ratio) & (ratio_C1 * max_ratio >= 1.0)
    return _policy_gradient(student_CJ, target, torch.where(is_near_C1, ratio_C1, 0.0))


def _importance(student_CJ: Tensor, target: ScoredTarget) -> Tensor:
    return (student_CJ - target.behaviour_logprob_N.unsqueeze(1)).exp()


def _policy_gradient(student_CJ: Tensor, target: ScoredTarget, ratio_C1: Tensor) -> LossAndSlope:
    # The score-function gradient: log(q / p) is the cost of the drawn token, a constant here.
    cost_C1 = ratio_C1 * (student_CJ - target.teacher_logprob_N.unsqueeze(1))
    if target.baseline_N is None:
        return cost_C1.squeeze(1), cost_C1
    # The mean of the score itself is zero, so this changes the variance alone.
    return cost_C1.squeeze(1), cost_C1 - ratio_C1 * target.baseline_N.unsqueeze(1)
