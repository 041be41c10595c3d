"""What a teacher says about n completion tokens, as arrays: one record per kind of signal."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from stillhouse.errors import ShapeError

FloatArray = npt.NDArray[np.float32]
IdArray = npt.NDArray[np.int32]


class _PerToken:
    """Arrays with one row per token."""

    def _arrays(self) -> list[npt.NDArray[Any]]:
        return [getattr(self, field.name) for field in fields(self)]  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self._arrays()[0])

    def rows(self, start: int, stop: int) -> Self:
        """The signal of tokens `start` to `stop`, in arrays of their own."""
        return type(self)(*(array[start:stop].copy() for array in self._arrays()))

    @property
    def nbytes(self) -> int:
        """Memory of the arrays."""
        return sum(array.nbytes for array in self._arrays())

    @property
    def has_nan(self) -> bool:
        """Whether a number in it is none."""
        return any(bool(np.isnan(array).any()) for array in self._arrays())


@dataclass(frozen=True)
class TopKSignal(_PerToken):
    """A teacher's distribution at n completion tokens.

    Attributes:
        ids: (n, K) int32, distinct in a row, most likely first. A row of fewer ids is filled by
            repeating its first one.
        logprobs: (n, K) float32, nats at temperature 1 under the whole vocabulary; -inf at a
            filler.
        tail_logprob: (n,) float32, log of the mass outside the K; -inf when there is none.

    Raises:
        ShapeError: the shapes do not fit each other.
    """

    ids: IdArray
    logprobs: FloatArray
    tail_logprob: FloatArray

    def __post_init__(self) -> None:
        num_tokens = len(self.tail_logprob)
        if self.ids.shape != self.logprobs.shape or self.ids.shape[:1] != (num_tokens,):
            raise ShapeError(
                f"A top-k signal needs ids and logprobs of one shape (n, K) and n tails; got "
                f"{self.ids.shape}, {self.logprobs.shape} and {self.tail_logprob.shape}."
            )

    @classmethod
    def of(cls, ids: npt.ArrayLike, logprobs: npt.ArrayLike) -> "TopKSignal":
        """The signal of given top-k lists; the tail is what they leave of 1."""
        values = np.asarray(logprobs, dtype=np.float32)
        return cls(
            ids=np.asarray(ids, dtype=np.int32), logprobs=values, tail_logprob=tail_logprob(values)
        )

    @classmethod
    def joined(cls, signals: Sequence["TopKSignal"]) -> "TopKSignal":
        """One signal after the other, narrower ones filled up to the widest."""
        width = max(signal.ids.shape[1] for signal in signals)
        widened = [signal._filled(width) for signal in signals]
        return cls(
            ids=np.concatenate([signal.ids for signal in widened]),
            logprobs=np.concatenate([signal.logprobs for signal in widened]),
            tail_logprob=np.concatenate([signal.tail_logprob for signal in widened]),
        )

    def truncated(self, k: int) -> "TopKSignal":
        """The same distribution with only the `k` most likely ids kept apart."""
        return TopKSignal.of(self.ids[:, :k], self.logprobs[:, :k])

    def _filled(self, width: int) -> "TopKSignal":
        missing = width - self.ids.shape[1]
        if missing == 0:
            return self
        ids = np.concatenate([self.ids, np.repeat(self.ids[:, :1], missing, axis=1)], axis=1)
        fillers = np.full((len(self), missing), -np.inf, dtype=np.float32)
        return TopKSignal(ids, np.concatenate([self.logprobs, fillers], axis=1), self.tail_logprob)


@dataclass(frozen=True)
class SampledSignal(_PerToken):
    """Draws of a teacher, weighed so that their mean is its distribution.

    Attributes:
        ids: (n, J) int32, distinct in a row up to its fillers.
        weights: (n, J) float32, count / draws where ids were drawn from the teacher itself; 0 at
            a filler.

    Source: random sampling knowledge distillation, arXiv:2503.16870.
    """

    ids: IdArray
    weights: FloatArray

    def __post_init__(self) -> None:
        if self.ids.ndim != 2 or self.ids.shape != self.weights.shape:
            raise ShapeError(
                f"A sampled signal needs ids and weights of one shape (n, J); got "
                f"{self.ids.shape} and {self.weights.shape}."
            )

    @classmethod
    def joined(cls, signals: Sequence["SampledSignal"]) -> "SampledSignal":
        """One signal after the other, narrower ones filled up to the widest."""
        width = max(signal.ids.shape[1] for signal in signals)
        missing = [((0, 0), (0, width - signal.ids.shape[1])) for signal in signals]
        pairs = list(zip(signals, missing, strict=True))
        return cls(
            ids=np.concatenate([np.pad(signal.ids, fill) for signal, fill in pairs]),
            weights=np.concatenate([np.pad(signal.weights, fill) for signal, fill in pairs]),
        )


@dataclass(frozen=True)
class TokenSignal(_PerToken):
    """The log-probability of each completion token itself, (n,) float32 nats at temperature 1."""

    logprobs: FloatArray


@dataclass(frozen=True)
class HiddenSignal(_PerToken):
    """The teacher's last hidden states, (n, D) float32; the head is stored once beside them."""

    hidden: FloatArray


@dataclass(frozen=True)
class HeadCacheSignal(_PerToken):
    """Forward KL to a student with a frozen head W, without the distribution.

    With h the student's hidden state, KL(p || q) = negative_entropy - c . h + logsumexp(W h),
    where c = W^T p; its gradient by h is W^T q - c.

    Attributes:
        vectors: c, (n, D) float32, D the student's hidden size.
        negative_entropy: sum p log p, (n,) float32 nats.
    """

    vectors: FloatArray
    negative_entropy: FloatArray

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.negative_entropy):
            raise ShapeError(
                f"A head cache needs vectors (n, D) and n entropies; got {self.vectors.shape} and "
                f"{self.negative_entropy.shape}."
            )


Signal = TopKSignal | SampledSignal | TokenSignal | HiddenSignal | HeadCacheSignal


def tail_logprob(logprobs: FloatArray) -> FloatArray:
    """Log of the probability that (n, K) log-probabilities leave out, (n,) float32.

    Summed in float64. Log-probabilities in float32 know the tail to about 1e-7, so a smaller one
    is stored as none (-inf).
    """
    return log_of_rest(np.exp(logprobs.astype(np.float64)).sum(axis=1))


def log_of_rest(mass: npt.NDArray[np.float64]) -> FloatArray:
    """log(1 - mass) in float32, -inf where float32 log-probabilities cannot tell it from 0."""
    missing = 1.0 - mass
    resolution = float(np.finfo(np.float32).eps)
    with np.errstate(divide="ignore"):
        return np.where(missing > resolution, np.log(np.maximum(missing, 1e-300)), -np.inf).astype(
            np.float32
        )
