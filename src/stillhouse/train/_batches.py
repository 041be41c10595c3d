"""Which examples each step sees: a pure function of the seed and the step."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
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
        batch_tokens: Tokens per step, padding included, instead of `batch_size` examples; an
            example that is longer is a batch of its own.
    """

    lengths: Sequence[int]
    batch_size: int
    epochs: float
    seed: int
    batch_tokens: int | None = None

    def steps_in(self, epoch: int) -> int:
        """Steps that see every example once."""
        if self.batch_tokens is None:
            return math.ceil(len(self.lengths) / self.batch_size)
        return len(self.epoch_batches(epoch))

    @cached_property
    def num_steps(self) -> int:
        """Steps in all, at least one."""
        whole = int(self.epochs)
        done = sum(self.steps_in(epoch) for epoch in range(whole))
        fraction = self.epochs - whole
        return max(1, round(done + (self.steps_in(whole) * fraction if fraction else 0)))

    def steps(self, start: int = 0) -> Iterator[tuple[int, list[int]]]:
        """Each step from `start` on with the indices of its examples."""
        step = 0
        for epoch in itertools.count():
            if step + self.steps_in(epoch) <= start:
                step += self.steps_in(epoch)
                continue
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
        window = self._window
        batches = []
        for start in range(0, len(order), window):
            near = sorted(order[start : start + window], key=lambda index: self.lengths[index])
            batches += self._cut(near)
        return [batches[index] for index in rng.permutation(len(batches)).tolist()]

    @property
    def _window(self) -> int:
        """Examples that are sorted together."""
        if self.batch_tokens is None:
            return self.batch_size * _SORTED_BATCHES
        mean = sum(self.lengths) / len(self.lengths)
        return max(1, round(self.batch_tokens / mean)) * _SORTED_BATCHES

    def _cut(self, near: list[int]) -> list[list[int]]:
        if self.batch_tokens is None:
            size = self.batch_size
            return [near[at : at + size] for at in range(0, len(near), size)]
        bounds = _cuts([self.lengths[index] for index in near], self.batch_tokens)
        return [near[start:stop] for start, stop in itertools.pairwise(bounds)]


def split_evenly(batch: Sequence[T], parts: int) -> list[list[T]]:
    """A batch in at most `parts` parts of nearly equal size, none empty."""
    bounds = np.linspace(0, len(batch), min(parts, len(batch)) + 1).round().astype(int).tolist()
    return [list(batch[start:stop]) for start, stop in itertools.pairwise(bounds)]


def split_by_tokens(
    batch: Sequence[T], max_tokens: int | None, *, length: Callable[[T], int]
) -> list[list[T]]:
    """A batch in parts of at most `max_tokens` tokens, padding included; None makes one of it.

    A batch that fits keeps its order; else items of like length come together, and one that is
    longer than a part is a part of its own.
    """
    if max_tokens is None or len(batch) * max(map(length, batch)) <= max_tokens:
        return [list(batch)]
    near = sorted(batch, key=length)
    bounds = _cuts([length(item) for item in near], max_tokens)
    return [near[start:stop] for start, stop in itertools.pairwise(bounds)]


def _cuts(lengths: Sequence[int], max_tokens: int) -> list[int]:
    """Where rising lengths are cut so that (number x longest) of each piece is within a budget."""
    bounds = [0]
    for index, length in enumerate(lengths):
        if index > bounds[-1] and (index + 1 - bounds[-1]) * length > max_tokens:
            bounds.append(index)
    return [*bounds, len(lengths)]
