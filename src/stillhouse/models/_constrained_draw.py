"""Draw the tokens of a step, some of them from what a grammar allows or a mark prefers."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from stillhouse.errors import ConfigError
from stillhouse.models._constrained import Constraint
from stillhouse.models._sampling import Drawn, draw


def draw_within(
    logits_AV: Tensor,
    constraints_A: Sequence[Constraint | None],
    *,
    temperature_A: Tensor,
    top_p_A: Tensor,
    uniform_A: Tensor,
    top_k: int,
    marked: Mapping[int, Tensor] | None = None,
) -> Drawn:
    """`draw`, with the ids of some rows drawn from what their constraints allow.

    All log-probabilities are those of the model over the whole vocabulary. Rows without a
    constraint or mark get the bits that `draw` gives them.

    Args:
        logits_AV: As in `draw`.
        constraints_A: What each row is held to.
        temperature_A: As in `draw`.
        top_p_A: As in `draw`.
        uniform_A: As in `draw`.
        top_k: As in `draw`.
        marked: By row, the (V,) logits that it is drawn from in place of the model's. Where they
            and the constraint leave nothing together, the constraint decides.

    Raises:
        ConfigError: a constraint allows no id that the model has, or marked logits are of another
            shape or leave nothing.
    """
    marked = marked or {}
    held = [
        row
        for row, constraint in enumerate(constraints_A)
        if constraint is not None or row in marked
    ]
    if not held:
        return draw(
            logits_AV,
            temperature_A=temperature_A,
            top_p_A=top_p_A,
            uniform_A=uniform_A,
            top_k=top_k,
        )
    rows_H = torch.tensor(held)
    drawn = draw(
        logits_AV,
        # What these rows would say freely is not used: the cheapest draw will do.
        temperature_A=temperature_A.index_fill(0, rows_H, 0.0),
        top_p_A=top_p_A,
        uniform_A=uniform_A,
        top_k=top_k,
    )
    logits_HV = logits_AV[rows_H]
    choice_H = draw(
        _restricted(
            logits_HV,
            [constraints_A[row] for row in held],
            [marked.get(row) for row in held],
        ),
        temperature_A=temperature_A[rows_H],
        top_p_A=top_p_A[rows_H],
        uniform_A=uniform_A[rows_H],
        top_k=0,
    ).ids_A
    chosen_H1 = logits_HV.gather(1, choice_H.unsqueeze(1))
    drawn.ids_A[rows_H] = choice_H
    drawn.logprobs_A[rows_H] = chosen_H1.squeeze(1) - torch.logsumexp(logits_HV, dim=1)
    return drawn


def _restricted(
    logits_HV: Tensor,
    constraints_H: Sequence[Constraint | None],
    marked_H: Sequence[Tensor | None],
) -> Tensor:
    width = logits_HV.shape[1]
    is_allowed_HV = torch.zeros(logits_HV.shape, dtype=torch.bool)
    for row, constraint in enumerate(constraints_H):
        if constraint is None:
            is_allowed_HV[row] = True
            continue
        # A head may have more rows than there are tokens, or be cut to those that are no padding.
        allowed_V = constraint.allowed_V()[:width]
        is_allowed_HV[row, : len(allowed_V)] = torch.from_numpy(allowed_V)
    if not bool(is_allowed_HV.any(dim=1).all()):
        raise ConfigError(
            "A grammar allows no token with which a completion could go on. Make it with the "
            "tokenizer of the model that generates, or use a simpler schema."
        )
    held_HV = logits_HV.masked_fill(~is_allowed_HV, -torch.inf)
    for row, marked_V in enumerate(marked_H):
        if marked_V is None:
            continue
        if marked_V.shape != (width,) or bool(marked_V.isnan().any()):
            raise ConfigError(
                f"A mark gave logits of shape {tuple(marked_V.shape)}, some of them maybe no "
                f"numbers; give ({width},) numbers."
            )
        both_V = marked_V.to(held_HV.dtype).masked_fill(~is_allowed_HV[row], -torch.inf)
        if bool((both_V > -torch.inf).any()):
            held_HV[row] = both_V
        elif constraints_H[row] is None:
            raise ConfigError("A mark leaves no token to go on with. Use another scheme.")
    return held_HV
