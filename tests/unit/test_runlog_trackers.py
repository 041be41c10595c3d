"""Metrics that go on to an experiment tracker, through the tracker's own interface."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from stillhouse.errors import ConfigError
from stillhouse.runlog import TRACKERS, Progress, joined_listeners, open_tracker, tracking

# What trackio and wandb offer, as a module that writes down how it was called.
RECORDING_MODULE = """
import json
from pathlib import Path

CALLS = Path(__file__).with_name("calls.jsonl")

def _note(**call):
    with CALLS.open("a") as stream:
        stream.write(json.dumps(call) + "\\n")

def init(*, project, name):
    _note(init=[project, name])

def log(metrics, *, step):
    _note(log=metrics, step=step)

def finish():
    _note(finish=True)
"""
USE = """
import sys
from pathlib import Path
sys.path.insert(0, {folder!r})
from stillhouse.runlog import Progress, open_tracker
try:
    with open_tracker({name!r}, run="student", folder=Path({folder!r})) as listener:
        listener(Progress("train", 0, 2, "steps", 0.0, None))
        for done in (1, 2):
            metrics = {{"train/loss_nats": 1.5 / done}}
            listener(Progress("train", done, 2, "steps", 0.0, None, metrics))
        raise KeyboardInterrupt
except KeyboardInterrupt:
    pass
assert "torch" not in sys.modules
"""
USE_WITHOUT = """
import sys
from pathlib import Path
from stillhouse.errors import MissingDependencyError
from stillhouse.runlog import open_tracker
for name in sys.argv[2:]:
    sys.modules[name] = None  # as where it is not installed
    try:
        with open_tracker(name, run="r", folder=Path(sys.argv[1])):
            print("opened")
    except MissingDependencyError as err:
        print(err)
"""


def progress(done: int, metrics: Mapping[str, float] | None = None) -> Progress:
    return Progress("train", done, 3, "steps", 0.0, None, metrics or {})


@pytest.mark.parametrize("name", ["trackio", "wandb"])
def test_a_hosted_tracker_gets_each_step_and_is_finished_whatever_happens(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / f"{name}.py").write_text(RECORDING_MODULE)
    code = USE.format(folder=str(tmp_path), name=name)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    calls = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    assert calls == [
        {"init": ["stillhouse", "student"]},
        {"log": {"train/loss_nats": 1.5}, "step": 1},
        {"log": {"train/loss_nats": 0.75}, "step": 2},
        {"finish": True},
    ]


def test_a_step_is_sent_once_however_often_it_is_told() -> None:
    sent: list[tuple[dict[str, float], int]] = []
    listen = tracking(lambda metrics, step: sent.append((dict(metrics), step)))
    for done in (0, 1, 1, 2):
        listen(progress(done, {"loss": float(done)} if done else None))
    assert sent == [({"loss": 1.0}, 1), ({"loss": 2.0}, 2)]


def test_joined_listeners_are_told_in_order() -> None:
    told: list[str] = []
    joined_listeners(lambda one: told.append("a"), lambda one: told.append("b"))(progress(1))
    assert told == ["a", "b"]


def test_event_files_of_tensorboard_hold_what_was_told(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    with open_tracker("tensorboard", run="student", folder=tmp_path) as listener:
        for done in (1, 2, 3):
            listener(progress(done, {"train/loss_nats": 3.0 / done}))
    (events_file,) = (tmp_path / "student").iterdir()
    found = [
        (event.step, value.tag, value.tensor.float_val[0])
        for event in EventFileLoader(str(events_file)).Load()
        for value in event.summary.value
    ]
    assert found == [(done, "train/loss_nats", pytest.approx(3.0 / done)) for done in (1, 2, 3)]


def test_a_tracker_that_is_not_there_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match="tracker 'mlflow'; give one of trackio, wandb"),
        open_tracker("mlflow", run="r", folder=tmp_path),
    ):
        raise AssertionError


def test_without_its_package_one_line_says_what_to_install(tmp_path: Path) -> None:
    command = [sys.executable, "-c", USE_WITHOUT, str(tmp_path), *TRACKERS]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    lines = ran.stdout.splitlines()
    assert len(lines) == len(TRACKERS)
    for line, name in zip(lines, TRACKERS, strict=True):
        assert line.startswith(f"The tracker {name} is not installed")
        assert line.endswith(f"Run: pip install {name}")
