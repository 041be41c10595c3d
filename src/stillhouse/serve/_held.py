"""A grammar whose failure ends one answer and not all that are generated beside it."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stillhouse.errors import ConfigError

if TYPE_CHECKING:
    from stillhouse.models import Constraint, Grammar


class HeldGrammar:
    """A grammar of one answer: where it fails, only the end of the turn is allowed.

    Args:
        grammar: Of the answer.
        end_ids: What ends a turn.

    Attributes:
        error: Why it failed, if it did.
    """

    def __init__(self, grammar: "Grammar", end_ids: tuple[int, ...]) -> None:
        self._grammar = grammar
        self._end_ids = end_ids
        self.error: ConfigError | None = None

    def begin(self) -> "Constraint":
        """The place before the answer's first token."""
        return _HeldConstraint(self, self._grammar.begin(), self._end_ids)


class _HeldConstraint:
    def __init__(
        self, held: HeldGrammar, constraint: "Constraint", end_ids: tuple[int, ...]
    ) -> None:
        self._held = held
        self._constraint = constraint
        self._end_ids = end_ids

    def allowed_V(self) -> npt.NDArray[np.bool_]:
        """(V,) what may come next."""
        if self._held.error is None:
            try:
                allowed_V = self._constraint.allowed_V()
                if allowed_V.any():
                    return allowed_V
                self._held.error = ConfigError("The schema allows no token to go on with.")
            except ConfigError as err:
                self._held.error = err
        ends_V = np.zeros(max(self._end_ids) + 1, dtype=np.bool_)
        ends_V[list(self._end_ids)] = True
        return ends_V

    def advance(self, token_id: int) -> None:
        """Go on with an allowed id."""
        if self._held.error is None:
            try:
                self._constraint.advance(token_id)
            except ConfigError as err:
                self._held.error = err
