import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from export_cases import asked
from label_students import an_embedding, an_ngram, write_classifier
from tokenizers import Tokenizer

from stillhouse.artifacts import open_artifact
from stillhouse.classifiers import (
    Calibration,
    Classifier,
    NgramConfig,
    load_classifier,
    probabilities,
)
from stillhouse.errors import ConfigError, ExportRefusedError
from stillhouse.export import REPORT_NAME, ExportReport, export
from stillhouse.export._onnx import MODEL, export_onnx

TEXTS = ["what is the exchange rate", "card lost", "top up by cash", "unknown words"]


def ran(folder: Path, texts: list[str]) -> np.ndarray:
    """Probabilities by the exported files alone."""
    session = onnxruntime.InferenceSession(folder / MODEL)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    given = [{"ids": np.array([tokenizer.encode(text).ids])} for text in texts]
    return np.concatenate([session.run(None, of)[0] for of in given])


@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_the_graph_gives_the_students_probabilities(tmp_path: Path, precision: str) -> None:
    classifier = an_embedding(tmp_path, precision=precision, ngrams=None)
    student = write_classifier(tmp_path / "student", classifier)
    out = export(student, tmp_path / "out", config=asked("onnx")).path
    expected = probabilities(load_classifier(student), TEXTS)
    assert np.allclose(ran(out / "onnx", TEXTS), expected, atol=1e-5)
    labels = json.loads((out / "onnx" / "labels.json").read_bytes())
    assert labels["labels"] == list(classifier.labels)
    assert sum(labels["blank"]) == pytest.approx(1.0)
    report = ExportReport.model_validate_json((out / REPORT_NAME).read_bytes())
    assert {figure.name for figure in report.formats[0].figures} == {
        "identical_answers",
        "largest_probability_gap",
    }


def several_labels_one_unseen(folder: Path) -> Classifier:
    return an_embedding(folder, is_multiple=True, has_unseen=True, ngrams=None)


def test_several_labels_and_one_that_was_never_seen(tmp_path: Path) -> None:
    classifier = several_labels_one_unseen(tmp_path)
    assert classifier.calibration.slopes
    student = write_classifier(tmp_path / "student", classifier)
    out = export(student, tmp_path / "out", config=asked("onnx")).path
    expected = probabilities(load_classifier(student), TEXTS)
    assert np.allclose(ran(out / "onnx", TEXTS), expected, atol=1e-5)


def test_a_graph_without_its_calibration_is_refused(tmp_path: Path) -> None:
    classifier = an_embedding(tmp_path, ngrams=None)
    student = write_classifier(tmp_path / "student", classifier)

    def forgetful(source, folder, name):
        assert source.given_NL.any()
        bare = source.classifier.with_calibration(Calibration())
        assert source.classifier.calibration.temperature != 1.0
        object.__setattr__(source, "classifier", bare)
        return export_onnx(source, folder, name)

    with pytest.raises(ExportRefusedError, match="largest_probability_gap"):
        export(
            student,
            tmp_path / "out",
            config=asked("onnx"),
            exporters={"classifier": {"onnx": forgetful}},
        )


def test_students_with_n_grams_have_no_graph(tmp_path: Path) -> None:
    student = write_classifier(tmp_path / "student", an_ngram())
    with pytest.raises(ConfigError, match="is made of n-grams, which an ONNX graph cannot"):
        export(student, tmp_path / "out", config=asked("onnx"))
    both = an_embedding(tmp_path, ngrams=NgramConfig())
    assert both.companion is not None
    student = write_classifier(tmp_path / "both", both)
    with pytest.raises(ConfigError, match="has n-grams"):
        export(student, tmp_path / "out", config=asked("onnx"))


def test_the_model_is_valid_and_names_no_other_file(tmp_path: Path) -> None:
    student = write_classifier(tmp_path / "student", an_embedding(tmp_path, ngrams=None))
    out = export(student, tmp_path / "out", config=asked("onnx")).path
    model = onnx.load(out / "onnx" / MODEL)
    onnx.checker.check_model(model)
    assert [value.name for value in model.graph.output] == ["probabilities"]
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    assert open_artifact(out).manifest.results["formats"]["onnx"]["verdict"] == "verified"
