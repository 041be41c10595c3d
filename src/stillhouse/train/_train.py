"""Train a student: from dataset and signal folders to a student folder."""

import shutil
import time
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
from stillhouse.models import START_NAME, locate_model, save_model
from stillhouse.provenance import learning_terms, terms_given, terms_result
from stillhouse.records import Usage
from stillhouse.runlog import Listener, ignore_progress, read_metrics
from stillhouse.terms import TermsRecord
from stillhouse.train._assemble import check_can_draw, teacher_revisions
from stillhouse.train._config import TrainConfig
from stillhouse.train._diagnose import diagnosis_results
from stillhouse.train._loop import Loop
from stillhouse.train._plan import Plan, make_plan, open_inputs
from stillhouse.train._ranks import Ranks, joined_ranks
from stillhouse.train._ray import train_on_ray
from stillhouse.train._student import Student, base_revision

_STAGE = "train"
_ADAPTER = "adapter"
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
        signal: What capture made; needed where the guide is `signal`, not used elsewhere.
        config_given: What the user set, for the manifest.
        replace: Whether a finished artefact of other inputs in the way is removed.
        on_progress: Told after each step, with loss and tokens per second.

    Returns:
        An artefact of the kind `student`, which `transformers` can open.

    Raises:
        ConfigError: the objective needs a signal that was not given, or a path is wrong.
        VocabularyMismatchError: the signal is of another teacher, tokenizer or template.
        PreflightError: what would be learnt is not what was asked for.
        NonFiniteLossError: training diverged; no student was written.
        CheckpointError: what a stopped run left is damaged.
        DataError: nothing is left to train on.
        TermsError: the terms of what it would be made from are not known to allow it.
    """
    started_s = time.monotonic()
    inputs = open_inputs(dataset, signal, config)
    terms = terms_given(config.terms)
    verdict = learning_terms(
        dataset,
        terms,
        student="language_model",
        base=config.base,
        is_random=config.init == "random",
        teachers=list(config.live.teachers.values()) if config.live else [],
    )
    base = locate_model(config.base.removeprefix("local:"))
    # Not who computes it: a run that one engine began may be finished by the other.
    settings = config.model_dump(mode="json", exclude={"engine", "ray"})
    resolved = {**settings, "base_revision": base_revision(base, config)}
    if revisions := teacher_revisions(config):
        resolved["teacher_revisions"] = revisions
    if config.engine == "ray":
        if not is_up_to_date(out, stage=_STAGE, config=resolved, parents=inputs.parents):
            options = {"config_given": config_given, "replace": replace}
            # Workers judge as well, wherever the environment named the file.
            named = str(terms.path.resolve()) if terms.path else None
            of_workers = config.model_copy(update={"terms": named})
            train_on_ray(dataset, out, config=of_workers, signal=signal, **options)
        return open_artifact(out)
    with joined_ranks(config.device) as ranks:
        is_made = is_up_to_date(out, stage=_STAGE, config=resolved, parents=inputs.parents)
        if ranks.from_first(is_made):
            return open_artifact(out)
        check_can_draw(config, ranks)
        # Before the folder is claimed, so that what cannot be trained replaces nothing.
        plan = make_plan(config, inputs, base, name=out.name)
        _check_same_work(ranks, resolved, plan)
        writer = ranks.first_does(
            lambda: begin_artifact(
                out,
                kind="student",
                stage=_STAGE,
                config=resolved,
                config_given=config_given,
                parents=inputs.parents,
                replace=replace,
            )
        )
        try:
            work_dir = ranks.from_first(writer.work_dir if writer else out)
            loop = Loop(plan, work_dir, started_s=started_s, on_progress=on_progress, ranks=ranks)
            loop.run()
            if writer is not None:
                _finish(writer, plan, loop, ranks, verdict)
            ranks.wait()
            return open_artifact(out)
        finally:
            if writer is not None:
                writer.release()


def _check_same_work(ranks: Ranks, resolved: dict[str, Any], plan: Plan) -> None:
    parents = [parent.manifest_sha256 for parent in plan.inputs.parents]
    ranks.check_same((resolved, parents), "their settings, base or data")
    # Measured on each, which machines of different kinds may do differently.
    ranks.check_same(plan.student.start, "what they keep of the base")


def _finish(
    writer: ArtifactWriter, plan: Plan, loop: Loop, ranks: Ranks, verdict: TermsRecord
) -> Artifact:
    metrics = list(read_metrics(loop.metrics_path))
    writer.new_file("metrics.jsonl").write_bytes(loop.metrics_path.read_bytes())
    lora = plan.config.lora
    _stage_student(writer, plan.student, keep_adapter=lora is not None and lora.save_adapter)
    student = plan.student.model
    num_too_long = plan.num_given - len(plan.examples)
    final = metrics[-_FINAL_STEPS:]
    num_tokens = sum(line["train/tokens"] for line in metrics)
    manifest = plan.inputs.dataset.manifest
    return writer.finish(
        counts=Counts.model_validate(
            {
                "in": plan.num_given,
                "kept": len(plan.examples),
                "dropped": {"too_long": num_too_long} if num_too_long else {},
            }
        ),
        usage=Usage(
            prompt_tokens=sum(line["train/padded_tokens"] for line in metrics) - num_tokens,
            completion_tokens=num_tokens,
            cost_usd=0.0,
            seconds=loop.seconds,
        ),
        teacher=manifest.teacher,
        student=StudentInfo(base=plan.base.name, revision=base_revision(plan.base, plan.config)),
        tokenizer_sha256=student.chat.vocabulary_sha256,
        chat_template_sha256=student.chat.template_sha256,
        sampling=manifest.sampling,
        seeds={"order": plan.config.seed},
        device=ranks.device.type,
        results={
            **terms_result(verdict),
            "objective": plan.config.objective,
            "steps": len(metrics),
            "final_loss_nats": sum(line["train/loss_nats"] for line in final) / len(final),
            "parameters": student.num_parameters,
            "layers": student.num_layers,
            **diagnosis_results(metrics, loop.diagnosed_at_end),
            "preflight": plan.preflight,
        },
    )


def _stage_student(writer: ArtifactWriter, student: Student, *, keep_adapter: bool) -> None:
    if student.adapter is not None:
        if keep_adapter:
            folder = _empty_folder(writer.work_dir / _ADAPTER)
            for name in student.adapter.save(folder):
                # In a folder of its own: transformers would add it again to the merged weights.
                (folder / name).replace(writer.new_file(f"{_ADAPTER}/{name}"))
        student.adapter.merge()
    student.start.write(writer.new_file(START_NAME))
    folder = _empty_folder(writer.work_dir / "model")
    for name in save_model(student.model, folder):
        (folder / name).replace(writer.new_file(name))


def _empty_folder(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)  # an attempt that was killed here left parts of it
    folder.mkdir()
    return folder
