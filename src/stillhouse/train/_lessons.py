"""What one row of a batch teaches."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.chat import EncodedExample


@dataclass(frozen=True)
class Lesson:
    """A text to learn from, and how it came about.

    Attributes:
        example: The text as tokens.
        weight: Factor of each of its tokens in the loss, where others have 1.
        behaviour_logprobs: (n,) float32, log-probabilities of the completion's tokens under what
            wrote them, nats at temperature 1; None for a text that was not drawn here.
        is_truncated: Whether it was cut before its end.
    """

    example: EncodedExample
    weight: float = 1.0
    behaviour_logprobs: npt.NDArray[np.float32] | None = None
    is_truncated: bool = False

    @property
    def num_tokens(self) -> int:
        """Tokens to learn."""
        return len(self.example.completion_ids)
