"""Random distributions for the losses, and naive references in float64."""

from typing import NamedTuple

import torch
from torch import Tensor


class TopK(NamedTuple):
    """A teacher's top-k with its tail, as a signal holds it."""

    ids_NK: Tensor
    logprobs_NK: Tensor
    tail_N: Tensor


def logits(*shape: int, seed: int, scale: float = 2.0) -> Tensor:
    """Float64 logits whose distributions are neither flat nor one-hot."""
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)


def topk_of(logits_NV: Tensor, k: int) -> TopK:
    """The k most likely ids with exact log-probabilities and the exact log of what is left."""
    logprobs_NV = torch.log_softmax(logits_NV, dim=-1)
    top, ids = logprobs_NV.topk(k, dim=-1)
    rest = logprobs_NV.clone().scatter_(-1, ids, -torch.inf)
    return TopK(ids, top, torch.logsumexp(rest, dim=-1))


def cross_entropy_by_hand(logits_NV: Tensor, ids_N: Tensor) -> Tensor:
    """-log q(id), row by row from the definition."""
    rows = [
        -(row[token] - torch.log(torch.exp(row).sum()))
        for row, token in zip(logits_NV, ids_N.tolist(), strict=True)
    ]
    return torch.stack(rows)


def forward_kl_by_hand(student_NV: Tensor, teacher_NV: Tensor) -> Tensor:
    """Sum of p log(p / q), row by row from the definition."""
    rows = []
    for student_V, teacher_V in zip(student_NV, teacher_NV, strict=True):
        q = torch.exp(student_V) / torch.exp(student_V).sum()
        p = torch.exp(teacher_V) / torch.exp(teacher_V).sum()
        rows.append((p * torch.log(p / q)).sum())
    return torch.stack(rows)


def bucketed_kl_by_hand(student_NV: Tensor, top: TopK) -> Tensor:
    """KL between two distributions over K + 1 outcomes that are written out, row by row."""
    rows = []
    for index, student_V in enumerate(student_NV):
        q_V = torch.softmax(student_V, dim=0)
        ids = top.ids_NK[index].tolist()
        others = [token for token in range(len(q_V)) if token not in ids]
        q = torch.cat([q_V[ids], q_V[others].sum().unsqueeze(0)])
        p = torch.cat([top.logprobs_NK[index], top.tail_N[index].unsqueeze(0)]).exp()
        terms = [p[i] * torch.log(p[i] / q[i]) for i in range(len(p)) if p[i] > 0]
        rows.append(torch.stack(terms).sum())
    return torch.stack(rows)


def relative_error(found: Tensor, wanted: Tensor) -> float:
    """Length of the difference over the length of what was wanted."""
    return float((found.detach().double() - wanted.detach()).norm() / wanted.detach().norm())
