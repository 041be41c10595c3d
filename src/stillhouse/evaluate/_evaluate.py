"""The stage: students and teacher on held-out prompts, results and a report."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

from stillhouse.artifacts import (
    Artifact,
    ArtifactWriter,
    Counts,
    begin_artifact,
    is_up_to_date,
    open_artifact,
)
from stillhouse.chat import ChatTokenizer
from stillhouse.economics import Speed, economics, economics_tiles, exactly
from stillhouse.errors import ConfigError
from stillhouse.evaluate._config import EvaluateConfig
from stillhouse.evaluate._estimates import Estimator, Measured
from stillhouse.evaluate._goals import check_goals, verdict
from stillhouse.evaluate._history import History
from stillhouse.evaluate._measure import TEACHER, UNTRAINED, HeldOut, measure
from stillhouse.evaluate._provenance import provenance_of
from stillhouse.evaluate._report import render_report
from stillhouse.evaluate._results import EvaluationResults, SampleRow
from stillhouse.evaluate._score import require_same_text
from stillhouse.models import LanguageModel
from stillhouse.pages import Provenance
from stillhouse.records import Record, Sampling, Usage
from stillhouse.runlog import Listener, Ticker, ignore_progress
from stillhouse.statistics import is_looping
from stillhouse.teachers import open_weights

_STAGE = "evaluate"


class EvaluationRow(Record):
    """One model on one held-out prompt."""

    model: str
    prompt_id: str
    group: str
    num_tokens: int
    forward_kl_sum_nats: float
    top1_matches: int
    nll_sum_nats: float
    text: str | None
    """What the model wrote; None where it was not asked to."""
    is_looping: bool | None


def evaluate(
    dataset: Path,
    out: Path,
    *,
    teacher: str,
    students: dict[str, Path],
    config: EvaluateConfig,
    title: str = "Distillation report",
    command: str = "",
    config_given: dict[str, Any] | None = None,
    replace: bool = False,
    on_progress: Listener = ignore_progress,
) -> Artifact:
    """Measure students against their teacher on the dataset's held-out split.

    Args:
        dataset: What curate made.
        out: Folder of the evaluation; one that the same inputs made is returned as it is.
        teacher: Spec or folder of the local teacher that wrote the dataset's text.
        students: Student artefacts by name; the first is the one the report is about, and the
            same student before training is measured beside it.
        config: What to measure.
        title: Heading of the report.
        command: The command line that reproduces the run, for the report.
        config_given: What the user set, for the manifest.
        replace: Whether a finished artefact of other inputs in the way is removed.
        on_progress: Told about each model measured.

    Returns:
        An artefact of the kind `evaluation` with `results.json` and `report.html`.

    Raises:
        ConfigError: no student, no held-out examples, or a path is wrong.
        LogprobsUnavailableError: the teacher only answers in text.
        VocabularyMismatchError: another model wrote the text, or a student has another tokenizer
            or template.
    """
    _check_names(students)
    parent = open_artifact(dataset, kind="dataset")
    opened = {name: open_artifact(path, kind="student") for name, path in students.items()}
    parents = [parent, *opened.values()]
    spec = f"local:{teacher}" if Path(teacher).is_dir() else teacher
    with open_weights(spec, dataset=parent) as source:
        resolved = {
            **config.model_dump(mode="json"),
            "teacher_revision": source.info.revision,
            "students": list(opened),
            "title": title,
            "command": command,
        }
        if is_up_to_date(out, stage=_STAGE, config=resolved, parents=parents):
            return open_artifact(out)
        _check_texts(source.chat, opened.values())
        evaluation = _Evaluation(
            dataset=parent,
            students=opened,
            held_out=HeldOut.of(parent, config.max_prompts),
            history=History.of(parents),
            # Read before anything is measured: a damaged signature ends it here.
            provenance={name: provenance_of(student) for name, student in opened.items()},
            config=config,
        )
        writer = begin_artifact(
            out,
            kind="evaluation",
            stage=_STAGE,
            config=resolved,
            config_given=config_given,
            parents=parents,
            replace=replace,
        )
        try:
            return evaluation.run(
                writer, source.model, title=title, command=command, on_progress=on_progress
            )
        finally:
            writer.release()


def _check_names(students: dict[str, Path]) -> None:
    if not students:
        raise ConfigError("There is no student to evaluate. Give at least one student folder.")
    if taken := sorted({TEACHER, UNTRAINED} & set(students)):
        raise ConfigError(
            f"A student is named {taken[0]!r}, which the report calls another model. Rename it."
        )


def _check_texts(teacher: ChatTokenizer, students: Iterable[Artifact]) -> None:
    """Refuse from the manifests what scoring would refuse once the teacher has been scored."""
    for student in students:
        tokenizer, template = student.manifest.tokenizer, student.manifest.chat_template_sha256
        if tokenizer is not None and template is not None:
            require_same_text(
                str(student.path),
                teacher,
                vocabulary_sha256=tokenizer.sha256,
                template_sha256=template,
            )


@dataclass(frozen=True)
class _Evaluation:
    dataset: Artifact
    students: dict[str, Artifact]
    held_out: HeldOut
    history: History
    provenance: Mapping[str, Provenance]
    config: EvaluateConfig

    def run(
        self,
        writer: ArtifactWriter,
        teacher: LanguageModel,
        *,
        title: str,
        command: str,
        on_progress: Listener,
    ) -> Artifact:
        """Measure everything and write rows, results, report and manifest."""
        started_s = monotonic()
        measured = measure(
            teacher,
            self.students,
            self.held_out,
            sampling=self._sampling(),
            config=self.config,
            ticker=Ticker(
                on_progress, stage=_STAGE, total=len(self.students) + 3, unit="measurements"
            ),
        )
        results = self._results(measured, title, started_s)
        writer.write_rows("prompts", _rows(measured, self.held_out), EvaluationRow)
        writer.new_file("results.json").write_bytes(results.to_bytes())
        report = self._report(results, command)
        writer.new_file("report.html").write_text(report, encoding="utf-8")
        return self._finish(writer, teacher, measured, results)

    def _sampling(self) -> Sampling:
        sampling = self.dataset.manifest.sampling or Sampling()
        return sampling.model_copy(update={"top_logprobs": 0})

    def _results(
        self, measured: Sequence[Measured], title: str, started_s: float
    ) -> EvaluationResults:
        estimator = Estimator(self.held_out.groups, self.config)
        models = tuple(estimator.model_result(one) for one in measured)
        student = measured[1]
        comparisons = tuple(estimator.compare_kl(student, other) for other in measured[2:])
        step = _sample_step(self.held_out, self.config.num_samples)
        seconds = monotonic() - started_s
        targets = check_goals(self.config.goals, models, self.history.seconds + seconds)
        num_prompts = len(self.held_out.examples)
        return EvaluationResults(
            title=title,
            verdict=verdict(models, num_prompts, comparisons=comparisons, targets=targets),
            models=models,
            comparisons=comparisons,
            samples=_samples(measured, self.held_out, step)[: self.config.num_samples],
            sample_rule="the first held-out prompt of "
            + ("every group" if step == 1 else f"one group in {step}")
            + ", in the order of the prompts file.",
            targets=targets,
            num_prompts=num_prompts,
            num_tokens=len(student.scores.prompt_N),
            created_utc=datetime.now(UTC),
            seconds=seconds,
        )

    def _report(self, results: EvaluationResults, command: str) -> str:
        return render_report(
            results,
            training=self.history.training_curves(self.students),
            stages=self.history.stage_costs(evaluate_s=results.seconds),
            counts=self.history.count_rows(),
            lineage=self.history.lineage_nodes(self.students),
            command=command or "stillhouse evaluate",
            environment=self.history.environment(),
            provenance=self._provenance(results),
        )

    def _provenance(self, results: EvaluationResults) -> Provenance | None:
        """Terms and signatures of the student that it is about, and who pays for it."""
        about = results.student
        if about is None:
            return None
        speed = None
        if about.latency_s_per_completion is not None:
            taken = exactly(about.latency_s_per_completion)
            speed = Speed(taken, None, 1, "this evaluation")
        paid = economics(self.students[about.name].path, speed=speed)
        return replace(self.provenance[about.name], tiles=tuple(economics_tiles(paid)))

    def _finish(
        self,
        writer: ArtifactWriter,
        teacher: LanguageModel,
        measured: Sequence[Measured],
        results: EvaluationResults,
    ) -> Artifact:
        manifest = self.dataset.manifest
        num_prompts = len(self.held_out.examples)
        return writer.finish(
            counts=Counts.model_validate({"in": num_prompts, "kept": num_prompts}),
            usage=Usage(
                prompt_tokens=results.num_tokens * len(measured),
                completion_tokens=sum(one.num_written_tokens for one in measured),
                cost_usd=0.0,
            ),
            teacher=manifest.teacher,
            tokenizer_sha256=teacher.chat.vocabulary_sha256,
            chat_template_sha256=teacher.chat.template_sha256,
            sampling=manifest.sampling,
            seeds={"bootstrap": self.config.seed},
            device="cpu",
            results={
                "verdict": results.verdict,
                "goals_met": sum(target.is_met for target in results.targets),
                "goals": len(results.targets),
            },
        )


def _sample_step(held_out: HeldOut, wanted: int) -> int:
    return max(1, len(set(held_out.groups)) // max(1, wanted))


def _samples(measured: Sequence[Measured], held_out: HeldOut, step: int) -> tuple[SampleRow, ...]:
    """The first prompt of every `step`-th group, with what trained models wrote for it."""
    firsts = held_out.spread(len(set(held_out.groups)))
    return tuple(
        SampleRow(
            prompt_id=held_out.examples[index].prompt_id,
            prompt=held_out.examples[index].messages[-1].content,
            texts={
                one.name: text
                for one in measured
                if one.role != "untrained" and (text := one.texts[index]) is not None
            },
        )
        for index in firsts[::step]
    )


def _rows(measured: Sequence[Measured], held_out: HeldOut) -> list[EvaluationRow]:
    rows = []
    for one in measured:
        kl_P = one.scores.per_prompt(one.scores.forward_kl_N)
        top1_P = one.scores.per_prompt(one.scores.top1_N)
        nll_P = one.scores.per_prompt(one.scores.nll_N)
        for index, example in enumerate(held_out.examples):
            text = one.texts[index]
            rows.append(
                EvaluationRow(
                    model=one.name,
                    prompt_id=example.prompt_id,
                    group=held_out.groups[index],
                    num_tokens=int(one.scores.tokens_P[index]),
                    forward_kl_sum_nats=float(kl_P[index]),
                    top1_matches=int(top1_P[index]),
                    nll_sum_nats=float(nll_P[index]),
                    text=text,
                    is_looping=None if text is None else is_looping(text),
                )
            )
    return rows
