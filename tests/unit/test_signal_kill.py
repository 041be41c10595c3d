"""A capture that is killed with SIGKILL, over and over, ends with the bytes of one that was not."""

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from stillhouse.artifacts import Artifact, Counts, begin_artifact, check_files, open_artifact
from stillhouse.runlog import Listener, Progress, ignore_progress
from stillhouse.signal import SignalReader, SignalWriter, TopKCodec, TopKSignal

pytestmark = pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")

if TYPE_CHECKING:  # a child that needs no torch starts at once
    from tiny_chain import Chain

NUM_ROWS = 360  # 24 parts: more than the kills can leave time for
NUM_KILLS = 8
KEYS = [f"{number:064x}" for number in range(NUM_ROWS)]


def row(number: int) -> TopKSignal:
    rng = np.random.default_rng(number)
    probs = -np.sort(-rng.dirichlet(np.ones(5), 9)[:, :4], axis=1)
    return TopKSignal.of(np.argsort(rng.random((9, 40)), axis=1)[:, :4], np.log(probs))


def write_slowly(folder: Path, pause_s: float) -> Artifact:
    """Rows in batches of 3, parts of 5 batches or more."""
    artifact = begin_artifact(folder, kind="signal", stage="capture", config={})
    store = SignalWriter(artifact, TopKCodec(4), part_tokens=9 * 13)
    for first in range(0, NUM_ROWS, 3):
        batch = range(first, first + 3)
        known = {KEYS[number] in store for number in batch}
        assert len(known) == 1, "a batch lies on two sides of a kill"
        if known == {False}:
            time.sleep(pause_s)
            store.add_all((KEYS[number], row(number)) for number in batch)
    store.close()
    return artifact.finish(counts=Counts(num_in=NUM_ROWS, kept=NUM_ROWS))


def start(work: Callable[..., Any], *arguments: Any) -> multiprocessing.process.BaseProcess:
    child = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    child.start()
    return child


def kill(child: multiprocessing.process.BaseProcess) -> bool:
    """Whether it still ran."""
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join(20)
    return child.exitcode == -signal.SIGKILL


def wait_for(condition: Callable[[], bool], child: multiprocessing.process.BaseProcess) -> None:
    while not condition():
        assert child.is_alive(), f"it ended by itself ({child.exitcode})"
        time.sleep(0.005)


def num_parts(folder: Path) -> int:
    return len(list((folder / ".work" / "parts").glob("*.safetensors")))


def test_kills_at_any_moment_leave_no_row_twice_or_out(tmp_path: Path) -> None:
    whole = write_slowly(tmp_path / "whole", 0.0)
    moments = random.Random(20261124)
    out = tmp_path / "killed"
    kills = 0
    for _ in range(NUM_KILLS):
        known = num_parts(out)
        child = start(write_slowly, out, 0.02)
        # Every second one has to get on, or the last would begin where the first did.
        if kills % 2:
            wait_for(lambda known=known: num_parts(out) > known, child)  # type: ignore[misc]
        else:
            wait_for(lambda: (out / ".work" / "lock").exists(), child)
            time.sleep(moments.uniform(0.0, 0.2))
        kills += kill(child)
    assert kills == NUM_KILLS
    assert 0 < num_parts(out) < len(whole.manifest.files)
    resumed = write_slowly(out, 0.0)
    check_files(resumed)
    assert resumed.manifest.files == whole.manifest.files
    reader = SignalReader(resumed)
    assert len(reader) == NUM_ROWS
    for number in range(NUM_ROWS):
        assert np.array_equal(reader.read(KEYS[number]).ids, row(number).ids)


def wait_to_be_killed(progress: Progress) -> None:
    """Called at the end at the latest, when the second part is still in memory."""
    if progress.done > 335:
        time.sleep(600)


def capture_of(
    dataset: Path, out: Path, teacher: str, on_progress: Listener = ignore_progress
) -> None:
    import torch

    from stillhouse.collect import CaptureConfig, capture

    torch.set_num_threads(1)
    config = CaptureConfig(top_k=2)
    capture(dataset, out, teacher=teacher, config=config, on_progress=on_progress)


@pytest.mark.slow
def test_a_killed_capture_resumes_to_the_same_artefact(chain: "Chain", tmp_path: Path) -> None:
    from tiny_chain import write_dataset

    texts = [(f"Number {number}.", "q" * 200) for number in range(345)]  # two parts
    dataset = write_dataset(tmp_path / "d", chain.teacher, texts).path
    arguments = (dataset, tmp_path / "killed", chain.teacher)
    for parts in (0, 1):
        child = start(capture_of, *arguments, wait_to_be_killed)
        wait_for(lambda parts=parts: num_parts(tmp_path / "killed") >= parts, child)  # type: ignore[misc]
        assert kill(child)
    assert num_parts(tmp_path / "killed") == 1
    capture_of(*arguments)
    capture_of(dataset, tmp_path / "whole", chain.teacher)
    resumed, whole = open_artifact(tmp_path / "killed"), open_artifact(tmp_path / "whole")
    check_files(resumed)
    assert resumed.manifest.files == whole.manifest.files
    assert resumed.manifest.results == whole.manifest.results
    assert len(SignalReader(resumed)) == 345
