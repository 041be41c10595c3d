"""A training that was stopped, whatever stopped it, ends with the same losses and weights."""

import contextlib
import json
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_chain import Chain, are_same_weights, losses_of, metrics_of, settings
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from stillhouse.artifacts import check_files, open_artifact
from stillhouse.errors import CheckpointError
from stillhouse.runlog import Progress
from stillhouse.train import TrainConfig, train

torch.set_num_threads(1)

OBJECTIVES = ["sft", "forward_kl"]
NEVER_S = 1e6
KILL_EPOCHS = 10.0  # 40 steps: time enough to be killed in


class StoppedError(Exception):
    """What a listener raises."""


def stop_at(step: int, error: BaseException) -> Callable[[Progress], None]:
    """A listener that raises once `step` steps are done; it is told after each of them."""

    def listen(progress: Progress) -> None:
        if progress.done >= step:
            raise error
        time.sleep(0.1)  # the ticker tells at most ten times a second

    return listen


@contextlib.contextmanager
def interrupted_at(number: int, register: Callable[[Callable[..., None]], Any]) -> Iterator[None]:
    """Ctrl-C at the `number`-th call of a hook of torch."""
    calls = 0

    def hook(*args: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            raise KeyboardInterrupt

    handle = register(hook)
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        handle.remove()


def learn(chain: Chain, out: Path, config: TrainConfig, **options: Any) -> Path:
    signal_dir = None if config.objective == "sft" else chain.signal
    train(chain.dataset, out, config=config, signal=signal_dir, **options)
    return out


def saved_steps(out: Path) -> list[str]:
    return sorted(entry.name for entry in (out / ".work" / "checkpoints").glob("*"))


@pytest.fixture(scope="module", params=OBJECTIVES)
def objective(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def whole(chain: Chain, objective: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The uninterrupted run of eight steps."""
    out = tmp_path_factory.mktemp("whole") / objective
    return learn(chain, out, settings(chain, objective=objective))


def assert_same_run(out: Path, whole: Path) -> None:
    check_files(open_artifact(out, kind="student"))
    assert losses_of(out) == losses_of(whole)
    assert are_same_weights(out, whole)


def test_training_twice_gives_the_same_bits(
    chain: Chain, objective: str, whole: Path, tmp_path: Path
) -> None:
    assert_same_run(learn(chain, tmp_path / "s", settings(chain, objective=objective)), whole)


@pytest.mark.parametrize("checkpoint_s", [0.0, 0.15])
def test_a_run_that_its_listener_stopped_goes_on_from_its_last_checkpoint(
    chain: Chain, objective: str, whole: Path, tmp_path: Path, checkpoint_s: float
) -> None:
    config = settings(chain, objective=objective, checkpoint_s=checkpoint_s)
    with pytest.raises(StoppedError):
        learn(chain, tmp_path / "s", config, on_progress=stop_at(5, StoppedError()))
    (name,) = saved_steps(tmp_path / "s")
    assert name in ("step-2", "step-3", "step-4")  # the fifth was told before it was saved
    assert_same_run(learn(chain, tmp_path / "s", config), whole)


def test_ctrl_c_between_steps_loses_none(
    chain: Chain, objective: str, whole: Path, tmp_path: Path
) -> None:
    config = settings(chain, objective=objective, checkpoint_s=NEVER_S)
    with pytest.raises(KeyboardInterrupt):
        learn(chain, tmp_path / "s", config, on_progress=stop_at(3, KeyboardInterrupt()))
    assert saved_steps(tmp_path / "s") == ["step-3"]
    assert_same_run(learn(chain, tmp_path / "s", config), whole)


def test_ctrl_c_in_a_forward_pass_loses_that_step_only(
    chain: Chain, objective: str, tmp_path: Path
) -> None:
    config = settings(
        chain,
        objective=objective,
        checkpoint_s=NEVER_S,
        accumulate=2,
        preflight={"texts": 0},  # its forward passes would count, too
    )
    num_calls = 0

    def count(*args: Any) -> None:
        nonlocal num_calls
        num_calls += 1

    with contextlib.ExitStack() as stack:
        handle = register_module_forward_pre_hook(count)
        stack.callback(handle.remove)
        learn(chain, tmp_path / "counted", config)
    in_the_sixth_step = num_calls * 11 // 16 + 3  # in its second part
    with interrupted_at(in_the_sixth_step, register_module_forward_pre_hook):
        learn(chain, tmp_path / "s", config)
    assert saved_steps(tmp_path / "s") == ["step-5"]
    assert_same_run(learn(chain, tmp_path / "s", config), tmp_path / "counted")


@pytest.mark.parametrize(
    "register", [register_optimizer_step_pre_hook, register_optimizer_step_post_hook]
)
def test_ctrl_c_inside_an_update_saves_no_half_updated_weights(
    chain: Chain,
    objective: str,
    whole: Path,
    tmp_path: Path,
    register: Callable[[Callable[..., None]], Any],
) -> None:
    config = settings(chain, objective=objective, checkpoint_s=NEVER_S)
    with interrupted_at(4, register):
        learn(chain, tmp_path / "s", config)
    assert saved_steps(tmp_path / "s") == []
    assert_same_run(learn(chain, tmp_path / "s", config), whole)


def test_an_interrupted_last_step_is_not_trained_again(chain: Chain, tmp_path: Path) -> None:
    config = settings(chain, objective="sft", checkpoint_s=NEVER_S)
    with pytest.raises(KeyboardInterrupt):
        learn(chain, tmp_path / "s", config, on_progress=stop_at(8, KeyboardInterrupt()))
    assert saved_steps(tmp_path / "s") == ["step-8"]
    told: list[Progress] = []
    learn(chain, tmp_path / "s", config, on_progress=told.append)
    assert [(progress.done, progress.total) for progress in told] == [(8, 8)]
    assert_same_run(tmp_path / "s", learn(chain, tmp_path / "t", config))


def test_seconds_add_up_over_attempts(chain: Chain, tmp_path: Path) -> None:
    config = settings(chain, objective="sft", checkpoint_s=NEVER_S)
    with pytest.raises(KeyboardInterrupt):
        learn(chain, tmp_path / "s", config, on_progress=stop_at(6, KeyboardInterrupt()))
    started_s = time.monotonic()
    student = open_artifact(learn(chain, tmp_path / "s", config))
    second_attempt_s = time.monotonic() - started_s
    first_attempt_s = 6 * 0.1  # the listener alone slept so long
    assert student.manifest.usage.seconds > first_attempt_s
    assert student.manifest.usage.seconds < first_attempt_s + second_attempt_s + 30


def test_a_damaged_checkpoint_stops_the_run_until_it_is_removed(
    chain: Chain, tmp_path: Path
) -> None:
    config = settings(chain, objective="sft", checkpoint_s=NEVER_S)
    with pytest.raises(KeyboardInterrupt):
        learn(chain, tmp_path / "s", config, on_progress=stop_at(2, KeyboardInterrupt()))
    checkpoints = tmp_path / "s" / ".work" / "checkpoints"
    weights = checkpoints / "step-2" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=f"Remove {checkpoints} to start"):
        learn(chain, tmp_path / "s", config)
    for path in sorted(checkpoints.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    checkpoints.rmdir()
    assert len(losses_of(learn(chain, tmp_path / "s", config))) == 8


def train_in_child(chain: Chain, out: Path, config: TrainConfig) -> None:
    """What a killed process runs; at module level so that a child finds it."""
    torch.set_num_threads(1)
    last_steps = int(4 * config.epochs) - 3

    def wait_for_the_kill(*args: Any) -> None:
        # So that the run cannot end first, however late this machine lets the killer run.
        if logged_steps(out) >= last_steps:
            time.sleep(60)

    register_optimizer_step_post_hook(wait_for_the_kill)
    learn(chain, out, config)


def start_child(chain: Chain, out: Path, config: TrainConfig) -> Any:
    # A fork server imports torch once for all children; each is a process of its own.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["transformers.models.llama.modeling_llama", "stillhouse.train._train"]
    )
    child = context.Process(target=train_in_child, args=(chain, out, config))
    child.start()
    return child


def logged_steps(out: Path) -> int:
    path = out / ".work" / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def kill_at(child: Any, out: Path, step: int) -> None:
    """SIGKILL a child that is beyond `step` and has a checkpoint; it must not have finished."""
    deadline_s = time.monotonic() + 60
    while logged_steps(out) <= step or not saved_steps(out):
        assert child.is_alive(), "the run ended before it could be killed"
        assert time.monotonic() < deadline_s
        time.sleep(0.001)
    os.kill(child.pid, signal.SIGKILL)
    child.join(30)
    assert child.exitcode == -signal.SIGKILL
    assert not (out / "manifest.json").exists()


@pytest.fixture(scope="module")
def long_whole(chain: Chain, objective: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The uninterrupted run of the killed ones."""
    out = tmp_path_factory.mktemp("long") / objective
    return learn(chain, out, settings(chain, objective=objective, epochs=KILL_EPOCHS))


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
@pytest.mark.parametrize("checkpoint_s", [0.0, 0.03])
def test_a_killed_process_loses_nothing_but_time(
    chain: Chain, objective: str, long_whole: Path, tmp_path: Path, checkpoint_s: float
) -> None:
    config = settings(chain, objective=objective, epochs=KILL_EPOCHS, checkpoint_s=checkpoint_s)
    moments = random.Random(f"{objective} {checkpoint_s}")
    out = tmp_path / "s"
    for earliest in (2, 12):
        kill_at(start_child(chain, out, config), out, moments.randint(earliest, earliest + 8))
    assert saved_steps(out)
    resumed_at = json.loads(next(out.rglob("state.json")).read_text())["step"]
    assert resumed_at > 0
    told: list[Progress] = []
    learn(chain, out, config, on_progress=told.append)
    assert told[0].done >= resumed_at
    assert_same_run(out, long_whole)


def test_all_of_it_is_in_the_metrics(whole: Path) -> None:
    for line in metrics_of(whole):
        assert line.keys() >= {"train/loss_nats", "train/learning_rate", "train/tokens_per_s"}
        assert line["train/tokens"] > 0
        assert line["train/padded_tokens"] > line["train/tokens"]
