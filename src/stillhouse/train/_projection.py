"""A teacher's top-k as outcomes that a student with other tokens can be held to.

An outcome is what the student writes first of one or several of the teacher's tokens, and the
student's tokens that go on where the teacher's ends. Shape letters: n rows, K top-k, J student ids.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from stillhouse.chat import NO_ID, VocabularyMap
from stillhouse.losses import ProjectedTarget
from stillhouse.signal import TopKSignal

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ProjectedRows:
    """Rows of a `ProjectedTarget`.

    Attributes:
        mass: (n, K) float64, the teacher's probability of each outcome; 0 fills a row.
        tail: (n,) float64, what it leaves for everything else.
        ids: (n, K, J) int64, the student ids of each outcome, filled up with `NO_ID`.
    """

    mass: Floats
    tail: Floats
    ids: Ints

    @classmethod
    def silent(cls, shape: tuple[int, int, int]) -> "ProjectedRows":
        """Rows (n, K, J) that teach nothing: all of both models' mass is in the tail."""
        return cls(np.zeros(shape[:2]), np.ones(shape[0]), np.full(shape, NO_ID, dtype=np.int64))

    def put(self, rows: Ints, given: "ProjectedRows") -> None:
        """Replace `rows` by others, which may be narrower."""
        self.mass[rows, : given.mass.shape[1]] = given.mass
        self.tail[rows] = given.tail
        self.ids[rows, : given.ids.shape[1], : given.ids.shape[2]] = given.ids

    def target(self) -> ProjectedTarget:
        """The rows as tensors."""
        with np.errstate(divide="ignore"):
            logprobs, tail = np.log(self.mass), np.log(self.tail)
        return ProjectedTarget(
            logprobs_NK=torch.from_numpy(logprobs).float(),
            tail_logprob_N=torch.from_numpy(tail).float(),
            student_ids_NKJ=torch.from_numpy(np.maximum(self.ids, 0)),
            weights_NKJ=torch.from_numpy(self.ids != NO_ID).float(),
        )


def token_rows(ids: Ints) -> ProjectedRows:
    """Rows that are sure of one student token each: cross-entropy on the text."""
    return ProjectedRows(np.ones((len(ids), 1)), np.zeros(len(ids)), ids.reshape(-1, 1, 1))


def project(signal: TopKSignal, vocabulary: VocabularyMap) -> ProjectedRows:
    """Bring a teacher's distributions to a student's tokens.

    Teacher tokens of which the student writes the same first are one outcome; those that the
    student cannot write belong to the tail.
    """
    ids = vocabulary.student_ids(signal.ids.astype(np.int64))
    mass = np.exp(signal.logprobs.astype(np.float64))
    tail = np.exp(signal.tail_logprob.astype(np.float64))
    first = ids[:, :, 0]
    tail = tail + np.where(first == NO_ID, mass, 0.0).sum(axis=1)
    mass = np.where(first == NO_ID, 0.0, mass)
    # Stable, so that the likeliest token of an outcome leads it: its longer tokens are kept.
    order = np.argsort(first, axis=1, kind="stable")
    first = np.take_along_axis(first, order, axis=1)
    is_leader = np.ones(first.shape, dtype=bool)
    is_leader[:, 1:] = first[:, 1:] != first[:, :-1]
    outcome = np.cumsum(is_leader, axis=1) - 1
    merged = np.zeros_like(mass)
    np.add.at(
        merged, (np.arange(len(mass))[:, None], outcome), np.take_along_axis(mass, order, axis=1)
    )
    leaders = np.full_like(ids, NO_ID)
    rows, places = np.nonzero(is_leader)
    leaders[rows, outcome[rows, places]] = ids[rows, order[rows, places]]
    return ProjectedRows(merged, tail, _without_claimed(leaders))


def _without_claimed(ids: Ints) -> Ints:
    """Longer tokens that are another outcome's first belong to that one alone.

    Those of an outcome that is no text go too: they have no place.
    """
    first, longer = ids[:, :, :1], ids[:, :, 1:]
    is_claimed = (longer[..., None] == first[:, None, None, :, 0]).any(axis=-1)
    kept = np.where(is_claimed | (first == NO_ID), NO_ID, longer)
    return np.concatenate([first, kept], axis=2)
