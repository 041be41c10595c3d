"""What the tokens of a text say of a mark, before any test.

Letters: N scored tokens.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
U64 = npt.NDArray[np.uint64]

LawName = Literal["exponential", "hypoexponential", "bernoulli", "binomial"]


@dataclass(frozen=True, slots=True)
class NullLaw:
    """How one score is distributed in text that does not know the key; scores are independent.

    Attributes:
        name: `exponential`: mean 1. `hypoexponential`: a sum of independent exponentials with the
            scales `parameters`. `bernoulli`: 1 with the probability `parameters[0]`. `binomial`:
            successes of `parameters[0]` draws, each with the probability `parameters[1]`.
        parameters: Of that law.
    """

    name: LawName
    parameters: tuple[float, ...] = ()

    @property
    def mean(self) -> float:
        """Expected score of an unmarked token."""
        if self.name == "exponential":
            return 1.0
        if self.name == "binomial":
            return self.parameters[0] * self.parameters[1]
        return sum(self.parameters)

    @property
    def variance(self) -> float:
        """Variance of the score of an unmarked token."""
        if self.name == "exponential":
            return 1.0
        if self.name == "hypoexponential":
            return sum(scale * scale for scale in self.parameters)
        num_draws = self.parameters[0] if self.name == "binomial" else 1.0
        chance = self.parameters[-1]
        return num_draws * chance * (1.0 - chance)


@dataclass(frozen=True, slots=True)
class Scores:
    """The score of each token that has a whole context, repeated contexts included.

    Equal contexts with equal tokens have equal scores: whoever tests must count each context, or
    each context with its token, once.

    Attributes:
        scores_N: Larger is more like the mark.
        null: The law of each in unmarked text.
        contexts_N: Hash of the context of each, without any key.
        positions_N: Index of the scored token in the ids.
        ids_N: The scored token.
    """

    scores_N: F64
    null: NullLaw
    contexts_N: U64
    positions_N: I64
    ids_N: I64
