"""What marks a completion while it is drawn.

Letter: V vocabulary.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class MarkedRow(Protocol):
    """The completion that is marked, as far as a mark may know it."""

    @property
    def prompt_ids(self) -> tuple[int, ...]:
        """What it answers."""
        ...

    @property
    def seed(self) -> int:
        """Where all its randomness comes from."""
        ...


class LogitsMark(Protocol):
    """Changes what a token is drawn from; one is used by all rows, in one thread."""

    def __call__(self, row: MarkedRow, previous_ids: Sequence[int], logits_V: "Tensor") -> "Tensor":
        """The logits that the next token is drawn from.

        They depend on the arguments alone, so that a seed gives the same completion again. A
        grammar, temperature and nucleus come after it; the log-probabilities that are told stay
        the model's own.

        Args:
            row: The completion.
            previous_ids: What it has so far, without the prompt.
            logits_V: Float32, of the model; not to be changed.

        Returns:
            (V,) float32; -inf for what may not be drawn, and not all of it.
        """
        ...
