"""Which examples each step sees: a pure function of the seed and the step."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

T = TypeVar("T")

_SORTED_BATCHES = 16  # batches whose examples are sorted together: little padding, still mixed


@dataclass(frozen=True)
class Schedule:
    """The batches of a whole run, the same however often it is stopped and resumed.

    Attributes:
        lengths: Tokens of each example.
        batch_size: Examples per step; the last batch of an epoch may hold fewer.
        epochs: May be a fraction.
        seed: Of the order.
    """

    lengths: Sequence[int]
    batch_size: int
    epochs: float
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Steps that see every example once."""
        return math.ceil(len(self.lengths) / self.batch_size)

    @property
    def num_steps(self) -> int:
        """Steps in all, at least one."""
        return max(1, round(self.steps_per_epoch * self.epochs))

    def steps(self, start: int = 0) -> Iterator[tuple[int, list[int]]]:
        """Each step from `start` on with the indices of its examples."""
        first_epoch = start // self.steps_per_epoch
        step = first_epoch * self.steps_per_epoch
        for epoch in itertools.count(first_epoch):
            for batch in self.epoch_batches(epoch):
                if step >= self.num_steps:
                    return
                if step >= start:
                    yield step, batch
                step += 1

    def epoch_batches(self, epoch: int) -> list[list[int]]:
        """The batches of an epoch as lists of example indices.

        Examples are shuffled, sorted by length within a few batches at a time so that little is
        padded, and the batches are shuffled again so that lengths come in no order.
        """
        key = np.array([self.seed & (2**64 - 1), epoch], dtype=np.uint64)
        rng = np.random.Generator(np.random.Philox(key=key))
        order = rng.permutation(len(self.lengths)).tolist()
        window = self.batch_size * _SORTED_BATCHES
        batches = []
        for start in range(0, len(order), window):
            near = sorted(order[start : start + window], key=lambda index: self.lengths[index])
            batches += [
                near[at : at + self.batch_size] for at in range(0, len(near), self.batch_size)
            ]
        return [batches[index] for index in rng.permutation(len(batches)).tolist()]


def split_evenly(batch: Sequence[T], parts: int) -> list[list[T]]:
    """A batch in at most `parts` parts of nearly equal size, none empty."""
    bounds = np.linspace(0, len(batch), min(parts, len(batch)) + 1).round().astype(int).tolist()
    return [list(batch[start:stop]) for start, stop in itertools.pairwise(bounds)]
