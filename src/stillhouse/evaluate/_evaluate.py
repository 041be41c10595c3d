"""The stage: students and teacher on held-out prompts, results and a report."""

from collections.abc import Sequence
from dataclasses import dataclass
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
from stillhouse.errors import ConfigError, LogprobsUnavailableError
from stillhouse.evaluate._config import EvaluateConfig
from stillhouse.evaluate._estimates import Estimator, Measured, check_goals, verdict
from stillhouse.evaluate._history import History
from stillhouse.evaluate._report import render_report
from stillhouse.evaluate._results import EvaluationResults, ModelRole, SampleRow
from stillhouse.evaluate._score import TeacherScorer
from stillhouse.evaluate._speed import Speed, measure_speed
from stillhouse.evaluate._texts import write_texts
from stillhouse.models import LanguageModel, load_model, locate_model, pruned
from stillhouse.records import Example, Record, Sampling, Usage
from stillhouse.runlog import Listener, Ticker, ignore_progress
from stillhouse.statistics import is_looping

_STAGE = "evaluate"
_TEACHER = "teacher"
_UNTRAINED = "student untrained"
_UNTRAINED_TEXTS = 24  # an untrained student never ends a turn: few of its texts tell enough
_SAMPLE_RULE = "the first held-out prompt of every k-th group in the order of the prompts file."


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
        teacher: Spec of the local teacher that wrote the dataset's text.
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
        VocabularyMismatchError: a student has another tokenizer or template.
    """
    source = teacher.removeprefix("local:")
    if source == teacher and not Path(teacher).is_dir():
        raise LogprobsUnavailableError(
            f"teacher {teacher!r} only answers in text; evaluate compares distributions and needs "
            "weights on this machine. Give local:FOLDER."
        )
    if not students:
        raise ConfigError("There is no student to evaluate. Give at least one student folder.")
    parent = open_artifact(dataset, kind="dataset")
    opened = {name: open_artifact(path, kind="student") for name, path in students.items()}
    folder = locate_model(source)
    resolved = {
        **config.model_dump(mode="json"),
        "teacher_revision": folder.revision,
        "students": list(opened),
        "title": title,
        "command": command,
    }
    parents = [parent, *opened.values()]
    if is_up_to_date(out, stage=_STAGE, config=resolved, parents=parents):
        return open_artifact(out)
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
        evaluation = _Evaluation(
            dataset=parent, students=opened, config=config, on_progress=on_progress
        )
        return evaluation.write(writer, load_model(folder.path), title=title, command=command)
    finally:
        writer.release()


@dataclass
class _Evaluation:
    dataset: Artifact
    students: dict[str, Artifact]
    config: EvaluateConfig
    on_progress: Listener

    def write(
        self, writer: ArtifactWriter, teacher: LanguageModel, *, title: str, command: str
    ) -> Artifact:
        """Measure everything and write results, rows and report."""
        started_s = monotonic()
        examples = self._held_out()
        groups = [example.group or example.prompt_id for example in examples]
        measured = self._measure(teacher, examples)
        history = History.of([self.dataset, *self.students.values()])
        results = self._results(measured, examples, groups, history, title, started_s)
        writer.write_rows("prompts", _rows(measured, examples, groups), EvaluationRow)
        writer.new_file("results.json").write_bytes(results.to_bytes())
        report = render_report(
            results,
            training=history.training_curves(self.students),
            stages=history.stage_costs(evaluate_s=results.seconds),
            counts=history.count_rows(),
            lineage=history.lineage_nodes(self.students),
            command=command or "stillhouse evaluate",
            environment=history.environment(),
        )
        writer.new_file("report.html").write_text(report, encoding="utf-8")
        manifest = self.dataset.manifest
        return writer.finish(
            counts=Counts.model_validate({"in": len(examples), "kept": len(examples)}),
            usage=Usage(
                prompt_tokens=results.num_tokens * len(measured),
                completion_tokens=sum(len(one.texts) for one in measured),
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

    def _held_out(self) -> list[Example]:
        rows = self.dataset.rows("examples", Example)
        examples = [row for row in rows if row.split == "held_out"][: self.config.max_prompts]
        if len({example.group or example.prompt_id for example in examples}) < 2:
            raise ConfigError(
                f"{self.dataset.path} holds {len(examples)} held-out examples of fewer than two "
                "groups. Mark prompts with split: held_out (a recipe does it with num_held_out)."
            )
        return examples

    def _measure(self, teacher: LanguageModel, examples: Sequence[Example]) -> list[Measured]:
        encoded = [
            teacher.chat.encode_example(row.messages, row.completion, row.completion_token_ids)
            for row in examples
        ]
        ticker = Ticker(
            self.on_progress, stage=_STAGE, total=len(self.students) + 3, unit="measurements"
        )
        scorer = TeacherScorer(teacher, encoded)
        # The teacher's texts are the dataset itself: it was asked under the same sampling.
        texts = [example.completion for example in examples]
        measured = [
            Measured(_TEACHER, "teacher", None, teacher, scorer.score(teacher), texts, None)
        ]
        ticker.advance()
        for name, role, artifact, model in self._models(teacher):
            objective = str(artifact.manifest.config["objective"]) if role == "student" else None
            asked = examples[:_UNTRAINED_TEXTS] if role == "untrained" else examples
            texts = write_texts(model, asked, self._sampling())
            measured.append(
                Measured(name, role, objective, model, scorer.score(model), texts, None)
            )
            ticker.advance()
        measured = self._with_speed(measured, [row.ids[: row.num_prompt] for row in encoded])
        ticker.advance()
        return measured

    def _models(
        self, teacher: LanguageModel
    ) -> list[tuple[str, ModelRole, Artifact, LanguageModel]]:
        models: list[tuple[str, ModelRole, Artifact, LanguageModel]] = []
        for name, artifact in self.students.items():
            models.append((name, "student", artifact, load_model(artifact.path)))
        first = next(iter(self.students.values()))
        config = first.manifest.config
        is_teacher = config["base_revision"] == teacher.revision
        base = teacher if is_teacher else load_model(config["base"].removeprefix("local:"))
        untrained = pruned(base, config["keep_layers"], name=_UNTRAINED)
        models.append((_UNTRAINED, "untrained", first, untrained))
        return models

    def _sampling(self) -> Sampling:
        sampling = self.dataset.manifest.sampling or Sampling()
        return sampling.model_copy(update={"top_logprobs": 0})

    def _with_speed(
        self, measured: list[Measured], prompts: Sequence[tuple[int, ...]]
    ) -> list[Measured]:
        if not self.config.speed_prompts:
            return measured
        # Students of one run share an architecture: the first stands for all.
        timed = measured[:2]
        speeds: list[Speed] = measure_speed(
            [one.model for one in timed],
            prompts[: self.config.speed_prompts],
            self.config.speed_tokens,
        )
        with_speed = [
            Measured(**{**one.__dict__, "speed": speed})
            for one, speed in zip(timed, speeds, strict=True)
        ]
        return [*with_speed, *measured[2:]]

    def _results(
        self,
        measured: Sequence[Measured],
        examples: Sequence[Example],
        groups: Sequence[str],
        history: History,
        title: str,
        started_s: float,
    ) -> EvaluationResults:
        estimator = Estimator(groups, self.config)
        models = tuple(estimator.model_result(one) for one in measured)
        student = measured[1]
        seconds = monotonic() - started_s
        return EvaluationResults(
            title=title,
            verdict=verdict(models, len(examples)),
            models=models,
            comparisons=tuple(estimator.compare_kl(student, other) for other in measured[2:]),
            samples=_samples(measured, examples, groups, self.config.num_samples),
            sample_rule=_SAMPLE_RULE,
            targets=check_goals(self.config.goals, models, history.seconds + seconds),
            num_prompts=len(examples),
            num_tokens=len(student.scores.prompt_N),
            created_utc=datetime.now(UTC),
            seconds=seconds,
        )


def _samples(
    measured: Sequence[Measured], examples: Sequence[Example], groups: Sequence[str], wanted: int
) -> tuple[SampleRow, ...]:
    firsts = [index for index, group in enumerate(groups) if groups.index(group) == index]
    step = max(1, len(firsts) // max(1, wanted))
    return tuple(
        SampleRow(
            prompt_id=examples[index].prompt_id,
            prompt=examples[index].messages[-1].content,
            texts={
                one.name: one.texts[index]
                for one in measured
                if one.role != "untrained" and index < len(one.texts)
            },
        )
        for index in firsts[::step][:wanted]
    )


def _rows(
    measured: Sequence[Measured], examples: Sequence[Example], groups: Sequence[str]
) -> list[EvaluationRow]:
    rows = []
    for one in measured:
        kl_P = one.scores.per_prompt(one.scores.forward_kl_N)
        top1_P = one.scores.per_prompt(one.scores.top1_N)
        nll_P = one.scores.per_prompt(one.scores.nll_N)
        for index, example in enumerate(examples):
            text = one.texts[index] if index < len(one.texts) else None
            rows.append(
                EvaluationRow(
                    model=one.name,
                    prompt_id=example.prompt_id,
                    group=groups[index],
                    num_tokens=int(one.scores.tokens_P[index]),
                    forward_kl_sum_nats=float(kl_P[index]),
                    top1_matches=int(top1_P[index]),
                    nll_sum_nats=float(nll_P[index]),
                    text=text,
                    is_looping=None if text is None else is_looping(text),
                )
            )
    return rows
