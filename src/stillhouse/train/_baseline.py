"""What a policy gradient compares the cost of a token with, so that its variance is lower."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

_DECAY = 0.9  # of what earlier steps measured, each step; not tuned


class PositionBaseline:
    """The running mean of the cost at each position of a rollout, over earlier steps.

    No token that it is taken off from has a part in it, so that the mean of the gradient over
    draws stays what it is.
    """

    def __init__(self, max_tokens: int) -> None:
        # Rows: decayed sum of costs, decayed number of them.
        self._kept_2T = torch.zeros(2, max_tokens, dtype=torch.float64)
        self._new_2T = torch.zeros_like(self._kept_2T)

    def of(self, lengths: Sequence[int]) -> Tensor:
        """The baseline (N,) of the positions of rollouts; 0 where none has come so far."""
        sum_T, number_T = self._kept_2T
        mean_T = torch.where(number_T > 0, sum_T / number_T, 0.0).float()
        return torch.cat([mean_T[:length] for length in lengths])

    def observe(self, costs: Sequence[Tensor]) -> None:
        """Count the costs (n,) of some rollouts, from the next `update` on."""
        for cost_T in costs:
            self._new_2T[0, : len(cost_T)] += cost_T.double()
            self._new_2T[1, : len(cost_T)] += 1.0

    def update(self) -> None:
        """Take over what was observed."""
        self._kept_2T = _DECAY * self._kept_2T + self._new_2T
        self._new_2T = torch.zeros_like(self._kept_2T)

    def state(self) -> dict[str, Tensor]:
        """What was taken over so far."""
        return {"baseline/cost": self._kept_2T}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up where `state` was taken."""
        self._kept_2T = state["baseline/cost"]
