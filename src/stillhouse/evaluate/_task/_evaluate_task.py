"""The stage: students of a task on its held-out messages, with verdicts and a report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

from stillhouse.answers import Question, questions_of
from stillhouse.artifacts import (
    Artifact,
    ArtifactWriter,
    Counts,
    begin_artifact,
    is_up_to_date,
    open_artifact,
)
from stillhouse.economics import logged_calls
from stillhouse.evaluate._history import History
from stillhouse.evaluate._provenance import provenance_of
from stillhouse.evaluate._service import service_summary
from stillhouse.evaluate._service_records import ServiceSummary
from stillhouse.evaluate._task._conclude import Inputs, conclude
from stillhouse.evaluate._task._config import TaskEvaluateConfig
from stillhouse.evaluate._task._contamination import contamination_of
from stillhouse.evaluate._task._held_out import HeldOut, problem_counts
from stillhouse.evaluate._task._lineup import Entry, check_names, lineup
from stillhouse.evaluate._task._measure._analysis import Analyst
from stillhouse.evaluate._task._measure._measured import Measured, measure_system
from stillhouse.evaluate._task._predictions import PredictionRow, prediction_rows
from stillhouse.evaluate._task._records import LearningPoint
from stillhouse.evaluate._task._report import RunFacts, paying_tiles, render_task_report
from stillhouse.evaluate._task._results import ContaminationFacts, CountFacts, TaskResults
from stillhouse.evaluate._task._systems._open import is_classifier, require_students
from stillhouse.evaluate._task._validation import read_validation
from stillhouse.graders import agreement_grader
from stillhouse.pages import Provenance
from stillhouse.provenance import lineage
from stillhouse.records import Usage, content_hash
from stillhouse.runlog import Listener, Ticker, ignore_progress
from stillhouse.tasks import TaskAnswer, task_of

_STAGE = "evaluate"


def evaluate_task(
    dataset: Path,
    out: Path,
    *,
    students: dict[str, Path],
    config: TaskEvaluateConfig,
    title: str = "Task report",
    command: str = "",
    config_given: dict[str, Any] | None = None,
    replace: bool = False,
    on_progress: Listener = ignore_progress,
    learning_curve: Sequence[LearningPoint] = (),
    service_log: Path | None = None,
) -> Artifact:
    """Judge students of a task on the dataset's held-out messages.

    Args:
        dataset: What curate made with the task.
        out: Folder of the evaluation; one that the same inputs made is returned as it is.
        students: Artefacts of fit or train by name. Which of them is recommended is decided by
            what their trainings measured on validation rows.
        config: How to judge.
        title: Heading of the report.
        command: The command line that reproduces the run, for the report.
        config_given: What the user set, for the manifest.
        replace: Whether a finished artefact of other inputs in the way is removed.
        on_progress: Told about the answers that are given.
        learning_curve: Points to draw, from trainings on parts of the teacher's answers.
        service_log: The log of a server, which the report tells about: how the student before these
            did in service.

    Returns:
        An artefact of the kind `evaluation` with `results.json`, `report.html` and rows
        `predictions` (`PredictionRow`).

    Raises:
        ConfigError: a student or a path is wrong, or the task's grader needs a judge.
        DataError: the dataset has no task, too few held-out messages or nobody looked whether they
            are in its training data; or a student was made from another dataset.
        IntegrityError: a student is damaged, or gives confidences that are no probabilities.
        MissingDependencyError: a student needs a package that is not installed.
    """
    check_names(students, config.student)
    parent = open_artifact(dataset, kind="dataset")
    opened = {name: open_artifact(path) for name, path in students.items()}
    parents = [parent, *opened.values()]
    resolved = {
        **config.model_dump(mode="json"),
        "students": list(opened),
        "learning_curve": [point.model_dump(mode="json") for point in learning_curve],
        "title": title,
        "command": command,
    }
    service = None if service_log is None else service_summary(service_log)
    if service is not None:
        resolved["service_sha256"] = content_hash(service)
    if is_up_to_date(out, stage=_STAGE, config=resolved, parents=parents):
        return open_artifact(out)
    task = task_of(parent.manifest.results)
    agreement_grader(task)  # refuses what no score can be given to, before anything is measured
    require_students(opened, parent, task)
    contamination = contamination_of(parent, is_allowed=config.allow_contamination)
    # Read before anything is measured: a damaged signature ends it here.
    provenance = {name: provenance_of(student) for name, student in opened.items()}
    held_out = HeldOut.of(parent, config)
    judging = _Judging(parent, opened, held_out, contamination, config, provenance)
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
        return judging.run(
            writer,
            title=title,
            command=command,
            learning_curve=tuple(learning_curve),
            service=service,
            on_progress=on_progress,
        )
    finally:
        writer.release()


@dataclass(frozen=True)
class _Judging:
    dataset: Artifact
    students: Mapping[str, Artifact]
    held_out: HeldOut
    contamination: ContaminationFacts
    config: TaskEvaluateConfig
    provenance: Mapping[str, Provenance]

    def run(
        self,
        writer: ArtifactWriter,
        *,
        title: str,
        command: str,
        learning_curve: tuple[LearningPoint, ...],
        service: ServiceSummary | None,
        on_progress: Listener,
    ) -> Artifact:
        """Measure everything and write rows, results, report and manifest."""
        started_s = monotonic()
        entries = lineup(self.held_out, self.dataset, self.students, self.config, on_progress)
        measured, missing = self._measure(entries, on_progress)
        analyst = Analyst(self.held_out, self.config, logged_calls(self._completions()))
        inputs = Inputs(
            title=title,
            counts=self._counts(),
            contamination=self.contamination,
            learning_curve=learning_curve,
            service=service,
            missing=missing,
            validation={name: read_validation(one) for name, one in self.students.items()},
            started_s=started_s,
        )
        results = conclude(analyst, measured, inputs)
        scored = {one.facts.name: one.scored for one in measured}
        writer.write_rows("predictions", prediction_rows(self.held_out, scored), PredictionRow)
        writer.new_file("results.json").write_bytes(results.to_bytes())
        report = render_task_report(results, self._run_facts(results, command))
        writer.new_file("report.html").write_text(report, encoding="utf-8")
        return self._finish(writer, results)

    def _measure(
        self, entries: Sequence[Entry], on_progress: Listener
    ) -> tuple[list[Measured], dict[str, str]]:
        needs_messages = not all(is_classifier(one) for one in self.students.values())
        questions = questions_of(self.held_out.rows, self.dataset, needs_messages=needs_messages)
        total = len(entries) * len(questions)
        ticker = Ticker(on_progress, stage=_STAGE, total=total, unit="answers")
        measured: list[Measured] = []
        missing: dict[str, str] = {}
        for entry in entries:
            found = self._measure_one(entry, questions, ticker)
            if found is None:
                missing[entry.name] = entry.why_not
                ticker.advance(len(questions))
            else:
                measured.append(found)
        return measured, missing

    def _measure_one(
        self, entry: Entry, questions: Sequence[Question], ticker: Ticker
    ) -> Measured | None:
        # A function of its own, so that the system is gone before the next one is opened.
        system = entry.open()
        if system is None:
            return None
        return measure_system(
            system, self.held_out, questions, self.config, on_batch=ticker.advance
        )

    def _completions(self) -> list[Artifact]:
        nodes = lineage(self.dataset.path).nodes
        return [node for node in nodes if node.manifest.kind == "completions"]

    def _counts(self) -> CountFacts:
        held_out = self.held_out
        rows = list(self.dataset.rows("answers", TaskAnswer))
        return CountFacts(
            held_out=len(held_out.rows),
            groups=held_out.num_groups,
            with_teacher=int(held_out.has_teacher_N.sum()),
            with_gold=int(held_out.has_gold_N.sum()),
            train=len(held_out.train),
            teacher_answers=sum(row.num_answers for row in rows),
            invalid_answers=problem_counts(rows),
        )

    def _run_facts(self, results: TaskResults, command: str) -> RunFacts:
        history = History.of([self.dataset, *self.students.values()])
        return RunFacts(
            stages=history.stage_costs(evaluate_s=results.seconds),
            counts=history.count_rows(),
            lineage=history.lineage_nodes(self.students),
            command=command or "stillhouse evaluate",
            environment=history.environment(),
            provenance=replace(self.provenance[results.student.name], tiles=paying_tiles(results)),
        )

    def _finish(self, writer: ArtifactWriter, results: TaskResults) -> Artifact:
        number = results.counts.held_out
        student = results.student
        return writer.finish(
            counts=Counts.model_validate({"in": number, "kept": number}),
            usage=Usage(cost_usd=0.0),
            teacher=self.dataset.manifest.teacher,
            sampling=self.dataset.manifest.sampling,
            seeds={"bootstrap": self.config.seed},
            device="cpu",
            results={
                "verdict": results.verdict,
                "recommended": student.name,
                "agreement": student.agreement.value if student.agreement else None,
                "gold": student.gold.value if student.gold else None,
                "held_out": number,
            },
        )
