"""Training rows that are set aside: what a student is calibrated and first measured on.

Letters: N rows.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stillhouse.errors import DataError
from stillhouse.tasks import TaskAnswer

Flags = npt.NDArray[np.bool_]

_NAME = "stillhouse.fit validation"
_RANGE = 2**64


def validation_flags(rows: Sequence[TaskAnswer], fraction: float) -> Flags:
    """(N,) whether each row is set aside.

    By the hash of its group or, without one, of its prompt id: a row stays on its side whatever
    other rows there are and in whatever order. Where the hash sets none aside, the group or row
    with the smallest one is.

    Args:
        rows: N rows.
        fraction: Of the groups and lone rows, on average.

    Raises:
        DataError: all rows are of one group, so that setting it aside leaves none.
    """
    units = [_unit(row) for row in rows]
    places = {unit: _place(unit) for unit in units}
    if len(places) < 2:
        raise DataError(
            f"All {len(rows)} training rows are of one group, so none can be set aside to measure "
            "the student on. Give rows of two groups or more, or rows without a group."
        )
    below = max(fraction, min(places.values()))
    aside = {unit for unit, place in places.items() if place <= below}
    if len(aside) == len(places):  # a handful of rows whose hashes are all small
        aside.remove(max(places, key=places.__getitem__))
    return np.array([unit in aside for unit in units], dtype=np.bool_)


def repeats(texts: Sequence[str], learnt: Sequence[str]) -> Flags:
    """(N,) whether each text is among the learnt ones, but for case and space."""
    known = {_folded(text) for text in learnt}
    return np.array([_folded(text) in known for text in texts], dtype=np.bool_)


def _unit(row: TaskAnswer) -> str:
    # A group that is called like a prompt is another thing.
    return f"prompt {row.prompt_id}" if row.group is None else f"group {row.group}"


def _place(unit: str) -> float:
    """Where in [0, 1) a unit's hash lies."""
    digest = hashlib.sha256(f"{_NAME}:{unit}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / _RANGE


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
