"""Losses on whole logits: the readable form, and what the fused form is tested against."""

import torch
from torch import Tensor

from stillhouse.errors import ShapeError


def cross_entropy(student_logits_BTV: Tensor, target_ids_BT: Tensor) -> Tensor:
    """Per-token -log q(target), in nats.

    On a teacher's own text this is sequence-level distillation with hard targets.

    Returns:
        (B, T) in the dtype of the logits.

    Raises:
        ShapeError: the leading dimensions differ.

    Source: Kim & Rush 2016, arXiv:1606.07947.
    """
    if student_logits_BTV.shape[:-1] != target_ids_BT.shape:
        raise ShapeError(
            f"student logits {tuple(student_logits_BTV.shape)} do not match target ids "
            f"{tuple(target_ids_BT.shape)}: the leading dimensions must be equal."
        )
    logprobs_BTV = torch.log_softmax(student_logits_BTV, dim=-1)
    return -logprobs_BTV.gather(-1, target_ids_BT.unsqueeze(-1)).squeeze(-1)


def forward_kl(
    student_logits_BTV: Tensor, teacher_logits_BTV: Tensor, *, loss_temperature: float = 1.0
) -> Tensor:
    """Per-token KL(teacher || student), in nats.

    Args:
        student_logits_BTV: Any leading dimensions.
        teacher_logits_BTV: The same shape.
        loss_temperature: Divides both logits, > 0. No T**2 factor is applied.

    Returns:
        (B, T); >= 0 up to rounding, zero where the two agree.

    Raises:
        ShapeError: the shapes differ; cut both to the shared vocabulary first.

    Gradients: flow to the student only; the teacher is detached here.
    Source: Hinton et al. 2015, arXiv:1503.02531.
    """
    if student_logits_BTV.shape != teacher_logits_BTV.shape:
        raise ShapeError(
            f"student logits {tuple(student_logits_BTV.shape)} and teacher logits "
            f"{tuple(teacher_logits_BTV.shape)} differ. Cut both to the shared vocabulary."
        )
    student_BTV = torch.log_softmax(student_logits_BTV / loss_temperature, dim=-1)
    teacher_BTV = torch.log_softmax(teacher_logits_BTV.detach() / loss_temperature, dim=-1)
    # where, not a product: a teacher that masks a token has p = 0 and log p = -inf.
    terms_BTV = torch.where(
        teacher_BTV == -torch.inf, 0.0, teacher_BTV.exp() * (teacher_BTV - student_BTV)
    )
    return terms_BTV.sum(dim=-1)


def forward_kl_topk(
    student_logits_BTV: Tensor,
    teacher_top_ids_BTK: Tensor,
    teacher_top_logprobs_BTK: Tensor,
    teacher_tail_logprob_BT: Tensor,
) -> Tensor:
    """Per-token KL(teacher || student) over the teacher's top-k and one tail bucket, in nats.

    The K ids keep their true probabilities; everything else is one outcome, "not in the top-k",
    whose student probability is the student's own mass outside those ids. This is a true KL of
    the coarser distribution: never negative, a lower bound of the full KL, equal to it at K = V.
    Renormalising the top-k instead biases the gradient by 0.2 to 1.2 of its length.

    Args:
        student_logits_BTV: Any leading dimensions.
        teacher_top_ids_BTK: Distinct ids in a row.
        teacher_top_logprobs_BTK: Their log-probabilities under the whole vocabulary.
        teacher_tail_logprob_BT: Log of the remaining mass; -inf when there is none.

    Returns:
        (B, T); >= 0 up to rounding.

    Raises:
        ShapeError: the shapes do not fit.
    """
    shape = student_logits_BTV.shape[:-1]
    if (
        teacher_top_ids_BTK.shape[:-1] != shape
        or teacher_top_logprobs_BTK.shape != teacher_top_ids_BTK.shape
        or teacher_tail_logprob_BT.shape != shape
    ):
        raise ShapeError(
            f"teacher top-k {tuple(teacher_top_ids_BTK.shape)} and tail "
            f"{tuple(teacher_tail_logprob_BT.shape)} do not fit student logits "
            f"{tuple(student_logits_BTV.shape)}."
        )
    student_BTV = torch.log_softmax(student_logits_BTV, dim=-1)
    student_top_BTK = student_BTV.gather(-1, teacher_top_ids_BTK)
    in_top_BTV = torch.zeros_like(student_BTV, dtype=torch.bool)
    in_top_BTV.scatter_(-1, teacher_top_ids_BTK, True)
    # logsumexp over what is left: 1 - sum(top) would cancel when the tail is small.
    rest_BTV = student_BTV.masked_fill(in_top_BTV, -torch.inf)
    # Where the ids are the whole vocabulary, a tail is the rounding of 1 - sum(top).
    is_whole = teacher_top_ids_BTK.shape[-1] == student_logits_BTV.shape[-1]
    has_tail_BT = (teacher_tail_logprob_BT > -torch.inf) & (not is_whole)
    # A row without a tail may leave no id at all, and logsumexp of nothing has no gradient.
    safe_BTV = torch.where(has_tail_BT.unsqueeze(-1), rest_BTV, torch.zeros_like(rest_BTV))
    student_tail_BT = torch.logsumexp(safe_BTV, dim=-1)
    tail_BT = torch.where(has_tail_BT, teacher_tail_logprob_BT, 0.0)
    tail_term_BT = torch.where(has_tail_BT, tail_BT.exp() * (tail_BT - student_tail_BT), 0.0)
    top_terms_BTK = torch.where(
        teacher_top_logprobs_BTK == -torch.inf,
        0.0,
        teacher_top_logprobs_BTK.exp() * (teacher_top_logprobs_BTK - student_top_BTK),
    )
    return top_terms_BTK.sum(dim=-1) + tail_term_BT
