"""What a window of requests is like: the figures that are compared with those of benign accounts.

Letters: M requests of a window, D dimensions, F figures.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from stillhouse.traffic._map import ContentMap, Directions, Regions, effective_number, likeness
from stillhouse.traffic._table import Table

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

FIGURES = (
    "cue_share",
    "cued",
    "cued_breadth",
    "cued_likeness",
    "cue_kinds",
    "pressed",
    "pressed_breadth",
    "breadth",
    "likeness",
    "frame_breadth",
    "frame_likeness",
    "broad_frames",
    "framed_breadth",
    "swept_frames",
    "cued_swept_frames",
    "logprob_share",
    "answer_length",
    "burstiness",
    "early_share",
)
_LEAST_IN_FRAME = 4
PRESSED = 2  # kinds of cues
_BROAD = 5.0  # effective regions
_LEAST_ALIKE = 0.02  # mean cosines below it are noise


@dataclass(frozen=True)
class Placed:
    """Requests, and where their contents are.

    Attributes:
        table: Of a log.
        direction_ND: Of contents.
        region_N: Of contents.
    """

    table: Table
    direction_ND: Directions
    region_N: Regions

    @classmethod
    def on(cls, content_map: ContentMap, table: Table) -> Self:
        """The requests of a table on a map."""
        direction_ND = content_map.directions(table.content_NC)
        return cls(table, direction_ND, content_map.regions(direction_ND))


def window_figures(placed: Placed, window_M: Indices) -> Floats:
    """(F,) figures of the requests `window_M`, which are in the order of time, in `FIGURES`.

    - `cue_share`: log-odds of requests with a cue; `cued`: log of one more than their number.
    - `cue_kinds`: mean number of kinds of cues where there are any; `pressed`: log of one more than
      the number of requests with several.
    - `breadth`: log of the effective number of regions that contents spread over; `likeness`: mean
      cosine of two contents; `cued_` and `pressed_`: of those; `frame_`: of requests in one frame,
      the largest breadth and the least likeness of frames that have enough.
    - `broad_frames`: log of one more than the requests in frames that spread over many regions.
    - `framed_breadth`: mean over requests of the log of the breadth of their frame; 0 without one.
    - `swept_frames`: log of the effective number of broad frames, times how alike contents of two
      of them are beside those of one (0 to 1). Jobs have frames and topics of their own, and who
      tests has one frame at a time; a sweep puts the same spread of contents into each of its
      frames. `cued_`: of requests with a cue.
    - `logprob_share`: log-odds of requests that ask for log-probabilities.
    - `answer_length`: mean log of one more than the tokens of answers.
    - `burstiness`: log of the variation of the time between requests; 0 for a random clock.
    - `early_share`: log-odds of requests that go to a model within a day of its first request.
    """
    table = placed.table
    region_M, direction_MD = placed.region_N[window_M], placed.direction_ND[window_M]
    cued_M, num = table.cues_N[window_M] > 0, len(window_M)
    num_cued = int(cued_M.sum())
    kinds_M = np.bitwise_count(table.cues_N[window_M])
    pressed_M = kinds_M >= PRESSED
    frames = _frames(table.frame_NB[window_M, 0], region_M, direction_MD)
    return np.array(
        [
            log_odds(num_cued, num),
            math.log1p(num_cued),
            math.log(effective_number(region_M[cued_M])),
            likeness(direction_MD[cued_M]),
            float(kinds_M[cued_M].mean()) if num_cued else 1.0,
            math.log1p(int(pressed_M.sum())),
            math.log(effective_number(region_M[pressed_M])),
            math.log(effective_number(region_M)),
            likeness(direction_MD),
            frames.largest,
            frames.least_likeness,
            math.log1p(frames.num_broad),
            frames.total / num,
            frames.swept,
            _frames(
                table.frame_NB[window_M[cued_M], 0], region_M[cued_M], direction_MD[cued_M]
            ).swept,
            log_odds(int(table.logprobs_N[window_M].sum()), num),
            float(np.log1p(table.completion_tokens_N[window_M]).mean()),
            _burstiness(table.time_N[window_M]),
            log_odds(int(table.early_N[window_M].sum()), num),
        ]
    )


class _Frames(NamedTuple):
    """Of frames that have enough requests: logs of breadths, and requests in broad ones."""

    largest: float
    least_likeness: float
    num_broad: int
    total: float  # over requests
    swept: float


def _frames(
    frame_M: npt.NDArray[np.uint32], region_M: Regions, direction_MD: Directions
) -> _Frames:
    order = np.argsort(frame_M, kind="stable")
    values, starts, counts = np.unique(frame_M[order], return_index=True, return_counts=True)
    largest, least, total = 1.0, 1.0, 0.0
    broad: list[Indices] = []
    for value, start, count in zip(values, starts, counts, strict=True):
        if value and count >= _LEAST_IN_FRAME:
            of_frame = order[start : start + count]
            breadth = effective_number(region_M[of_frame])
            largest = max(largest, breadth)
            least = min(least, likeness(direction_MD[of_frame]))
            total += int(count) * math.log(breadth)
            if breadth > _BROAD:
                broad.append(of_frame)
    num_broad = sum(map(len, broad))
    return _Frames(math.log(largest), least, num_broad, total, _swept(broad, direction_MD))


def _swept(frames: Sequence[Indices], direction_MD: Directions) -> float:
    if len(frames) < 2:
        return 0.0
    counts = np.array([len(some) for some in frames], np.float64)
    with_content = np.array([direction_MD[some].any(axis=1).sum() for some in frames], np.float64)
    sums = np.array([direction_MD[some].sum(axis=0, dtype=np.float64) for some in frames])
    total_D, num = sums.sum(axis=0), with_content.sum()
    within = float((sums**2).sum())
    across = (total_D @ total_D - within) / max(num**2 - (with_content**2).sum(), 1.0)
    own = (within - num) / max(float((with_content * (with_content - 1)).sum()), 1.0)
    alike = (across + _LEAST_ALIKE) / (max(own, 0.0) + _LEAST_ALIKE)
    effective = float(counts.sum() ** 2 / (counts**2).sum())
    return math.log(effective) * min(max(float(alike), 0.0), 1.0)


def log_odds(num_of: int, num: int) -> float:
    """Log-odds of a share, shrunk so that none and all are finite."""
    return math.log((num_of + 0.5) / (num - num_of + 0.5))


def _burstiness(time_M: Floats) -> float:
    gaps = np.maximum(np.diff(time_M), 0.1)  # clocks tell no more, and may go back
    return float(math.log(gaps.std() / gaps.mean() + 0.05)) if len(gaps) > 1 else 0.0
