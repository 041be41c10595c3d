"""The student at work on the calibration rows: its answers and how sure it is of them.

Letters: N rows, D width of a state.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError

from stillhouse.answers import (
    Given,
    language_model_answerer,
    most_likely,
    questions_of,
    require_confidences,
    require_same_labels,
)
from stillhouse.artifacts import Artifact
from stillhouse.certify._config import CertifyConfig
from stillhouse.certify._rows import CalibrationRows
from stillhouse.classifiers import Classifier, load_classifier, probabilities
from stillhouse.errors import ConfigError, DataError, RecordError
from stillhouse.graders import Grader, agreement_grader
from stillhouse.records import Record
from stillhouse.runlog import Listener, Ticker, ignore_progress
from stillhouse.settings import iterate_rows

Floats = npt.NDArray[np.float64]
States = npt.NDArray[np.float32]

_MAX_TOKENS = 256
_BATCH = 64


class GradedRow(Record):
    """One row of a file of grades that somebody else gave, such as a judge."""

    prompt_id: str
    confidence: float | None = Field(default=None, ge=0.0, le=1.0)
    """Of the student in its answer; null where it has none."""
    score: float = Field(ge=0.0, le=1.0)
    """Of its answer against the teacher's."""
    answer: str | None = None
    """What it answered."""


@dataclass(frozen=True)
class Asked:
    """What the student makes of the rows.

    Attributes:
        given: N answers.
        losses_N: 1 minus their scores against the teacher's.
        is_binary: Whether losses are 0 or 1 by their nature.
        states_ND: Of the texts in the student's encoder; None where it has none.
    """

    given: tuple[Given, ...]
    losses_N: Floats
    is_binary: bool
    states_ND: States | None = None

    @property
    def confidences_N(self) -> Floats:
        """(N,) NaN where there is no answer that the task allows."""
        return np.array([_confidence(one) for one in self.given])


def ask_student(
    student: Artifact,
    classifier: Classifier | None,
    rows: CalibrationRows,
    *,
    config: CertifyConfig,
    on_progress: Listener = ignore_progress,
) -> Asked:
    """Have the student answer all rows, and grade it.

    Args:
        student: Made by fit or train.
        classifier: What is in it, where it is one.
        rows: N rows.
        config: How language models are held and how long they may write.
        on_progress: Told as rows are answered.

    Raises:
        ConfigError: the student was made for another task, or the task's grader is a judge.
        IntegrityError: its files are damaged, or its confidences no probabilities.
        MissingDependencyError: it needs a package that is not installed.
    """
    if rows.task.grader_name == "judge":
        raise ConfigError(
            f"Task {rows.task.name!r} is graded by a judge, who is not asked here. Give the "
            "scores that it gave the student's answers with --grades FILE."
        )
    grader = agreement_grader(rows.task)
    ticker = Ticker(on_progress, stage="certify", total=len(rows.rows), unit="rows")
    states_ND = None
    if classifier is not None:
        require_same_labels(str(student.path), classifier, rows.task)
        given, states_ND = _ask_classifier(classifier, rows, ticker)
    else:
        given = _ask_language_model(student, rows, config, ticker)
    require_confidences(str(student.path), given)
    losses_N = 1.0 - np.array(
        [_score(grader, one.text, row.answer) for one, row in zip(given, rows.rows, strict=True)]
    )
    return Asked(tuple(given), losses_N, grader.is_binary, states_ND)


def read_grades(path: Path, rows: CalibrationRows) -> tuple[CalibrationRows, Asked]:
    """Grades that were given elsewhere, in place of running the student.

    Args:
        path: JSONL, CSV or Parquet of `GradedRow`; other columns are left alone.
        rows: The rows that may be certified on; those without a grade are dropped.

    Raises:
        ConfigError: the file is missing or of another type.
        RecordError: a row is wrong, or grades a prompt a second time.
        DataError: no row is graded.
    """
    grades = _grades(path)
    graded = tuple(row for row in rows.rows if row.prompt_id in grades)
    if not graded:
        raise DataError(
            f"{path} grades none of the {len(rows.rows):,} rows to certify on. Give their "
            "prompt_id with each score."
        )
    dropped = rows.dropped.copy()
    if num_missing := len(rows.rows) - len(graded):
        dropped["ungraded"] = num_missing
    found = [grades[row.prompt_id] for row in graded]
    losses_N = 1.0 - np.array([one.score for one in found])
    asked = Asked(
        tuple(Given(one.answer or "", one.confidence) for one in found),
        losses_N,
        is_binary=bool(np.isin(losses_N, (0.0, 1.0)).all()),
    )
    return replace(rows, rows=graded, dropped=dropped), asked


def open_classifier(student: Artifact) -> Classifier | None:
    """The classifier in a student; None where that is a language model.

    Raises:
        ConfigError: it is no student.
        IntegrityError: its files are damaged.
    """
    kind = student.manifest.kind
    if kind not in ("classifier", "student"):
        raise ConfigError(
            f"{student.path} is a {kind} artefact. Give a student that fit or train made."
        )
    return load_classifier(student.path) if kind == "classifier" else None


def _confidence(given: Given) -> float:
    if given.text is None or given.confidence is None:
        return float("nan")
    return min(max(given.confidence, 0.0), 1.0)


def _score(grader: Grader, answer: str | None, expected: str | None) -> float:
    """What the teacher cannot answer validly, the student cannot answer alike."""
    return 0.0 if answer is None or expected is None else grader.score(answer, expected)


def _ask_classifier(
    classifier: Classifier, rows: CalibrationRows, ticker: Ticker
) -> tuple[list[Given], States | None]:
    given: list[Given] = []
    states = []
    for start in range(0, len(rows.rows), _BATCH):
        texts = rows.texts[start : start + _BATCH]
        states_ND = classifier.states(texts)
        given_NL = probabilities(classifier, texts, states_ND=states_ND)
        given += most_likely(rows.task, given_NL, classifier.labels)
        if states_ND is not None:
            states.append(states_ND)
        ticker.advance(len(texts))
    return given, np.concatenate(states) if states else None


def _ask_language_model(
    student: Artifact, rows: CalibrationRows, config: CertifyConfig, ticker: Ticker
) -> list[Given]:
    from stillhouse.models import load_model  # loads torch

    sampling = rows.dataset.manifest.sampling
    answerer, _ = language_model_answerer(
        rows.task,
        load_model(student.path),
        max_tokens=config.max_tokens or (sampling.max_tokens if sampling else _MAX_TOKENS),
        is_held=config.constrain,
    )
    questions = questions_of(rows.rows, rows.dataset, needs_messages=True)
    given: list[Given] = []
    for start in range(0, len(questions), _BATCH):
        given += answerer.answer(questions[start : start + _BATCH])
        ticker.advance(len(questions[start : start + _BATCH]))
    return given


def _grades(path: Path) -> Mapping[str, GradedRow]:
    names = set(GradedRow.model_fields)
    grades: dict[str, GradedRow] = {}
    for where, raw, _ in iterate_rows(path):
        try:
            known = {name: value for name, value in dict(raw).items() if name in names}
            row = GradedRow.model_validate(known)
        except (TypeError, ValueError) as err:
            reason = err.errors()[0]["msg"] if isinstance(err, ValidationError) else str(err)
            raise RecordError(
                f"{path}, {where}: this is no grade ({reason}). Give prompt_id, confidence and "
                "score, both in [0, 1]."
            ) from err
        if row.prompt_id in grades:
            raise RecordError(
                f"{path}, {where}: {row.prompt_id!r} is graded twice. Give one grade a row."
            )
        grades[row.prompt_id] = row
    return grades
