"""The wheel of a student that answers with labels."""

import io
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from stillhouse.classifiers import Classifier, NgramClassifier, SentenceClassifier
from stillhouse.errors import ConfigError
from stillhouse.export._answers import ClassifierSource, answer_figures, answer_metric
from stillhouse.export._config import FormatName
from stillhouse.export._report import FormatReport
from stillhouse.export._wheel._archive import write_wheel
from stillhouse.export._wheel._isolated import isolated_answers
from stillhouse.records import canonical_json

_MAIN = "from {name} import main\n\nmain()\n"
_NGRAM = "ngram."


def export_wheel(source: ClassifierSource, folder: Path, name: FormatName) -> FormatReport:
    """Write a wheel and ask it by itself.

    Raises:
        ConfigError: the name is one that the wheel itself needs.
        ExportRefusedError: it does not answer as the student does.
        MissingDependencyError: a package that it requires is not installed.
    """
    config = source.config
    requires = requirements(source.classifier)
    if config.name in requires:
        raise ConfigError(f"name={config.name} is a package that the wheel needs. Give another.")
    wheel = write_wheel(
        folder,
        package_files(source.classifier, name=config.name),
        name=config.name,
        version=config.version,
        summary=f"Answers texts with {len(source.classifier.labels)} labels.",
        requires=requires,
    )
    found = isolated_answers(wheel, name=config.name, requires=requires, texts=source.texts)
    return FormatReport(
        format=name,
        figures=answer_figures(source, found.answers, np.array(found.given)),
        metric=answer_metric(source, found.answers),
        notes=(f"Installs with {', '.join(requires)} and nothing else.",),
    )


def requirements(classifier: Classifier) -> tuple[str, ...]:
    """The packages that a wheel of this student installs with."""
    return ("numpy",) if classifier.kind == "ngram" else ("numpy", "onnxruntime", "tokenizers")


def package_files(classifier: Classifier, *, name: str) -> Mapping[str, bytes]:
    """The contents of the package `name`, by path inside it."""
    common = classifier.common
    model: dict[str, Any] = {
        "labels": list(common.space.names),
        "is_multiple": common.space.is_multiple,
        "prior": common.space.prior_L.tolist(),
        "is_learnt": common.space.is_learnt_L.tolist(),
        "calibration": common.calibration.model_dump(mode="json"),
    }
    files: dict[str, bytes] = {}
    if isinstance(classifier, SentenceClassifier):
        files |= _encoder_files(classifier, model)
    elif isinstance(classifier, NgramClassifier):
        files |= _ngram_files(classifier, model)
    program = (resources.files("stillhouse.export._wheel") / "_standalone.py").read_bytes()
    return {
        **files,
        "__init__.py": program,
        "__main__.py": _MAIN.format(name=name).encode(),
        "model.json": canonical_json(model),
    }


def _ngram_files(classifier: NgramClassifier, model: dict[str, Any]) -> dict[str, bytes]:
    stored = classifier.stored()
    model["ngram"] = {
        "char_lengths": list(classifier.config.char_lengths),
        "word_lengths": list(classifier.config.word_lengths),
    }
    files = {f"{_NGRAM}{name}.npy": _npy(array) for name, array in stored.arrays.items()}
    return files | {name: text.encode() for name, text in stored.texts.items()}


def _encoder_files(classifier: SentenceClassifier, model: dict[str, Any]) -> dict[str, bytes]:
    companion = classifier.companion
    files: dict[str, bytes] = {}
    model["encoder"] = {"companion": None}
    if companion is not None:
        files |= _ngram_files(companion.ngram, model)
        model["encoder"]["companion"] = {
            "share": companion.share,
            "calibration": companion.calibration.model_dump(mode="json"),
            "ngram_calibration": companion.ngram.calibration.model_dump(mode="json"),
        }
    return {
        **files,
        "encoder.onnx": classifier.encoder.graph(),
        "tokenizer.json": classifier.encoder.reader.definition.encode(),
        "head.weights.npy": _npy(classifier.head.weights_FL),
        "head.bias.npy": _npy(classifier.head.bias_L),
    }


def _npy(array: Any) -> bytes:
    written = io.BytesIO()
    np.save(written, np.ascontiguousarray(array), allow_pickle=False)
    return written.getvalue()
