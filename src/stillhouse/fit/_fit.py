"""The stage: from a dataset with answers to a student that answers with labels."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
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
from stillhouse.classifiers import (
    DEFAULT_ENCODER,
    encoder_revision,
    probabilities,
    save_classifier,
)
from stillhouse.fit._ablation import ablation_results
from stillhouse.fit._calibrate import Calibrated, calibrated_student
from stillhouse.fit._config import FitConfig
from stillhouse.fit._repair import RepairRow
from stillhouse.fit._results import student_results, validation_results
from stillhouse.fit._rows import read_rows
from stillhouse.fit._settle import Settled, settle
from stillhouse.fit._split import Parts, parted
from stillhouse.fit._students import fit_student
from stillhouse.fit._validation import ValidationRow, predicted_answers, validation_rows
from stillhouse.fit._warnings import JUDGED_WRONG, warnings_of
from stillhouse.provenance import learning_terms, terms_given, terms_result
from stillhouse.records import Usage
from stillhouse.runlog import Listener, ignore_progress
from stillhouse.terms import TermsRecord

_STAGE = "fit"
_CHECKPOINTS = "epochs"


def fit(
    dataset: Path,
    out: Path,
    *,
    config: FitConfig,
    config_given: dict[str, Any] | None = None,
    replace: bool = False,
    on_progress: Listener = ignore_progress,
) -> Artifact:
    """Fit a student that answers with labels to what a teacher answered.

    Some training rows are set aside; the student is calibrated and first measured on them. Held-out
    rows are not read.

    Args:
        dataset: What curate made with a classification task.
        out: Folder of the student; one that the same inputs made is returned as it is.
        config: Which student, and what is done about answers that are probably wrong.
        config_given: What the user set, for the manifest.
        replace: Whether a finished artefact of other inputs in the way is removed.
        on_progress: Told how far the student is.

    Returns:
        An artefact of the kind `classifier`, which `load_classifier` opens, with rows `validation`
        (`ValidationRow`) and `repairs` (`RepairRow`).

    Raises:
        ConfigError: the dataset's task has no labels, a setting is not possible for it, or a path
            is wrong.
        DataError: the dataset has no answers to a task, or too few to learn from.
        IntegrityError: the dataset is damaged.
        MissingDependencyError: the student needs a package that is not installed.
        TermsError: the terms of what it would be made from are not known to allow it.
    """
    parent = open_artifact(dataset, kind="dataset")
    base = _base_of(config)
    verdict = learning_terms(
        dataset,
        terms_given(config.terms),
        student="classifier",
        base=base.base if base else None,
    )
    resolved = {**config.model_dump(mode="json"), "base_revision": base.revision if base else None}
    if is_up_to_date(out, stage=_STAGE, config=resolved, parents=[parent]):
        return open_artifact(out)
    # Before the folder is claimed, so that what cannot be learnt replaces nothing.
    rows, dropped = read_rows(parent, targets=config.targets)
    parts = parted(rows, dropped, fraction=config.validation_fraction)
    writer = begin_artifact(
        out,
        kind="classifier",
        stage=_STAGE,
        config=resolved,
        config_given=config_given,
        parents=[parent],
        replace=replace,
    )
    try:
        return _Fitting(parent, config, base, parts, on_progress, verdict).finish(writer)
    finally:
        writer.release()


def _base_of(config: FitConfig) -> StudentInfo | None:
    """The encoder that the student starts from; None where it starts from nothing."""
    if config.student == "ngram":
        return None
    of_student = config.embedding if config.student == "embedding" else config.encoder
    return StudentInfo(
        base=of_student.base or DEFAULT_ENCODER, revision=encoder_revision(of_student.base)
    )


@dataclass
class _Fitting:
    """One attempt at a student.

    Attributes:
        dataset: Where the rows are from.
        config: What to do.
        base: What the student starts from, if anything.
        parts: The rows.
        on_progress: Told how far it is.
        terms: The verdict over what it is made from.
        seconds: What each phase took.
    """

    dataset: Artifact
    config: FitConfig
    base: StudentInfo | None
    parts: Parts
    on_progress: Listener
    terms: TermsRecord
    seconds: dict[str, float] = field(default_factory=dict)

    def finish(self, writer: ArtifactWriter) -> Artifact:
        """Fit, calibrate and measure the student, and write it."""
        with self._phase("settle"):
            settled = settle(self.config, self.parts.learn, self.parts.aside, self.on_progress)
        learn, aside = settled.learnt.rows, settled.aside
        with self._phase("fit"):
            student = fit_student(
                self.config,
                learn,
                aside=aside,
                checkpoint_dir=writer.work_dir / _CHECKPOINTS,
                on_progress=self.on_progress,
            )
        with self._phase("calibrate"):
            made = calibrated_student(student, aside)
        rows = validation_rows(aside, settled.expected, made.given_NL)
        noise = {"method": self.config.noise.method, **settled.report}
        if self.config.noise.ablate:
            noise["ablation"] = self._ablation(rows, writer.work_dir / f"{_CHECKPOINTS}-ablation")
        writer.write_rows("validation", rows, ValidationRow)
        writer.write_rows("repairs", settled.learnt.log, RepairRow)
        save_classifier(made.classifier, writer.work_dir, writer.new_file)
        results = {
            **student_results(made.classifier, learn),
            "validation": validation_results(rows, aside, made),
            "noise": noise,
        }
        return self._publish(writer, settled, made, results)

    def _ablation(self, rows: Sequence[ValidationRow], checkpoint_dir: Path) -> dict[str, Any]:
        """The student compared with one that learns the answers as they were given."""
        aside = self.parts.aside
        with self._phase("ablate"):
            plain = fit_student(
                self.config,
                self.parts.learn,
                aside=aside,
                checkpoint_dir=checkpoint_dir,
                on_progress=self.on_progress,
            )
            as_given, _ = predicted_answers(aside.task, probabilities(plain, aside.texts))
        return ablation_results(aside, [row.predicted for row in rows], as_given)

    def _publish(
        self, writer: ArtifactWriter, settled: Settled, made: Calibrated, results: dict[str, Any]
    ) -> Artifact:
        num_learnt, num_aside = len(settled.learnt.rows), len(settled.aside)
        dropped = self.parts.dropped.copy()
        if num_wrong := len(self.parts.learn) - num_learnt:
            dropped[JUDGED_WRONG] = num_wrong
        counts = {
            "in": num_learnt + num_aside + dropped.total(),
            "kept": num_learnt + num_aside,
            "dropped": dict(sorted(dropped.items())),
        }
        warnings = warnings_of(
            made,
            num_aside=num_aside,
            num_kept=num_learnt + num_aside,
            dropped=dropped,
            noise=settled.report,
        )
        seconds = {name: round(taken, 3) for name, taken in self.seconds.items()}
        manifest = self.dataset.manifest
        return writer.finish(
            counts=Counts.model_validate(counts),
            usage=Usage(cost_usd=0.0),
            teacher=manifest.teacher,
            student=self.base,
            sampling=manifest.sampling,
            seeds={"fit": self.config.seed},
            device="cpu",
            results={
                **results,
                **terms_result(self.terms),
                "seconds": seconds,
                "warnings": warnings,
            },
        )

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        started_s = monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + monotonic() - started_s
