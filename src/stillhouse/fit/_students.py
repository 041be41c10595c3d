"""The students that can be fitted, each by its own function."""

from pathlib import Path
from typing import Any

from stillhouse.classifiers import Classifier, fit_ngram
from stillhouse.fit._config import FitConfig
from stillhouse.fit._rows import TaskRows
from stillhouse.runlog import Listener


def fit_student(
    config: FitConfig,
    rows: TaskRows,
    *,
    aside: TaskRows,
    checkpoint_dir: Path,
    on_progress: Listener,
) -> Classifier:
    """The student that `config` asks for, not yet calibrated on the rows that were set aside.

    Args:
        config: Which student, and how it is made.
        rows: What it learns from.
        aside: Rows to choose its best epoch on, where it has epochs.
        checkpoint_dir: Keeps the last of these, and goes on from it.
        on_progress: Told how far it is.

    Raises:
        DataError: all rows have one label.
        MissingDependencyError: the student needs a package that is not installed.
    """
    common: dict[str, Any] = {
        "labels": rows.task.labels,
        "is_multiple": rows.task.multiple,
        "seed": config.seed,
        "on_progress": on_progress,
    }
    if config.student == "ngram":
        return fit_ngram(rows.texts, rows.targets_NL, config=config.ngram, **common)
    # These need torch, which takes a second to import.
    from stillhouse.classifiers import fit_embedding, fit_encoder

    if config.student == "embedding":
        return fit_embedding(rows.texts, rows.targets_NL, config=config.embedding, **common)
    return fit_encoder(
        rows.texts,
        rows.targets_NL,
        config=config.encoder,
        validation=(aside.texts, aside.targets_NL),
        checkpoint_dir=checkpoint_dir,
        **common,
    )
