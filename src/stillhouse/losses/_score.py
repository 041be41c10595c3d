"""Exact scores of one head against another, for measuring rather than training."""

from typing import NamedTuple

import torch
from torch import Tensor

from stillhouse.errors import ShapeError
from stillhouse.losses._divergences import forward_kl
from stillhouse.losses._fused import TILE_TOKENS


class HeadScores(NamedTuple):
    """Per position, (N,) each.

    Attributes:
        forward_kl_N: KL(teacher || student) over the whole vocabulary, nats.
        is_top1_N: Whether both models' most likely token is the same.
        student_logprob_N: log q(target), nats.
        teacher_logprob_N: log p(target), nats.
    """

    forward_kl_N: Tensor
    is_top1_N: Tensor
    student_logprob_N: Tensor
    teacher_logprob_N: Tensor


@torch.no_grad()
def score_against_head(
    student_hidden_ND: Tensor,
    student_head_VD: Tensor,
    teacher_hidden_NE: Tensor,
    teacher_head_VE: Tensor,
    target_ids_N: Tensor,
) -> HeadScores:
    """Compare two models' next-token distributions from their hidden states, chunk by chunk.

    Raises:
        ShapeError: there is no position, or vocabularies or numbers of positions differ.
    """
    num_tokens = target_ids_N.shape[0]
    if num_tokens == 0:
        raise ShapeError("no positions to score; give at least one target.")
    if student_head_VD.shape[0] != teacher_head_VE.shape[0] or {
        student_hidden_ND.shape[0],
        teacher_hidden_NE.shape[0],
    } != {num_tokens}:
        raise ShapeError(
            f"student {tuple(student_hidden_ND.shape)} x {tuple(student_head_VD.shape)}, teacher "
            f"{tuple(teacher_hidden_NE.shape)} x {tuple(teacher_head_VE.shape)}: must agree in "
            f"positions ({num_tokens} targets) and vocabulary."
        )
    chunks = []
    for start in range(0, num_tokens, TILE_TOKENS):
        rows = slice(start, start + TILE_TOKENS)
        student_CV = torch.log_softmax(student_hidden_ND[rows] @ student_head_VD.T, dim=1)
        teacher_CV = torch.log_softmax(teacher_hidden_NE[rows] @ teacher_head_VE.T, dim=1)
        ids_C1 = target_ids_N[rows].unsqueeze(1)
        chunks.append(
            HeadScores(
                forward_kl_N=forward_kl(teacher_CV, student_CV)[0],
                is_top1_N=student_CV.argmax(dim=1) == teacher_CV.argmax(dim=1),
                student_logprob_N=student_CV.gather(1, ids_C1).squeeze(1),
                teacher_logprob_N=teacher_CV.gather(1, ids_C1).squeeze(1),
            )
        )
    return HeadScores(*(torch.cat(parts) for parts in zip(*chunks, strict=True)))
