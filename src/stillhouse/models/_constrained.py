"""Completions that may not be any text: what a token must satisfy while it is drawn.

A grammar says what completions there are; a constraint is one completion's place in it. Drawing
under a constraint sets the probability of every other token to zero and draws from the rest, so a
completion that ends is one of the grammar's; what its tokens are reported with stays the model's
own distribution, which tells how much it was held back.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]


class Constraint(Protocol):
    """Where one completion stands in its grammar."""

    def allowed_V(self) -> Bools:
        """(V,) which ids may come next, those that end the turn where it may end."""
        ...

    def advance(self, token_id: int) -> None:
        """Go on with an allowed id."""
        ...


class Grammar(Protocol):
    """What completions there are; any number of them may be under way at once."""

    def begin(self) -> Constraint:
        """The place before a completion's first token."""
        ...
