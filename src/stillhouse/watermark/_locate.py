"""Where in a text the marked parts are.

All windows of some lengths are tested, and Bonferroni's correction counts them all, so that with
probability 1 - level no window is told that has no marked token. Unmarked scores are independent
after `windows`, so the p-value of each window is as exact as that of a whole text.

Letters: N scored tokens, L lengths of windows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.watermark._null_tail import log10_tail
from stillhouse.watermark._scores import NullLaw

_SHORTEST = 16  # scored tokens; fewer reach no level that counts all windows
_STEP = 2**0.5
_MOST_SPANS = 50


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a text that is marked.

    Attributes:
        start: Its first token.
        end: The token after its last one.
        num_scored: Tokens in it that were scored.
        log10_p: Of the window that found it, corrected for all windows of the text.
    """

    start: int
    end: int
    num_scored: int
    log10_p: float


def locate(
    scores_N: npt.NDArray[np.float64],
    positions_N: npt.NDArray[np.int64],
    null: NullLaw,
    *,
    level: float = 1e-3,
) -> list[Span]:
    """Marked parts of one text, in their order.

    Args:
        scores_N: Of its windows, in the order of the text.
        positions_N: Of their tokens.
        null: The law of a score without the mark.
        level: How likely it may be that a part is told which has no marked token.
    """
    lengths = _lengths(len(scores_N))
    log10_windows = np.log10(max(1, sum(len(scores_N) - length + 1 for length in lengths)))
    spans: list[Span] = []
    left = [(0, len(scores_N))]
    while left and len(spans) < _MOST_SPANS:
        low, high = left.pop()
        best = _best_window(scores_N[low:high], lengths, null)
        if best is None or best[2] + log10_windows > np.log10(level):
            continue
        begin, end = _refined(scores_N[low:high], best[0], best[1], null)
        begin, end = low + begin, low + end
        corrected = float(min(0.0, best[2] + log10_windows))
        first, last = int(positions_N[begin]), int(positions_N[end - 1])
        spans.append(Span(first, last + 1, end - begin, corrected))
        left += [(low, begin), (end, high)]
    return sorted(spans, key=lambda span: span.start)


def _lengths(num_scores: int) -> list[int]:
    found: list[int] = []
    length = float(_SHORTEST)
    while round(length) <= num_scores:
        found.append(round(length))
        length *= _STEP
    return found


def _best_window(
    scores_N: npt.NDArray[np.float64], lengths: Sequence[int], null: NullLaw
) -> tuple[int, int, float] | None:
    """Begin, end and log10 p of the rarest window."""
    lengths = [length for length in lengths if length <= len(scores_N)]
    if not lengths:
        return None
    until_N = np.concatenate([[0.0], np.cumsum(scores_N)])
    begins, sums = [], []
    for length in lengths:
        # Of one length the largest sum is the rarest.
        of_length = until_N[length:] - until_N[:-length]
        begins.append(int(of_length.argmax()))
        sums.append(float(of_length[begins[-1]]))
    log10_p = log10_tail(null, np.maximum(sums, 0.0), np.array(lengths))
    best = int(log10_p.argmin())
    return begins[best], begins[best] + lengths[best], float(log10_p[best])


def _refined(
    scores_N: npt.NDArray[np.float64], begin: int, end: int, null: NullLaw
) -> tuple[int, int]:
    """The likeliest ends of the marked part around a window, by its likelihood ratio.

    The middle of the window is taken to be in it.
    """
    even = _indifferent(float(scores_N[begin:end].mean()), null)
    quarter = (end - begin) // 4
    first, last = begin + quarter, end - quarter
    gain = np.concatenate([[0.0], np.cumsum(scores_N - even)])
    return int(gain[: first + 1].argmin()), last + int(gain[last:].argmax())


def _indifferent(mean: float, null: NullLaw) -> float:
    """The score that speaks neither for scores of this mean nor for those of unmarked text."""
    if null.name in ("exponential", "hypoexponential"):
        tilt = 1 - null.mean / max(mean, null.mean * (1 + 1e-6))
        return -null.mean * float(np.log1p(-tilt)) / tilt
    num_draws = null.parameters[0] if null.name == "binomial" else 1.0
    chance = null.parameters[-1]
    rate = min(max(mean / num_draws, chance * (1 + 1e-6)), 1 - 1e-6)
    against = np.log((1 - chance) / (1 - rate))
    return float(num_draws * against / (np.log(rate / chance) + against))
