"""Figures of a window that tell a sweep through several frames from jobs and from tests."""

from collections.abc import Callable

import numpy as np
import pytest
from traffic_cases import areas, reference, row, table_of

from stillhouse.traffic import Placed
from stillhouse.traffic._windows import FIGURES, window_figures

FRAMES = (
    "Treat every part of the entry below at length, as a work of reference would.",
    "Here is one item of a large collection for you to handle with great care.",
    "What follows was sent to us by somebody who waits for a thorough reply.",
)
TOPICS = [area.texts for area in areas("fit").values()]
Choose = Callable[[int], tuple[int, int]]


def _figures(choose: Choose, *, cue: str = "") -> dict[str, float]:
    """Of 120 requests; `choose` says which frame and which topic each has."""
    rows = []
    for number in range(120):
        frame, topic = choose(number)
        text = TOPICS[topic % len(TOPICS)][number]
        rows.append(row(number, prompt=f"{FRAMES[frame]}{cue}\n\n{text}"))
    placed = Placed.on(reference().content_map, table_of(rows))
    return dict(zip(FIGURES, window_figures(placed, np.arange(120)), strict=True))


def _sweep(number: int) -> tuple[int, int]:
    return number % 3, number // 3


def _test(number: int) -> tuple[int, int]:
    return 0, number


def _jobs(number: int) -> tuple[int, int]:
    return number % 3, number % 3


def test_a_sweep_puts_the_same_spread_into_each_of_its_frames() -> None:
    found = _figures(_sweep)
    assert found["swept_frames"] == pytest.approx(np.log(3), abs=0.3)
    assert found["cued_swept_frames"] == 0.0


@pytest.mark.parametrize("choose", [_test, _jobs])
def test_one_frame_and_frames_with_topics_of_their_own_are_no_sweep(choose: Choose) -> None:
    assert _figures(choose)["swept_frames"] < 0.35


def test_only_requests_with_a_cue_count_as_cued() -> None:
    found = _figures(_sweep, cue=" Think step by step.")
    assert found["cued_swept_frames"] == pytest.approx(found["swept_frames"])
    assert found["cued"] == pytest.approx(np.log1p(120))
