"""DistiLLM-2: skew divergences whose direction is the data's and whose skew is each sample's."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stillhouse.errors import ConfigError, ShapeError
from stillhouse.losses._fused import head_loss_and_grad, token_logprobs
from stillhouse.losses._head import Head
from stillhouse.losses._objectives import Objective
from stillhouse.losses._targets import HeadTarget


@dataclass(frozen=True)
class Distillm2:
    """Settings of the contrastive loss.

    Attributes:
        student_text_weight: b, 0 to 2: weight of student text; teacher text gets 2 - b. The paper
            raises it from 1 to 1.5 over a run.
        base_skew: Largest skew, in (0.01, 1).

    Source: Ko et al. 2025, arXiv:2503.07067.
    """

    student_text_weight: float = 1.0
    base_skew: float = 0.1

    def __post_init__(self) -> None:
        if not 0.0 <= self.student_text_weight <= 2.0:
            raise ConfigError(
                f"student_text_weight={self.student_text_weight}; give a number in [0, 2]."
            )
        if not _LEAST_SKEW < self.base_skew < 1.0:
            raise ConfigError(f"base_skew={self.base_skew}; give a number in (0.01, 1).")

    def skew(self, gap: float, mean_gap: float) -> float:
        """The skew of one sample, smaller where the models are closer than usual.

        Args:
            gap: How much likelier a token of it is under the model that wrote it, exp(mean
                log-probability) there minus that under the other.
            mean_gap: The running mean of that over samples of the same origin.
        """
        if gap <= 0.0:
            return self.base_skew
        wanted = 1.0 - (1.0 - self.base_skew) * mean_gap / gap
        return min(max(wanted, _LEAST_SKEW), self.base_skew)

    def parts(
        self, samples: "Samples", gaps: Sequence[float], mean_gaps: tuple[float, float]
    ) -> list["Part"]:
        """Skew KL on teacher text and skew reverse KL on student text, for the rows of `samples`.

        Args:
            samples: Completions and their authors.
            gaps: From `Samples.gaps`.
            mean_gaps: Running means of them, of teacher text and of student text.
        """
        parts = []
        for length, is_teachers, gap in zip(
            samples.lengths, samples.is_teacher_text, gaps, strict=True
        ):
            name = "skew_kl" if is_teachers else "skew_reverse_kl"
            skew = self.skew(gap, mean_gaps[0 if is_teachers else 1])
            weight = self.student_text_weight
            factor = 2.0 - weight if is_teachers else weight
            parts.append(Part(length, Objective(name, skew=skew), factor))
        return parts


_LEAST_SKEW = 0.01


@dataclass(frozen=True)
class Samples:
    """Completions one after another, and who wrote them.

    Attributes:
        ids_N: Their tokens.
        lengths: Tokens of each, in order; they sum to N.
        teacher_logprobs: Mean token log-probability of each under the teacher.
        is_teacher_text: Whether the teacher wrote it; else the student did.
    """

    ids_N: Tensor
    lengths: tuple[int, ...]
    teacher_logprobs: tuple[float, ...]
    is_teacher_text: tuple[bool, ...]

    def __post_init__(self) -> None:
        counts = {len(self.lengths), len(self.teacher_logprobs), len(self.is_teacher_text)}
        if len(counts) != 1 or sum(self.lengths) != self.ids_N.shape[0] or 0 in self.lengths:
            raise ShapeError(
                f"{self.ids_N.shape[0]} tokens in samples of lengths {self.lengths[:10]}; each "
                "sample needs a length, a log-probability and an author, and lengths sum to N."
            )

    def gaps(self, hidden_ND: Tensor, head: Head) -> list[float]:
        """What `Distillm2.skew` calls the gap, of each sample under the present student."""
        parts = token_logprobs(hidden_ND, head, self.ids_N).split(self.lengths)
        gaps = []
        for part, logprob, is_teachers in zip(
            parts, self.teacher_logprobs, self.is_teacher_text, strict=True
        ):
            teacher, student = math.exp(logprob), math.exp(float(part.mean()))
            gaps.append(teacher - student if is_teachers else student - teacher)
        return gaps


@dataclass(frozen=True)
class Part:
    """Rows in a row with an objective of their own.

    Attributes:
        length: How many.
        objective: Theirs.
        factor: Multiplies their losses.
    """

    length: int
    objective: Objective
    factor: float = 1.0


def loss_and_grad_in_parts(
    hidden_ND: Tensor, head: Head, target: HeadTarget, parts: Sequence[Part], *, weight_N: Tensor
) -> tuple[Tensor, Tensor]:
    """`head_loss_and_grad`, with another objective for each run of rows.

    Returns:
        Losses (N,) with their part's factor but without `weight_N`, and the gradient of their
        weighted sum by `hidden_ND`.

    Raises:
        ConfigError: an objective cannot learn from this kind of target.
        ShapeError: rows do not fit.
    """
    if sum(part.length for part in parts) != hidden_ND.shape[0]:
        raise ShapeError(
            f"parts of {[part.length for part in parts][:10]} rows, but {hidden_ND.shape[0]} "
            "hidden states; the lengths must sum to their number."
        )
    losses, grads, start = [], [], 0
    for part in parts:
        rows = slice(start, start + part.length)
        loss, grad = head_loss_and_grad(
            hidden_ND[rows],
            head,
            target.rows(rows.start, rows.stop),
            part.objective,
            weight_N=weight_N[rows] * part.factor,
        )
        losses.append(loss * part.factor)
        grads.append(grad)
        start = rows.stop
    return torch.cat(losses), torch.cat(grads)
