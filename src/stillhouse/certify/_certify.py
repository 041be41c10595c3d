"""The stage: from a student and rows that it did not learn to a rule with a certificate."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stillhouse.artifacts import (
    Artifact,
    ArtifactWriter,
    Counts,
    begin_artifact,
    file_sha256,
    is_up_to_date,
    open_artifact,
)
from stillhouse.cascade import (
    ROWS_STEM,
    RULE_NAME,
    CascadeRow,
    CascadeRule,
    Gate,
    save_gate,
    task_novelty,
)
from stillhouse.certify._asking import Asked, ask_student, open_classifier, read_grades
from stillhouse.certify._config import CertifyConfig
from stillhouse.certify._familiar import SetAside, gate_of
from stillhouse.certify._results import cascade_rows, certificate_document, manifest_results
from stillhouse.certify._rows import CalibrationRows, read_calibration
from stillhouse.certify._search import Calibration, certified_rule
from stillhouse.records import Usage, canonical_json
from stillhouse.runlog import Listener, ignore_progress

_STAGE = "certify"
_CERTIFICATE_NAME = "certificate.json"


def certify(
    student: Path,
    dataset: Path,
    out: Path,
    *,
    config: CertifyConfig,
    grades: Path | None = None,
    config_given: dict[str, Any] | None = None,
    replace: bool = False,
    on_progress: Listener = ignore_progress,
) -> Artifact:
    """Find when a student may answer in place of its teacher, with a certificate.

    With the asked confidence, the share of all requests that the student answers unlike the
    teacher is at most 1 - target. What the guarantee is and is not: `docs/cascade.md`.

    Args:
        student: What fit or train made.
        dataset: What curate made with a task: the one that the student was made of, whose
            held-out rows count, or another one, all of whose rows do.
        out: Folder of the cascade; one that the same inputs made is returned as it is.
        config: What is to be certified.
        grades: A file of confidences and scores of the student's answers (`GradedRow`), where
            somebody else ran and judged it.
        config_given: What the user set, for the manifest.
        replace: Whether a finished artefact of other inputs in the way is removed.
        on_progress: Told as rows are answered.

    Returns:
        An artefact of the kind `cascade`, which `open_cascade` opens.

    Raises:
        NotCertifiedError: the rows do not certify the target; the message says which number of
            rows or which target would do. Nothing is written.
        ConfigError: the student was made for another task, the task's grader is a judge and no
            grades are given, or a path is wrong.
        DataError: the dataset has no task, or no row that can certify the student.
        IntegrityError: an artefact is damaged.
        MissingDependencyError: the student needs a package that is not installed.
    """
    parents = [open_artifact(student), open_artifact(dataset, kind="dataset")]
    resolved = {
        **config.model_dump(mode="json"),
        "grades_sha256": file_sha256(grades) if grades else None,
    }
    if is_up_to_date(out, stage=_STAGE, config=resolved, parents=parents):
        return open_artifact(out)
    # Before the folder is claimed, so that what is not certified replaces nothing.
    found = _found(parents[0], parents[1], config, grades, on_progress)
    writer = begin_artifact(
        out,
        kind="cascade",
        stage=_STAGE,
        config=resolved,
        config_given=config_given,
        parents=parents,
        replace=replace,
    )
    try:
        return found.write(writer)
    finally:
        writer.release()


@dataclass(frozen=True)
class _Found:
    """A certified rule and all that it rests on."""

    rows: CalibrationRows
    asked: Asked
    gate: Gate
    novelty_N: npt.NDArray[np.float64]
    calibration: Calibration
    grid_G: npt.NDArray[np.float64]
    rule: CascadeRule

    def write(self, writer: ArtifactWriter) -> Artifact:
        """The artefact."""
        rows = cascade_rows(self.rows, self.asked, self.novelty_N, self.rule)
        writer.write_rows(ROWS_STEM, rows, CascadeRow)
        writer.new_file(RULE_NAME).write_bytes(canonical_json(self.rule))
        document = certificate_document(self.rule, self.gate, self.calibration, self.grid_G)
        writer.new_file(_CERTIFICATE_NAME).write_bytes(canonical_json(document))
        save_gate(self.gate, writer.work_dir, writer.new_file)
        kept, dropped = len(self.rows.rows), self.rows.dropped
        counts = {
            "in": kept + dropped.total(),
            "kept": kept,
            "dropped": dict(sorted(dropped.items())),
        }
        manifest = self.rows.dataset.manifest
        return writer.finish(
            counts=Counts.model_validate(counts),
            usage=Usage(cost_usd=0.0),
            teacher=manifest.teacher,
            sampling=manifest.sampling,
            device="cpu",
            results=manifest_results(self.rule, self.rows.task),
        )


def _found(
    student: Artifact,
    dataset: Artifact,
    config: CertifyConfig,
    grades: Path | None,
    on_progress: Listener,
) -> _Found:
    classifier = open_classifier(student)
    rows = read_calibration(student, dataset, max_rows=config.max_rows)
    aside = SetAside.of(student)
    gate = gate_of(classifier, rows, aside, config.gate)
    if grades is None:
        asked = ask_student(student, classifier, rows, config=config, on_progress=on_progress)
        states_ND = asked.states_ND
    else:
        rows, asked = read_grades(grades, rows)
        states_ND = classifier.states(rows.texts) if classifier and gate.needs_states else None
    novelty_N = task_novelty(rows.task, gate, rows.texts, states_ND)
    calibration = Calibration(
        asked.confidences_N, novelty_N <= gate.threshold, asked.losses_N, asked.is_binary
    )
    grid_G = aside.grid(config.grid_size)
    rule = certified_rule(calibration, grid_G, novelty_threshold=gate.threshold, config=config)
    return _Found(rows, asked, gate, novelty_N, calibration, grid_G, rule)
