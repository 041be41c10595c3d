"""How far a student can be trusted: chosen on some rows, certified on others.

Letters: N prompts, G thresholds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr

from stillhouse.pipeline._scan_student import Flags, Floats
from stillhouse.statistics import (
    Interval,
    fixed_sequence,
    fraction_interval,
    fraction_lower_bound,
    fraction_upper_bound,
    rows_to_certify,
)

_SHARES = tuple(number / 20 for number in range(1, 21))
"""Of the prompts that a threshold lets through, least first."""
_POWER = 0.8
_STEP = 1.05  # between two numbers of rows that are tried: nobody collects to the row
_MOST_ROWS = 1_000_000


@dataclass(frozen=True)
class Answered:
    """What a student did on rows that it did not learn from.

    Attributes:
        confidence_N: (N,) how sure it was; -1 where it had no answer.
        agrees_N: (N,) whether it said what the teacher did.
    """

    confidence_N: Floats
    agrees_N: Flags

    def __len__(self) -> int:
        return len(self.confidence_N)

    def through(self, threshold: float) -> tuple[int, int]:
        """The rows that a threshold lets through, and how many of them are wrong."""
        is_sure_N = (self.confidence_N >= threshold) & (self.confidence_N >= 0)
        return int(is_sure_N.sum()), int((is_sure_N & ~self.agrees_N).sum())


@dataclass(frozen=True)
class Certified:
    """A share of the traffic that a student may answer.

    Attributes:
        threshold: Of its confidence.
        share: Of the prompts that it answers; the interval holds for all thresholds that were
            tested together.
        agreement: Of these answers with the teacher's; `low` is the bound that was certified.
    """

    threshold: float
    share: Interval
    agreement: Interval


def grid_of(chosen_on: Answered, num_certify: int, *, target: float, confidence: float) -> Floats:
    """(G,) thresholds to test one after the other, safest first.

    The first is the one that passes most likely, as far as `chosen_on` tells; those that let
    more through follow. A stricter one would seldom pass: the fewer rows, the fewer errors are
    allowed.

    Args:
        chosen_on: Rows that are not those of the test.
        num_certify: Rows of the test.
        target: Agreement to certify.
        confidence: Of the certificate.
    """
    thresholds = _thresholds(chosen_on)
    if not len(thresholds):
        return thresholds
    chances = [
        _chance(chosen_on, float(one), num_certify, target=target, confidence=confidence)
        for one in thresholds
    ]
    # Of equal chances the last: it lets most through.
    first = len(chances) - 1 - int(np.argmax(chances[::-1]))
    return thresholds[first:]


def certify(
    tested_on: Answered, thresholds_G: Sequence[float], *, target: float, confidence: float
) -> Certified | None:
    """The threshold that lets most through of those that keep the target, with its bounds.

    Args:
        tested_on: Rows that nothing was chosen on, each independent of the others.
        thresholds_G: Safest first.
        target: Agreement of the answers that are let through.
        confidence: That it is kept, whatever the number of thresholds.

    Returns:
        None where nothing can be promised.
    """
    if not len(thresholds_G):
        return None
    counts = [tested_on.through(threshold) for threshold in thresholds_G]
    place = fixed_sequence(
        [errors for _, errors in counts],
        [total for total, _ in counts],
        target=1 - target,
        confidence=confidence,
    )
    if place is None:
        return None
    total, errors = counts[place]
    # The place is read off these rows: their share has to hold at every place.
    # Half of the error is left to whatever the share is multiplied with, such as a price.
    one_of_all = 1 - (1 - confidence) / (2 * len(thresholds_G))
    return Certified(
        threshold=float(thresholds_G[place]),
        share=fraction_interval(total, len(tested_on), confidence=one_of_all),
        agreement=Interval(
            1 - errors / total,
            fraction_lower_bound(total - errors, total, confidence=confidence),
            1.0,
            n=total,
            num_clusters=total,
        ),
    )


def prompts_needed(
    chosen_on: Answered, *, target: float, confidence: float, certify_fraction: float
) -> int | None:
    """Distinct prompts of a log with which a scan would promise something in four of five cases.

    Where the student makes, at some threshold, fewer errors than the target allows, and goes on
    like that. None where it makes too many at each, or a million prompts would not do.
    """
    needed = []
    for threshold in _thresholds(chosen_on):
        total, errors = chosen_on.through(float(threshold))
        rows = _rows_that_pass(_expected(errors, total), target=target, confidence=confidence)
        if rows is not None:
            needed.append(rows / (total / len(chosen_on)) / certify_fraction)
    return None if not needed else int(np.ceil(min(needed)))


def least_prompts(*, target: float, confidence: float, certify_fraction: float) -> int:
    """Distinct prompts without which no scan promises anything, however good a student is."""
    return int(np.ceil(rows_to_certify(1 - target, confidence) / certify_fraction))


def _thresholds(chosen_on: Answered) -> Floats:
    """(G,) thresholds that let through a twentieth of the rows, a tenth and so on; safest first."""
    sure_N = np.sort(chosen_on.confidence_N[chosen_on.confidence_N >= 0])[::-1]
    wanted = (max(1, round(share * len(chosen_on))) for share in _SHARES)
    places = sorted({min(number, len(sure_N)) - 1 for number in wanted if len(sure_N)})
    return np.unique(sure_N[places])[::-1]


def _chance(
    chosen_on: Answered, threshold: float, num_certify: int, *, target: float, confidence: float
) -> float:
    """How likely a threshold passes: few enough errors among as many rows as it will have."""
    total, errors = chosen_on.through(threshold)
    rows = round(num_certify * total / len(chosen_on))
    allowed = _most_errors(rows, target=target, confidence=confidence)
    return 0.0 if allowed < 0 else float(bdtr(allowed, rows, _expected(errors, total)))


def _rows_that_pass(expected: float, *, target: float, confidence: float) -> int | None:
    """Rows that are certified with the usual power; None where a million are not."""
    rows = rows_to_certify(1 - target, confidence)
    while rows <= _MOST_ROWS and expected < 1 - target:
        allowed = _most_errors(rows, target=target, confidence=confidence)
        if bdtr(allowed, rows, expected) >= _POWER:
            return rows
        rows = int(np.ceil(rows * _STEP))
    return None


def _most_errors(rows: int, *, target: float, confidence: float) -> int:
    """The most errors among so many rows that still certify the target; -1 where none do."""
    low, high = -1, rows if rows else -1
    while low < high:
        middle = (low + high + 1) // 2
        if fraction_upper_bound(middle, rows, confidence=confidence) <= 1 - target:
            low = middle
        else:
            high = middle - 1
    return low


def _expected(errors: int, total: int) -> float:
    """The fraction of errors to expect: never none, since few rows show none by chance."""
    return (errors + 0.5) / (total + 1)
