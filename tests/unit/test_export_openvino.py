from pathlib import Path

import numpy as np
import pytest
from export_cases import asked
from label_students import an_embedding, write_classifier
from tokenizers import Tokenizer

from stillhouse.classifiers import load_classifier, probabilities
from stillhouse.errors import ExportRefusedError
from stillhouse.export import REPORT_NAME, ExportReport, export

openvino = pytest.importorskip("openvino")
TEXTS = ["what is the exchange rate", "card lost", "top up by cash", "unknown words"]


def test_the_model_gives_the_students_probabilities(tmp_path: Path) -> None:
    classifier = an_embedding(tmp_path, precision="float32", ngrams=None)
    student = write_classifier(tmp_path / "student", classifier)
    out = export(student, tmp_path / "out", config=asked("openvino")).path
    compiled = openvino.Core().compile_model(
        out / "openvino" / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    tokenizer = Tokenizer.from_file(str(out / "openvino" / "tokenizer.json"))
    given = [compiled([np.array([tokenizer.encode(text).ids])])[0] for text in TEXTS]
    expected = probabilities(load_classifier(student), TEXTS)
    assert np.allclose(np.concatenate(given), expected, atol=1e-4)
    report = ExportReport.model_validate_json((out / REPORT_NAME).read_bytes())
    assert report.formats[0].figures[0].name == "identical_answers"


def test_a_student_in_eight_bits_answers_otherwise_there_and_is_refused(tmp_path: Path) -> None:
    classifier = an_embedding(tmp_path, precision="int8", ngrams=None)
    student = write_classifier(tmp_path / "student", classifier)
    with pytest.raises(ExportRefusedError, match="Nothing was exported"):
        export(student, tmp_path / "out", config=asked("openvino"))
    assert not (tmp_path / "out").exists()
