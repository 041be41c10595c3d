"""Train a student: from dataset and signal folders to a student folder."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillhouse.artifacts import (
    Artifact,
    ArtifactWriter,
    Counts,
    StudentInfo,
    begin_artifact,
    is_up_to_date,
    open_artifact,
)
from stillhouse.chat import ChatTokenizer, EncodedExample
from stillhouse.errors import ConfigError, DataError
from stillhouse.models import (
    LanguageModel,
    load_model,
    locate_model,
    pruned,
    save_model,
)
from stillhouse.records import Example, Usage
from stillhouse.runlog import Listener, MetricsLog, Ticker, ignore_progress, read_metrics
from stillhouse.signal import SignalReader, check_fingerprints
from stillhouse.train._batches import Schedule, split_evenly
from stillhouse.train._checkpoint import load_checkpoint, save_checkpoint
from stillhouse.train._config import TrainConfig
from stillhouse.train._step import Stepper, StepResult, TargetOf
from stillhouse.train._targets import SignalTarget, token_target

_STAGE = "train"
_FINAL_STEPS = 20  # whose mean loss is the result: single steps are noisy


def train(
    dataset: Path,
    out: Path,
    *,
    config: TrainConfig,
    signal: Path | None = None,
    config_given: dict[str, Any] | None = None,
    replace: bool = False,
    on_progress: Listener = ignore_progress,
) -> Artifact:
    """Train a student, or go on where a stopped run with the same inputs was.

    Args:
        dataset: What curate made; only its training split is used.
        out: Folder of the student; one that the same inputs made is returned as it is.
        config: Student, objective and schedule.
        signal: What capture made; needed by `forward_kl`, not used by `sft`.
        config_given: What the user set, for the manifest.
        replace: Whether a finished artefact of other inputs in the way is removed.
        on_progress: Told after each step, with loss and tokens per second.

    Returns:
        An artefact of the kind `student`, which `transformers` can open.

    Raises:
        ConfigError: the objective needs a signal that was not given, or a path is wrong.
        VocabularyMismatchError: the signal is of another teacher, tokenizer or template.
        NonFiniteLossError: training diverged; the weights before that step are kept.
        DataError: nothing is left to train on.
    """
    if config.objective != "sft" and signal is None:
        raise ConfigError(
            f"objective {config.objective} learns from a captured signal. "
            "Give --signal (what `stillhouse capture` made), or use objective sft."
        )
    inputs = _Inputs(
        dataset=open_artifact(dataset, kind="dataset"),
        signal=open_artifact(signal, kind="signal")
        if config.objective != "sft" and signal
        else None,
    )
    folder = locate_model(config.base.removeprefix("local:"))
    resolved = {**config.model_dump(mode="json"), "base_revision": folder.revision}
    if is_up_to_date(out, stage=_STAGE, config=resolved, parents=inputs.parents):
        return open_artifact(out)
    writer = begin_artifact(
        out,
        kind="student",
        stage=_STAGE,
        config=resolved,
        config_given=config_given,
        parents=inputs.parents,
        replace=replace,
    )
    try:
        base = load_model(folder.path)
        return _Run(config, inputs, writer, base, name=out.name, on_progress=on_progress).finish()
    finally:
        writer.release()


@dataclass(frozen=True)
class _Inputs:
    dataset: Artifact
    signal: Artifact | None

    @property
    def parents(self) -> list[Artifact]:
        return [self.dataset, self.signal] if self.signal else [self.dataset]

    def target_of(self, chat: ChatTokenizer) -> TargetOf:
        if self.signal is None:
            return token_target
        check_fingerprints(
            self.signal,
            dataset=self.dataset,
            vocabulary_sha256=chat.vocabulary_sha256,
            template_sha256=chat.template_sha256,
        )
        return SignalTarget(SignalReader(self.signal))

    def examples(self, chat: ChatTokenizer) -> Iterator[EncodedExample]:
        """Training examples; the teacher's own tokens count only under its own tokenizer."""
        tokenizer = self.dataset.manifest.tokenizer
        is_same = tokenizer is not None and tokenizer.sha256 == chat.vocabulary_sha256
        for row in self.dataset.rows("examples", Example):
            if row.split == "train":
                ids = row.completion_token_ids if is_same else None
                yield chat.encode_example(row.messages, row.completion, ids)


