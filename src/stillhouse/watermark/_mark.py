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

    @property
    def temperature(self) -> float:
        """0 takes the largest logit."""
        ...


class LogitsMark(Protocol):
    """Chooses a token, or changes what it is drawn from; one is used by all rows, in one thread."""

    def __call__(
        self, row: MarkedRow, previous_ids: Sequence[int], logits_V: "Tensor"
    ) -> "Tensor | int":
        """The next token, or the logits that it is drawn from.

        It comes last, after a grammar, the temperature and the nucleus: a mark that chooses by a
        key must know the law that it chooses from, or it would change it. What it gives depends on
        the arguments alone, so that a seed gives the same completion again; the log-probabilities
        that are told stay the model's own.

        Args:
            row: The completion.
            previous_ids: What it has so far, without the prompt.
            logits_V: Float32, not to be changed: -inf for what may not be drawn. Their softmax is
                what an unmarked token is drawn from; at temperature 0 the largest is taken.

        Returns:
            The token itself; or (V,) float32, which is drawn from as `logits_V` would be. The
            same tensor leaves the token unmarked.
        """
        ...
