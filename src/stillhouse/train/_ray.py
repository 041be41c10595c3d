"""Train with the workers of a Ray cluster: Ray places and joins them, the training is the same."""

import logging
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from stillhouse.errors import (
    ConfigError,
    MissingDependencyError,
    StillhouseError,
    TrainingError,
)
from stillhouse.train._config import TrainConfig


def train_on_ray(
    dataset: Path, out: Path, *, config: TrainConfig, signal: Path | None, **options: Any
) -> None:
    """Run `train` in each of the workers that `config.ray` asks for.

    Args:
        dataset: As in `train`; like all folders, every worker must see it at the same place.
        out: Where the first worker writes the student.
        config: The settings; relative folders in them are of this process's working directory.
        signal: As in `train`.
        options: Further arguments of `train`.

    Raises:
        MissingDependencyError: Ray is not installed.
        ConfigError: there is no cluster at the address.
        StillhouseError: what a worker raised.
        TrainingError: a worker ended without saying why.
    """
    try:
        from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
        from ray.train.torch import TorchTrainer
    except ImportError as err:
        raise MissingDependencyError(
            f"engine=ray needs Ray Train ({err}). Run: pip install 'stillhouse[ray]'"
        ) from err
    task = {
        **options,
        "dataset": dataset.resolve(),
        "out": out.resolve(),
        "signal": signal and signal.resolve(),
        "config": config.model_copy(update={"engine": "local"}),
    }
    notes_dir = out.resolve().with_name(f".{out.name}.ray")  # Ray's own; nothing of it is needed
    with _cluster(config.ray.address):
        trainer = TorchTrainer(
            _work,
            train_loop_config={"task": task, "cwd": Path.cwd()},
            scaling_config=ScalingConfig(
                num_workers=config.ray.workers,
                use_gpu=config.device.kind == "cuda",
                resources_per_worker={"CPU": config.ray.cpus_per_worker},
            ),
            run_config=RunConfig(
                storage_path=str(notes_dir), failure_config=FailureConfig(max_failures=0)
            ),
        )
        try:
            trainer.fit()
        except TrainingFailedError as err:
            raise _reason(err) from err
        finally:
            shutil.rmtree(notes_dir, ignore_errors=True)


def _work(loop_config: Mapping[str, Any]) -> None:
    from stillhouse.train._train import train

    # Not absolute paths in the settings: the student's manifest has them, and the engine `local`
    # would take it for one of other settings. A machine without the folder can do with them only.
    if loop_config["cwd"].is_dir():
        os.chdir(loop_config["cwd"])
    train(**loop_config["task"])


@contextmanager
def _cluster(address: str | None) -> Iterator[None]:
    import ray

    if ray.is_initialized():
        yield
        return
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            configure_logging=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, ValueError, RuntimeError) as err:
        reason = str(err).strip().split("\n")[0]
        raise ConfigError(
            f"There is no Ray cluster at ray.address={address} ({reason}). Start one with "
            "`ray start --head`, or leave the address out."
        ) from err
    try:
        # Ray tells of its progress on stdout, where a command's result goes.
        with redirect_stdout(sys.stderr):
            yield
    finally:
        ray.shutdown()


def _reason(err: Exception) -> StillhouseError:
    """What a worker said, that of one whose peer was lost last."""
    failures = getattr(err, "worker_failures", {})
    said = [_ours(failures[rank]) for rank in sorted(failures)]
    ours = sorted(
        (one for one in said if one is not None), key=lambda one: type(one) is TrainingError
    )
    if ours:
        return ours[0]
    reason = str(err).strip().split("\n")[-1]
    return TrainingError(
        f"A worker on Ray ended ({reason}). Run again to go on from the last checkpoint."
    )


def _ours(failure: BaseException | None) -> StillhouseError | None:
    while failure is not None:
        if isinstance(failure, StillhouseError):
            return failure
        failure = getattr(failure, "cause", None) or failure.__cause__
    return None