class _Run:
    def __init__(
        self,
        config: TrainConfig,
        inputs: _Inputs,
        writer: ArtifactWriter,
        base: LanguageModel,
        *,
        name: str,
        on_progress: Listener,
    ) -> None:
        self._config = config
        self._inputs = inputs
        self._writer = writer
        self._base = base
        self._on_progress = on_progress
        self._student = pruned(base, config.keep_layers, name=name)
        self._target_of = inputs.target_of(base.chat)
        encoded = list(inputs.examples(base.chat))
        self._num_given = len(encoded)
        self._examples = [example for example in encoded if len(example.ids) <= config.max_tokens]
        if not self._examples:
            raise DataError(
                f"{inputs.dataset.path} leaves no training example of at most "
                f"max_tokens={config.max_tokens} tokens ({self._num_given} given). Raise it."
            )
        self._schedule = Schedule(
            lengths=[len(example.ids) for example in self._examples],
            batch_size=config.batch_size,
            epochs=config.epochs,
            seed=config.seed,
        )
        self._stepper = Stepper(self._student.network, config, self._schedule.num_steps)
        self._checkpoints = writer.work_dir / "checkpoints"
        self._checkpoints.mkdir(exist_ok=True)
        self._metrics_path = writer.work_dir / "metrics.jsonl"

    def finish(self) -> Artifact:
        """Train to the end and write the student."""
        seconds = self._train()
        metrics = list(read_metrics(self._metrics_path))
        target = self._writer.new_file("metrics.jsonl")
        target.write_bytes(self._metrics_path.read_bytes())
        self._stage_model()
        dropped = {"too_long": self._num_given - len(self._examples)}
        final = metrics[-_FINAL_STEPS:]
        manifest = self._inputs.dataset.manifest
        return self._writer.finish(
            counts=Counts.model_validate(
                {
                    "in": self._num_given,
                    "kept": len(self._examples),
                    "dropped": {reason: count for reason, count in dropped.items() if count},
                }
            ),
            usage=Usage(
                prompt_tokens=sum(line["train/padded_tokens"] for line in metrics),
                completion_tokens=sum(line["train/tokens"] for line in metrics),
                cost_usd=0.0,
                seconds=seconds,
            ),
            teacher=manifest.teacher,
            student=StudentInfo(base=self._base.name, revision=self._base.revision),
            tokenizer_sha256=self._base.chat.vocabulary_sha256,
            chat_template_sha256=self._base.chat.template_sha256,
            sampling=manifest.sampling,
            seeds={"order": self._config.seed},
            device="cpu",
            results={
                "objective": self._config.objective,
                "steps": len(metrics),
                "final_loss_nats": sum(line["train/loss_nats"] for line in final) / len(final),
                "parameters": self._student.num_parameters,
                "layers": self._student.num_layers,
            },
        )

    def _stage_model(self) -> None:
        folder = self._writer.work_dir / "model"
        folder.mkdir(exist_ok=True)
        for name in save_model(self._student, folder):
            (folder / name).replace(self._writer.new_file(name))

    def _train(self) -> float:
        """Run the steps that are left; returns the seconds of this and earlier attempts."""
        network, optimizer = self._stepper.network, self._stepper.optimizer
        state = load_checkpoint(self._checkpoints, network=network, optimizer=optimizer)
        done = int(state["step"]) if state else 0
        spent_s = float(state["seconds"]) if state else 0.0
        started_s = saved_s = time.monotonic()

        def save() -> None:
            elapsed_s = spent_s + time.monotonic() - started_s
            save_checkpoint(
                self._checkpoints,
                step=done,
                network=network,
                optimizer=optimizer,
                state={"seconds": elapsed_s},
            )

        ticker = Ticker(
            self._on_progress,
            stage=f"train {self._student.name}",
            total=self._schedule.num_steps,
            unit="steps",
            done=done,
        )
        with MetricsLog(self._metrics_path, resume_at_step=done) as log:
            for step, batch in self._batches(done):
                step_started_s = time.monotonic()
                result = self._step(step, batch)
                done = step + 1
                metrics = _metrics(
                    result, self._stepper.learning_rate(step), time.monotonic() - step_started_s
                )
                log.append(step, metrics)
                ticker.advance(metrics=metrics)
                is_due = time.monotonic() - saved_s >= self._config.checkpoint_s
                if is_due and done < self._schedule.num_steps:
                    save()
                    saved_s = time.monotonic()
        return spent_s + time.monotonic() - started_s

    def _batches(self, done: int) -> Iterator[tuple[int, list[int]]]:
        step = 0
        epoch = 0
        while step < self._schedule.num_steps:
            for batch in self._schedule.epoch_batches(epoch):
                if done <= step < self._schedule.num_steps:
                    yield step, batch
                step += 1
            epoch += 1

    def _step(self, step: int, batch: Sequence[int]) -> StepResult:
        parts = split_evenly(batch, self._config.accumulate)
        examples = [[self._examples[index] for index in part] for part in parts]
        return self._stepper.step(step, examples, self._target_of)


def _metrics(result: StepResult, learning_rate: float, seconds: float) -> dict[str, float]:
    return {
        "train/loss_nats": result.loss_nats,
        "train/grad_norm": result.grad_norm,
        "train/learning_rate": learning_rate,
        "train/tokens": result.num_tokens,
        "train/padded_tokens": result.num_padded_tokens,
        "train/tokens_per_s": result.num_tokens / seconds,
        "time/step_s": seconds,
    }
