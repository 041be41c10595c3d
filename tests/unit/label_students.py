"""Small students that answer with labels, as artefacts."""

from pathlib import Path
from typing import Any

import numpy as np
from encoder_cases import make_encoder
from fit_cases import LABELS, rows_of

from stillhouse.artifacts import Counts, begin_artifact
from stillhouse.classifiers import (
    Classifier,
    EmbeddingConfig,
    calibrated,
    fit_embedding,
    fit_ngram,
    save_classifier,
)

ROWS, RIGHT = rows_of(160)
TEXTS = [row.text for row in ROWS]
TARGETS = np.array([[float(label == right) for label in LABELS] for right in RIGHT])


def write_classifier(folder: Path, classifier: Classifier) -> Path:
    """The artefact that `fit` would make."""
    writer = begin_artifact(folder, kind="classifier", stage="fit", config={})
    save_classifier(classifier, writer.work_dir, writer.new_file)
    writer.finish(counts=Counts.model_validate({"in": 1, "kept": 1}))
    return folder


def an_ngram(*, is_multiple: bool = False) -> Classifier:
    # A label without a row keeps its prior, which a wheel must know too.
    targets = np.hstack([TARGETS, np.zeros((len(TEXTS), 1))])
    student = fit_ngram(TEXTS, targets, labels=[*LABELS, "never"], is_multiple=is_multiple)
    return calibrated(student, TEXTS[:60], targets[:60])


def an_embedding(
    folder: Path, *, is_multiple: bool = False, has_unseen: bool = False, **changes: Any
) -> Any:
    """A student with a frozen encoder of random weights; one label may have no row."""
    base = make_encoder(folder / "encoder")
    config = EmbeddingConfig(base=str(base), max_tokens=16, **changes)
    labels = [*LABELS, "never"] if has_unseen else LABELS
    targets = np.hstack([TARGETS, np.zeros((len(TEXTS), len(labels) - len(LABELS)))])
    student = fit_embedding(TEXTS, targets, labels=labels, is_multiple=is_multiple, config=config)
    return calibrated(student, TEXTS[:60], targets[:60])
