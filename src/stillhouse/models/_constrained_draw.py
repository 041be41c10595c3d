"""Draw the tokens of a step, some of them from what a grammar allows or as a mark chooses."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stillhouse.errors import ConfigError
from stillhouse.models._constrained import Constraint
from stillhouse.models._sampling import Drawn, draw, draw_ids, sampling_law

RowMark = Callable[[Tensor], Tensor | int]
"""What marks the next token of one row, by the logits that it would be drawn from."""


@dataclass(frozen=True, slots=True)
class _Held:
    """What a row's token is drawn from."""

    logits_V: Tensor
    law_V: Tensor  # finite where a mark may choose
    temperature: float
    top_p: float


def draw_within(
    logits_AV: Tensor,
    constraints_A: Sequence[Constraint | None],
    *,
    temperature_A: Tensor,
    top_p_A: Tensor,
    uniform_A: Tensor,
    top_k: int,
    marks: Mapping[int, RowMark] | None = None,
) -> Drawn:
    """`draw`, with the ids of some rows drawn from what their constraints allow.

    All log-probabilities are those of the model over the whole vocabulary. Rows without a
    constraint or mark get the bits that `draw` gives them, and so do rows that their mark leaves
    alone.

    Args:
        logits_AV: As in `draw`.
        constraints_A: What each row is held to.
        temperature_A: As in `draw`.
        top_p_A: As in `draw`.
        uniform_A: As in `draw`.
        top_k: As in `draw`.
        marks: By row, what marks its token after constraint, temperature and nucleus.

    Raises:
        ConfigError: a constraint allows no id that the model has, or a mark gives an id that may
            not be drawn, or logits of another shape or that leave nothing.
    """
    held: dict[int, _Held] = {}
    chosen: dict[int, int] = {}
    for row, constraint in enumerate(constraints_A):
        mark = marks.get(row) if marks else None
        if constraint is None and mark is None:
            continue
        whole = _Held(
            logits_AV[row], logits_AV[row], float(temperature_A[row]), float(top_p_A[row])
        )
        given = _held(whole, constraint, mark)
        if isinstance(given, int):
            chosen[row] = given
        elif given is not whole:
            held[row] = given
    if not held and not chosen:
        return draw(
            logits_AV,
            temperature_A=temperature_A,
            top_p_A=top_p_A,
            uniform_A=uniform_A,
            top_k=top_k,
        )
    rows_H = torch.tensor([*held, *chosen])
    if len(rows_H) == len(logits_AV) and top_k == 0:
        drawn = _nothing_drawn(logits_AV)
    else:
        # What these rows would say freely is not used: the cheapest draw will do.
        drawn = draw(
            logits_AV,
            temperature_A=temperature_A.index_fill(0, rows_H, 0.0),
            top_p_A=top_p_A,
            uniform_A=uniform_A,
            top_k=top_k,
        )
    if held:
        drawn.ids_A[rows_H[: len(held)]] = draw_ids(
            torch.stack([one.logits_V for one in held.values()]),
            temperature_A=torch.tensor([one.temperature for one in held.values()]),
            top_p_A=torch.tensor([one.top_p for one in held.values()], dtype=top_p_A.dtype),
            uniform_A=uniform_A[rows_H[: len(held)]],
        )
        for row, one in held.items():
            _checked_choice(int(drawn.ids_A[row]), one.law_V)
    for row, token_id in chosen.items():
        drawn.ids_A[row] = token_id
    # Without a copy where all rows are held.
    is_every = len(rows_H) == len(logits_AV)
    logits_HV = logits_AV if is_every else logits_AV[rows_H]
    places_H = slice(None) if is_every else rows_H
    chosen_H1 = logits_HV.gather(1, drawn.ids_A[places_H].unsqueeze(1))
    drawn.logprobs_A[places_H] = chosen_H1.squeeze(1) - torch.logsumexp(logits_HV, dim=1)
    return drawn


def _nothing_drawn(logits_AV: Tensor) -> Drawn:
    """Room for what other draws give; no log-probabilities of other tokens were asked for."""
    num_rows = len(logits_AV)
    return Drawn(
        ids_A=torch.zeros(num_rows, dtype=torch.long),
        logprobs_A=logits_AV.new_zeros(num_rows),
        top_ids_AK=torch.zeros((num_rows, 0), dtype=torch.long),
        top_logprobs_AK=logits_AV.new_zeros((num_rows, 0)),
    )


def _held(whole: _Held, constraint: Constraint | None, mark: RowMark | None) -> _Held | int:
    """What the token of a row is drawn from, or the token; `whole` where nothing holds it."""
    held = whole
    if constraint is not None:
        allowed_V = _allowed(whole.logits_V, constraint)
        held = replace(whole, logits_V=allowed_V, law_V=allowed_V)
    if mark is None:
        return held
    law_V = sampling_law(held.logits_V, temperature=held.temperature, top_p=held.top_p)
    given = mark(law_V)
    if isinstance(given, int):
        return _checked_choice(given, law_V)
    if given is law_V:
        return held
    # Temperature and nucleus are in the law already.
    return _Held(_checked_logits(given, law_V), law_V, 1.0 if held.temperature else 0.0, 1.0)


def _allowed(logits_V: Tensor, constraint: Constraint) -> Tensor:
    # A head may have more rows than there are tokens, or be cut to those that are no padding.
    allowed_V = torch.from_numpy(constraint.allowed_V()[: len(logits_V)])
    if not bool(allowed_V.any()):
        raise ConfigError(
            "A grammar allows no token with which a completion could go on. Make it with the "
            "tokenizer of the model that generates, or use a simpler schema."
        )
    is_allowed_V = torch.zeros(len(logits_V), dtype=torch.bool)
    is_allowed_V[: len(allowed_V)] = allowed_V
    return logits_V.masked_fill(~is_allowed_V, -torch.inf)


def _checked_choice(token_id: int, law_V: Tensor) -> int:
    if not 0 <= token_id < len(law_V) or float(law_V[token_id]) == -torch.inf:
        raise ConfigError(
            f"A mark chose the id {token_id}, which may not be drawn here. Choose among those "
            "whose logits are finite."
        )
    return token_id


def _checked_logits(given_V: Tensor, law_V: Tensor) -> Tensor:
    if given_V.shape != law_V.shape:
        raise ConfigError(
            f"A mark gave logits of shape {tuple(given_V.shape)}; give ({len(law_V)},) of them."
        )
    largest = float(given_V.max())  # one pass finds all that is no law
    if not -torch.inf < largest < torch.inf:
        raise ConfigError(
            f"A mark gave logits that leave no token to go on with or are no numbers (the largest: "
            f"{largest}). Use another scheme."
        )
    return given_V
