"""Top-k log-probabilities with a tail bucket, as arrays."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.errors import ShapeError


@dataclass(frozen=True)
class TopKSignal:
    """A teacher's distribution at n completion tokens.

    Attributes:
        ids: (n, K) int32, distinct in a row, most likely first.
        logprobs: (n, K) float32, nats at temperature 1 under the whole vocabulary.
        tail_logprob: (n,) float32, log of the mass outside the K; -inf when there is none.

    Raises:
        ShapeError: the shapes do not fit each other.
    """

    ids: npt.NDArray[np.int32]
    logprobs: npt.NDArray[np.float32]
    tail_logprob: npt.NDArray[np.float32]

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

    def truncated(self, k: int) -> "TopKSignal":
        """The same distribution with only the `k` most likely ids kept apart."""
        return TopKSignal.of(self.ids[:, :k], self.logprobs[:, :k])

    def __len__(self) -> int:
        return len(self.tail_logprob)


def tail_logprob(logprobs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Log of the probability that (n, K) log-probabilities leave out, (n,) float32.

    Summed in float64. Log-probabilities in float32 know the tail to about 1e-7, so a smaller one
    is stored as none (-inf).
    """
    missing = 1.0 - np.exp(logprobs.astype(np.float64)).sum(axis=1)
    resolution = float(np.finfo(np.float32).eps)
    with np.errstate(divide="ignore"):
        return np.where(missing > resolution, np.log(np.maximum(missing, 1e-300)), -np.inf).astype(
            np.float32
        )
