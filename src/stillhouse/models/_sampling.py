"""Draw a token from each row of logits and keep what the teacher thought, in few passes over V.

All draws are exact. The K largest logits of a row lie in the K blocks with the largest maxima, so
a maximum per block of 64 and a top-k over the few surviving candidates replace a top-k over V. The
token is drawn by inverting the cumulative distribution, largest probability first, with one
uniform per token: only rows whose uniform falls beyond the candidates look at more of the
vocabulary, first at some thousands and then at all of it.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

_BLOCK = 64
_MIN_CANDIDATES = 64
_LIKELY = 2048  # of SmolLM2 at temperature 1 they hold 99.5 %; sorting all takes 30 times as long


class Drawn(NamedTuple):
    """What a step gave, for A rows.

    Attributes:
        ids_A: The tokens drawn.
        logprobs_A: Their log-probability at temperature 1 under the whole vocabulary, nats.
        top_ids_AK: The K most likely ids, largest first.
        top_logprobs_AK: Their log-probabilities at temperature 1, nats.
    """

    ids_A: Tensor
    logprobs_A: Tensor
    top_ids_AK: Tensor
    top_logprobs_AK: Tensor


def draw(
    logits_AV: Tensor, *, temperature_A: Tensor, top_p_A: Tensor, uniform_A: Tensor, top_k: int
) -> Drawn:
    """Draw one token per row.

    Args:
        logits_AV: Float32, not modified.
        temperature_A: 0 takes the most likely token.
        top_p_A: Nucleus mass in (0, 1]; 1 draws from the whole distribution.
        uniform_A: One number in [0, 1) per row, float64: all the randomness there is.
        top_k: How many log-probabilities to keep; may be 0.
    """
    top_AM, ids_AM = exact_topk(logits_AV, min(max(top_k, _MIN_CANDIDATES), logits_AV.shape[1]))
    log_normaliser_A1 = torch.logsumexp(logits_AV, dim=1, keepdim=True)
    choice_A = _choice(logits_AV, top_AM, ids_AM, temperature_A, top_p_A, uniform_A)
    chosen_A1 = logits_AV.gather(1, choice_A.unsqueeze(1)) - log_normaliser_A1
    return Drawn(
        ids_A=choice_A,
        logprobs_A=chosen_A1.squeeze(1),
        top_ids_AK=ids_AM[:, :top_k],
        top_logprobs_AK=top_AM[:, :top_k] - log_normaliser_A1,
    )


def draw_ids(
    logits_AV: Tensor, *, temperature_A: Tensor, top_p_A: Tensor, uniform_A: Tensor
) -> Tensor:
    """(A,) the ids that `draw` draws, without a pass for their log-probabilities."""
    top_AM, ids_AM = exact_topk(logits_AV, min(_MIN_CANDIDATES, logits_AV.shape[1]))
    return _choice(logits_AV, top_AM, ids_AM, temperature_A, top_p_A, uniform_A)


def sampling_law(logits_V: Tensor, *, temperature: float, top_p: float) -> Tensor:
    """The logits whose softmax a token of one row is drawn from: -inf outside the nucleus.

    Args:
        logits_V: Float32, not modified; given back as they are where there is nothing to do.
        temperature: At 0 there is no law, and the logits are given back.
        top_p: As in `draw`.
    """
    if temperature == 0.0:
        return logits_V
    scaled_V = logits_V if temperature == 1.0 else (logits_V - logits_V.max()) / temperature
    if top_p == 1.0:
        return scaled_V
    top_1M, ids_1M = exact_topk(scaled_V.unsqueeze(0), min(_MIN_CANDIDATES, len(scaled_V)))
    sorted_M, ids_M = top_1M[0], ids_1M[0]
    log_normaliser = torch.logsumexp(scaled_V, dim=0)
    cumulative_M = (sorted_M - log_normaliser).double().exp().cumsum(dim=0)
    for most in (_LIKELY, len(scaled_V)):
        if float(cumulative_M[-1:].sum()) < top_p:  # 0 where equals left none
            sorted_M, ids_M = _likeliest(scaled_V, most)
            cumulative_M = (sorted_M - log_normaliser).double().exp().cumsum(dim=0)
    size = min(int(torch.searchsorted(cumulative_M, top_p)) + 1, len(ids_M))
    law_V = torch.full_like(scaled_V, -torch.inf)
    law_V[ids_M[:size]] = sorted_M[:size]
    return law_V


def exact_topk(values_AV: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """`torch.topk` over the last dimension, several times faster for k far below V."""
    vocabulary = values_AV.shape[1]
    num_blocks = vocabulary // _BLOCK
    if num_blocks <= k:
        return torch.topk(values_AV, k, dim=1)
    blocked_ABb = values_AV[:, : num_blocks * _BLOCK].unflatten(1, (num_blocks, _BLOCK))
    blocks_Ak = blocked_ABb.amax(dim=2).topk(k, dim=1).indices
    offsets_b = torch.arange(_BLOCK, device=values_AV.device)
    ids_AC = (blocks_Ak.unsqueeze(2) * _BLOCK + offsets_b).flatten(1)
    rest = torch.arange(num_blocks * _BLOCK, vocabulary, device=values_AV.device)
    ids_AC = torch.cat([ids_AC, rest.expand(len(ids_AC), -1)], dim=1)
    top = values_AV.gather(1, ids_AC).topk(k, dim=1)
    return top.values, ids_AC.gather(1, top.indices)


def _choice(
    logits_AV: Tensor,
    top_AM: Tensor,
    ids_AM: Tensor,
    temperature_A: Tensor,
    top_p_A: Tensor,
    uniform_A: Tensor,
) -> Tensor:
    choice_A = ids_AM[:, 0].clone()
    rows = torch.nonzero(temperature_A > 0).squeeze(1)
    if len(rows):
        choice_A[rows] = _sample(
            logits_AV,
            rows,
            top_AM[rows],
            ids_AM[rows],
            temperature_A[rows],
            top_p_A[rows],
            uniform_A[rows],
        )
    return choice_A


def _sample(
    logits_AV: Tensor,
    rows: Tensor,
    top_RM: Tensor,
    ids_RM: Tensor,
    temperature_R: Tensor,
    top_p_R: Tensor,
    uniform_R: Tensor,
) -> Tensor:
    # Against the largest logit: at low temperatures logits / T are too large for float32 to hold
    # what distinguishes them.
    largest_R1 = top_RM[:, :1]
    scaled_RV = logits_AV[rows].sub_(largest_R1).div_(temperature_R.unsqueeze(1))
    log_normaliser_R1 = torch.logsumexp(scaled_RV, dim=1, keepdim=True)
    scaled_RM = (top_RM - largest_R1) / temperature_R.unsqueeze(1)
    # float64: a float32 cumulative sum over the vocabulary drifts by 1e-4.
    probs_RM = (scaled_RM - log_normaliser_R1).double().exp()
    cumulative_RM = probs_RM.cumsum(dim=1)
    mass_R = _nucleus_mass(cumulative_RM, top_p_R)
    threshold_R = uniform_R * mass_R
    position_R = torch.searchsorted(cumulative_RM, threshold_R.unsqueeze(1), right=True).squeeze(1)
    num_candidates = ids_RM.shape[1]
    choice_R = ids_RM.gather(1, position_R.clamp(max=num_candidates - 1).unsqueeze(1)).squeeze(1)
    is_beyond_R = (position_R >= num_candidates) | ((mass_R == 1.0) & (top_p_R < 1.0))
    for index in torch.nonzero(is_beyond_R).flatten().tolist():
        probs_V = (scaled_RV[index] - log_normaliser_R1[index]).double().exp()
        choice_R[index] = _sample_row(probs_V, float(top_p_R[index]), float(uniform_R[index]))
    return choice_R


def _nucleus_mass(cumulative_RM: Tensor, top_p_R: Tensor) -> Tensor:
    """Mass of the smallest set of likeliest tokens that reaches top_p; 1 if not among these."""
    reaches_RM = cumulative_RM >= top_p_R.unsqueeze(1)
    first_R1 = reaches_RM.int().argmax(dim=1, keepdim=True)
    mass_R = cumulative_RM.gather(1, first_R1).squeeze(1)
    inside_R = reaches_RM.any(dim=1) & (top_p_R < 1.0)
    return torch.where(inside_R, mass_R, 1.0)


def _sample_row(probs_V: Tensor, top_p: float, uniform: float) -> int:
    total = float(probs_V.sum())
    for most in (_LIKELY, len(probs_V)):
        sorted_M, ids_M = _likeliest(probs_V, most)
        cumulative_M = sorted_M.cumsum(dim=0)
        mass = total
        if top_p < 1.0:
            last = int(torch.searchsorted(cumulative_M, min(top_p, total)))
            if last == len(ids_M) < len(probs_V):
                continue  # the nucleus goes on
            mass = float(cumulative_M[min(last, len(ids_M) - 1)])
        position = int(torch.searchsorted(cumulative_M, uniform * mass, right=True))
        if position < len(ids_M):
            break
    return int(ids_M[min(position, len(ids_M) - 1)])


def _likeliest(values_V: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The first of the values in falling order and their ids, equal ones by id.

    At most so many; fewer where the last of them has equals, which are then all left out.
    """
    if 4 * most >= len(values_V):
        sorted_V = values_V.sort(descending=True, stable=True)
        return sorted_V.values, sorted_V.indices
    values = values_V.numpy(force=True)
    ids_M = np.flatnonzero(values > np.partition(values, -most - 1)[-most - 1])
    order_M = np.argsort(-values[ids_M], kind="stable")
    ids = torch.from_numpy(ids_M[order_M])
    return values_V[ids], ids
