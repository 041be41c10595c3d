"""A classifier as files: JSON and safetensors, read as if a stranger had written them."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from stillhouse.classifiers._calibration import Calibration
from stillhouse.classifiers._classifier import Classifier, Common, FitReport, Kind, Stored
from stillhouse.classifiers._labels import LabelSpace, checked_names
from stillhouse.errors import DataError, IntegrityError
from stillhouse.records import Record, canonical_json

HEADER_NAME = "classifier.json"
WEIGHTS_NAME = "classifier.safetensors"

_READERS: dict[Kind, tuple[str, str, tuple[str, ...]]] = {
    "ngram": ("_ngram", "read_ngram", ("vocabulary.json",)),
    "embedding": ("_sentence", "read_sentence", ("tokenizer.json", "vocabulary.json")),
    "encoder": ("_sentence", "read_sentence", ("tokenizer.json", "vocabulary.json")),
}
"""By kind: the module that reads it, the function there, and the further files it may have."""


class _Header(Record):
    schema_version: Literal[1] = 1
    kind: Kind
    labels: tuple[str, ...]
    is_multiple: bool
    prior: tuple[float, ...]
    is_learnt: tuple[bool, ...]
    calibration: Calibration
    report: FitReport
    settings: dict[str, Any]

    def common(self) -> Common:
        names = checked_names(self.labels, is_multiple=self.is_multiple)
        prior_L, is_learnt_L = np.array(self.prior), np.array(self.is_learnt)
        is_sound = bool(np.all((prior_L > 0) & (prior_L < 1)) and is_learnt_L.any())
        num_slopes = len(self.calibration.slopes)
        is_sound &= len(names) == len(prior_L) == len(is_learnt_L)
        if not is_sound or num_slopes not in (0, is_learnt_L.sum()):
            raise DataError("labels, prior and calibration do not fit together")
        space = LabelSpace(names, self.is_multiple, prior_L, is_learnt_L)
        return Common(space, self.calibration, self.report)


def save_classifier(
    classifier: Classifier, folder: Path, new_file: Callable[[str], Path] | None = None
) -> list[str]:
    """Write a classifier.

    Args:
        classifier: What to save.
        folder: Where.
        new_file: Gives the place for each file name instead, as an artefact's writer does.

    Returns:
        The names of its files.
    """
    from safetensors.numpy import save_file

    place = new_file or folder.joinpath
    space, stored = classifier.common.space, classifier.stored()
    header = _Header(
        kind=stored.kind,
        labels=space.names,
        is_multiple=space.is_multiple,
        prior=tuple(space.prior_L.tolist()),
        is_learnt=tuple(space.is_learnt_L.tolist()),
        calibration=classifier.common.calibration,
        report=classifier.common.report,
        settings=stored.settings,
    )
    place(HEADER_NAME).write_bytes(canonical_json(header))
    arrays = {name: np.ascontiguousarray(array) for name, array in stored.arrays.items()}
    save_file(arrays, place(WEIGHTS_NAME))
    for name, text in stored.texts.items():
        place(name).write_bytes(text.encode())
    return [HEADER_NAME, WEIGHTS_NAME, *stored.texts]


def is_classifier_folder(folder: Path) -> bool:
    """Whether a folder holds a classifier, sound or not."""
    return (folder / HEADER_NAME).is_file()


def load_classifier(folder: Path) -> Classifier:
    """The classifier in a folder; its logits are those of the one that was saved.

    Raises:
        IntegrityError: files are missing, damaged or do not fit together.
        MissingDependencyError: the kind of student needs a package that is not installed.
    """
    try:
        header = _Header.model_validate_json((folder / HEADER_NAME).read_bytes())
        module, reader, names = _READERS[header.kind]
        is_there = [name for name in names if (folder / name).exists()]
        texts = {name: (folder / name).read_text(encoding="utf-8") for name in is_there}
        arrays = _read_arrays(folder / WEIGHTS_NAME)
        stored = Stored(header.kind, header.settings, arrays, texts)
        read = getattr(importlib.import_module(f"stillhouse.classifiers.{module}"), reader)
        classifier: Classifier = read(header.common(), stored)
    except (OSError, KeyError, ValueError) as err:  # those of pydantic and DataError among them
        raise IntegrityError(
            f"{folder} does not hold a sound classifier ({_reason(err)}). Fit the student again."
        ) from err
    return classifier


def _read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays: dict[str, npt.NDArray[Any]] = load_file(path)
    except SafetensorError as err:
        raise IntegrityError(f"{path.name} is damaged: {err}") from err
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise IntegrityError(f"{path.name} holds numbers in {name!r} that are not finite")
    return arrays


def _reason(err: Exception) -> str:
    if isinstance(err, KeyError):
        return f"{err} is missing"
    return str(err).strip().split("\n")[0]
