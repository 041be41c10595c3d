"""Passes of the garbage collector are rare while a collection runs, and only then."""

import gc
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from stillhouse.collect import CollectConfig, collect
from stillhouse.collect._garbage import rare_garbage_passes
from stillhouse.records import Message, Prompt
from stillhouse.runlog import Progress

_USUAL = (700, 10, 10)


@pytest.fixture(autouse=True)
def usual_thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(*_USUAL)
    yield
    gc.set_threshold(*before)


def test_a_collection_raises_the_threshold_and_puts_it_back(tmp_path: Path) -> None:
    seen: list[tuple[int, int, int]] = []

    def note(progress: Progress) -> None:
        seen.append(gc.get_threshold())

    prompts = [Prompt(id="a", messages=(Message(role="user", content="Hello?"),))]
    collect(prompts, tmp_path / "out", teacher="fake:", config=CollectConfig(), on_progress=note)
    assert set(seen) == {(50_000, 10, 10)}
    assert gc.get_threshold() == _USUAL


def test_the_threshold_is_put_back_after_an_error() -> None:
    with pytest.raises(ValueError, match="stop"), rare_garbage_passes():
        raise ValueError("stop")
    assert gc.get_threshold() == _USUAL


def test_the_last_of_several_puts_the_threshold_back() -> None:
    is_inside, may_leave = threading.Event(), threading.Event()

    def stay() -> None:
        with rare_garbage_passes():
            is_inside.set()
            may_leave.wait(10)

    with rare_garbage_passes():
        other = threading.Thread(target=stay)
        other.start()
        assert is_inside.wait(10)
    assert gc.get_threshold() == (50_000, 10, 10)
    may_leave.set()
    other.join(10)
    assert gc.get_threshold() == _USUAL


@pytest.mark.parametrize("chosen", [(0, 10, 10), (1_000_000, 5, 5)], ids=["off", "larger"])
def test_what_the_process_has_chosen_itself_stays(chosen: tuple[int, int, int]) -> None:
    gc.set_threshold(*chosen)
    with rare_garbage_passes():
        assert gc.get_threshold() == chosen
    assert gc.get_threshold() == chosen
