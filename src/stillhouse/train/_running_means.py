"""What earlier steps measured, for those after them to go by."""

from collections.abc import Mapping

import torch
from torch import Tensor

_DECAY = 0.9  # of what earlier steps measured, each step; not tuned


class RunningMeans:
    """A running mean at each of several places, over earlier steps.

    What a step observes has no part in the means before the next one.

    Args:
        name: Of the entry in a checkpoint.
        num_places: How many there are.
    """

    def __init__(self, name: str, num_places: int) -> None:
        self._name = name
        # Rows: decayed sum of what was observed, decayed number of times.
        self._kept_2P = torch.zeros(2, num_places, dtype=torch.float64)
        self._new_2P = torch.zeros_like(self._kept_2P)

    @property
    def means_P(self) -> Tensor:
        """The means in float64; 0 where nothing was observed so far."""
        sum_P, number_P = self._kept_2P
        return torch.where(number_P > 0, sum_P / number_P, 0.0)

    def observe(self, places_N: Tensor, values_N: Tensor) -> None:
        """Count values, each at a place, from the next `update` on."""
        seen_2N = torch.stack([values_N.double(), torch.ones(len(values_N), dtype=torch.float64)])
        self._new_2P.index_add_(1, places_N, seen_2N)

    def update(self) -> None:
        """Take over what was observed."""
        self._kept_2P = _DECAY * self._kept_2P + self._new_2P
        self._new_2P = torch.zeros_like(self._kept_2P)

    def state(self) -> dict[str, Tensor]:
        """What was taken over so far."""
        return {self._name: self._kept_2P}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up where `state` was taken."""
        self._kept_2P = state[self._name]
