"""Objectives of sums over positions: a chunk's, or a whole completion's, log-probability.

The loss is a function of few numbers, the student's summed log-probabilities of S segments, but
its gradient needs them before the first position can be differentiated. So there are two passes
over the head: one for the log-probabilities, one for the gradient with a coefficient per
position. Shape letters: S segments, L losses (segments, or pairs of them).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stillhouse.errors import ConfigError, ShapeError
from stillhouse.losses._fused import head_loss_and_grad, token_logprobs
from stillhouse.losses._head import Head
from stillhouse.losses._objectives import Objective
from stillhouse.losses._targets import SampledTarget

Rule = Callable[[Tensor, Tensor], Tensor]
"""(student_logprob_S, length_S) -> loss_L, in operations that autograd can differentiate."""


@dataclass(frozen=True)
class Segments:
    """Tokens in groups.

    Attributes:
        ids_N: What was predicted at each position, int64.
        segment_N: The group of each position, 0 to `num_segments` - 1; -1 for none.
        num_segments: S; each group has at least one position.
    """

    ids_N: Tensor
    segment_N: Tensor
    num_segments: int

    def lengths(self) -> Tensor:
        """Positions per segment, (S,) int64.

        Raises:
            ShapeError: a segment has none, or a position's group does not exist.
        """
        if self.ids_N.shape != self.segment_N.shape or not bool(
            ((self.segment_N >= -1) & (self.segment_N < self.num_segments)).all()
        ):
            raise ShapeError(
                f"{self.ids_N.shape[0]} ids and {self.segment_N.shape[0]} segment numbers; there "
                f"must be one each, from -1 to {self.num_segments - 1}."
            )
        used = self.segment_N[self.segment_N >= 0]
        lengths_S = torch.bincount(used, minlength=self.num_segments)
        if not bool((lengths_S > 0).all()):
            empty = int((lengths_S == 0).nonzero()[0])
            raise ShapeError(f"segment {empty} has no position; leave it out of the segments.")
        return lengths_S

    def sums(self, value_N: Tensor) -> Tensor:
        """Per-segment sums of a number per position, (S,)."""
        # One more place, for the positions of no segment: -1 counts from the end.
        sums = value_N.new_zeros(self.num_segments + 1)
        return sums.index_add_(0, self.segment_N % (self.num_segments + 1), value_N)[:-1]

    def spread(self, value_S: Tensor) -> Tensor:
        """The number of each position's segment, 0 for those of none, (N,)."""
        return torch.cat([value_S, value_S.new_zeros(1)])[self.segment_N]


@dataclass(frozen=True)
class ChunkLikelihood:
    """ALM: a chunk of text should be as likely under both models, whatever their tokens.

    Cross-entropy of two coins, a = exp(teacher / tau) against b = exp(student / tau): it needs
    the teacher's summed log-probability of the chunk and nothing else.

    Attributes:
        teacher_logprob_S: Of each chunk's text, nats.
        tau: Divides both sums.

    Source: Minixhofer et al. 2025, arXiv:2503.20083.
    """

    teacher_logprob_S: Tensor
    tau: float = 100.0

    def __post_init__(self) -> None:
        _check_positive("tau", self.tau)

    def __call__(self, student_logprob_S: Tensor, length_S: Tensor) -> Tensor:
        """-(a log b + (1 - a) log(1 - b)) per chunk."""
        teacher_S = self.teacher_logprob_S / self.tau
        # A sum that rounds to 0 would make log(1 - b) infinite.
        smallest = torch.finfo(student_logprob_S.dtype).eps
        student_S = student_logprob_S.clamp(max=-smallest) / self.tau
        log_other_S = torch.log(-torch.expm1(student_S))
        return -(teacher_S.exp() * student_S - torch.expm1(teacher_S) * log_other_S)


@dataclass(frozen=True)
class Preference:
    """DPO with the teacher's text preferred over the student's own: needs text alone.

    Attributes:
        reference_logprob_S: Of each completion under the student before training, summed.
        chosen_L: Segments of teacher text.
        rejected_L: Segments of student text on the same prompts.
        strength: How far the student may leave the reference; DPO's beta.
        is_length_normalized: Whether sums are divided by the segments' lengths.

    Source: Rafailov et al. 2023, arXiv:2305.18290; for distillation DPKD 2024, arXiv:2406.19774.
    """

    reference_logprob_S: Tensor
    chosen_L: Tensor
    rejected_L: Tensor
    strength: float = 0.1
    is_length_normalized: bool = False

    def __post_init__(self) -> None:
        _check_positive("strength", self.strength)

    def __call__(self, student_logprob_S: Tensor, length_S: Tensor) -> Tensor:
        """-log sigmoid(strength * (gain of chosen - gain of rejected)) per pair."""
        gain_S = student_logprob_S - self.reference_logprob_S
        if self.is_length_normalized:
            gain_S = gain_S / length_S
        return -F.logsigmoid(self.strength * (gain_S[self.chosen_L] - gain_S[self.rejected_L]))


def sequence_loss_and_grad(
    hidden_ND: Tensor, head: Head, segments: Segments, rule: Rule, *, weight_L: Tensor
) -> tuple[Tensor, Tensor]:
    """Losses per segment (or pair of them) and the gradient of their weighted sum.

    Args:
        hidden_ND: Hidden states at the positions that predict.
        head: The output head; its gradient is added to `head.grad_VD`.
        segments: Which tokens belong together.
        rule: The objective: such as `ChunkLikelihood` or `Preference`.
        weight_L: The factor of each loss in the sum.

    Returns:
        Losses (L,) without the weights, and the gradient of sum(weight * loss) by `hidden_ND`.

    Raises:
        ShapeError: segments, weights and hidden states do not fit.
    """
    length_S = segments.lengths()
    logprob_N = token_logprobs(hidden_ND, head, segments.ids_N)
    with torch.enable_grad():
        logprob_S = segments.sums(logprob_N).requires_grad_()
        loss_L = rule(logprob_S, length_S)
        if loss_L.shape != weight_L.shape:
            raise ShapeError(
                f"{tuple(loss_L.shape)} losses and weights of shape {tuple(weight_L.shape)}; "
                "there must be one weight per loss."
            )
        (slope_S,) = torch.autograd.grad((loss_L * weight_L).sum(), logprob_S)
    drawn = SampledTarget(segments.ids_N.unsqueeze(1), -segments.spread(slope_S).unsqueeze(1))
    _, hidden_grad_ND = head_loss_and_grad(
        hidden_ND,
        head,
        drawn,
        Objective("sampled_cross_entropy"),
        weight_N=torch.ones_like(logprob_N),
    )
    return loss_L.detach(), hidden_grad_ND


def _check_positive(name: str, value: float) -> None:
    if not value > 0:
        raise ConfigError(f"{name}={value}; give a number above 0.")
