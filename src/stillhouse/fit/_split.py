"""Training rows that are set aside: what a student is calibrated and first measured on.

Letters: N rows.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stillhouse.errors import DataError
from stillhouse.fit._rows import Flags, TaskRows
from stillhouse.records import unit_of
from stillhouse.tasks import TaskAnswer

_NAME = "stillhouse.fit validation"
_RANGE = 2**64
_FEWEST_ROWS = 10


@dataclass(frozen=True)
class Parts:
    """The training rows in two parts.

    Attributes:
        learn: What the student learns from.
        aside: What it is calibrated and first measured on.
        dropped: Rows in neither, by reason.
    """

    learn: TaskRows
    aside: TaskRows
    dropped: Counter[str]


def parted(rows: TaskRows, dropped: Counter[str], *, fraction: float) -> Parts:
    """Set some of the rows aside, none of which has a text that is learnt.

    Args:
        rows: All rows.
        dropped: Those that were left out before.
        fraction: Of the groups and lone rows to set aside, on average.

    Raises:
        DataError: there are too few rows, all are of one group or repeat one text, or those to
            learn from have one label only.
    """
    if len(rows) < _FEWEST_ROWS:
        lost = f" ({dropped.total()} others were dropped)" if dropped else ""
        raise DataError(
            f"There are {len(rows)} training rows with a valid answer{lost}: too few to fit a "
            f"student to, whatever it may then say. Give {_FEWEST_ROWS} or more, a few for each "
            "label."
        )
    is_aside_N = validation_flags(rows.rows, fraction)
    learn = rows.chosen(np.flatnonzero(~is_aside_N))
    is_repeated_N = is_aside_N & _repeats(rows.texts, learn.texts)
    aside = rows.chosen(np.flatnonzero(is_aside_N & ~is_repeated_N))
    if not len(aside):
        raise DataError(
            f"All {int(is_aside_N.sum())} rows that were set aside repeat texts to learn from, so "
            "that nothing could be measured on them. Give other texts, or a larger "
            "validation_fraction."
        )
    _check_contrast(rows, learn)
    found = dropped.copy()
    if is_repeated_N.any():
        found["repeats_training_text"] = int(is_repeated_N.sum())
    return Parts(learn, aside, found)


def _check_contrast(rows: TaskRows, learn: TaskRows) -> None:
    """Refuse rows that all have the same label."""
    if (num_seen := _num_to_tell_apart(learn)) > 1 or (num_seen and rows.task.multiple):
        return
    if _num_to_tell_apart(rows) == num_seen:
        whose, then = f"All {len(rows)} training rows", "Give rows of other labels."
    else:
        whose = f"All {len(learn)} rows to learn from"
        then = "The few others were set aside: give more of them."
    answer = learn.answers[0] or "none"
    raise DataError(
        f"{whose} have the same label ({answer!r}): there is nothing to tell apart. {then}"
    )


def _num_to_tell_apart(rows: TaskRows) -> int:
    """Labels that some row has; of several a text, those that not every row has."""
    mass_L = rows.targets_NL.sum(axis=0)
    room = len(rows) - 1e-9 if rows.task.multiple else np.inf
    return int(np.count_nonzero((mass_L > 0) & (mass_L < room)))


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
    units = [unit_of(row.prompt_id, row.group) for row in rows]
    places = {unit: _place(unit) for unit in units}
    if len(places) < 2:
        raise DataError(
            f"All {len(rows)} training rows are of one group, so none can be set aside to measure "
            "the student on. Give rows of two groups or more, or rows without a group."
        )
    below = max(fraction, min(places.values()))
    aside = {unit for unit, place in places.items() if place <= below}
    if len(aside) == len(places):  # a handful of groups whose hashes are all small
        aside.remove(max(places, key=places.__getitem__))
    return np.array([unit in aside for unit in units], dtype=np.bool_)


def _place(unit: str) -> float:
    """Where in [0, 1) a unit's hash lies."""
    digest = hashlib.sha256(f"{_NAME}:{unit}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big") / _RANGE


def _repeats(texts: Sequence[str], learnt: Sequence[str]) -> Flags:
    """(N,) whether each text is among the learnt ones, but for case and space."""
    known = {_folded(text) for text in learnt}
    return np.array([_folded(text) in known for text in texts], dtype=np.bool_)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
