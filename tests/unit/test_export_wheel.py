import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from export_cases import asked
from fit_cases import LABELS, a_dataset, a_task, rows_of
from label_students import ROWS, TARGETS, TEXTS, an_embedding, an_ngram, write_classifier

from stillhouse.artifacts import check_files, open_artifact
from stillhouse.classifiers import (
    NgramConfig,
    fit_ngram,
    load_classifier,
    probabilities,
)
from stillhouse.errors import ConfigError, DataError, ExportRefusedError
from stillhouse.export import REPORT_NAME, ExportReport, export
from stillhouse.export._answers import ClassifierSource, answer_figures, answers_of
from stillhouse.export._wheel import export_wheel
from stillhouse.export._wheel._archive import write_wheel
from stillhouse.export._wheel._export import package_files
from stillhouse.export._wheel._isolated import isolated_answers

PAGE = Path(__file__).resolve().parents[2] / "docs" / "export.md"


@pytest.mark.parametrize("is_multiple", [False, True], ids=["one label", "several"])
def test_an_ngram_wheel_answers_by_itself_as_the_student_does(
    tmp_path: Path, is_multiple: bool
) -> None:
    student = write_classifier(tmp_path / "student", an_ngram(is_multiple=is_multiple))
    out = export(student, tmp_path / "out", config=asked("wheel", name="bank")).path
    check_files(open_artifact(out, kind="export"))
    report = ExportReport.model_validate_json((out / REPORT_NAME).read_bytes())
    figures = {figure.name: figure for figure in report.formats[0].figures}
    assert figures["identical_answers"].value == figures["identical_answers"].n >= 80
    assert figures["largest_probability_gap"].value < 1e-9
    wheel = out / "wheel" / "bank-1.0.0-py3-none-any.whl"
    found = isolated_answers(wheel, name="bank", requires=["numpy"], texts=TEXTS[:20])
    classifier = load_classifier(student)
    given = probabilities(classifier, TEXTS[:20])
    assert np.allclose(found.given, given, atol=1e-12)
    assert found.answers == answers_of(classifier, given)
    assert found.labels == [*LABELS, "never"]


@pytest.mark.parametrize("precision", ["int8", "float32"])
@pytest.mark.parametrize("ngrams", [None, NgramConfig()], ids=["alone", "with n-grams"])
def test_a_wheel_with_an_encoder_answers_as_the_student_does(
    tmp_path: Path, precision: str, ngrams: NgramConfig | None
) -> None:
    classifier = an_embedding(tmp_path, precision=precision, ngrams=ngrams)
    student = write_classifier(tmp_path / "student", classifier)
    out = export(student, tmp_path / "out", config=asked("wheel")).path
    report = ExportReport.model_validate_json((out / REPORT_NAME).read_bytes())
    figures = {figure.name: figure.value for figure in report.formats[0].figures}
    assert figures["largest_probability_gap"] < 1e-6


def test_the_command_of_a_wheel_prints_label_and_probabilities(tmp_path: Path) -> None:
    student = write_classifier(tmp_path / "student", an_ngram())
    out = export(student, tmp_path / "out", config=asked("wheel", name="bank")).path
    wheel = next((out / "wheel").glob("*.whl"))
    done = subprocess.run(
        [sys.executable, "-m", "bank", "my card is lost"],
        env={"PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith('{"label": "card", "probabilities": {"card": 0.')


def test_the_code_on_the_page_runs_with_a_wheel_of_that_name(tmp_path: Path) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    files = package_files(an_ngram(), name="intents")
    wheel = write_wheel(
        tmp_path, files, name="intents", version="1", summary="x", requires=["numpy"]
    )
    program = f"{block}\nassert intents.predict('my card is lost') == 'card'\n"
    subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": str(wheel)}, check=True)


def test_pip_would_take_the_wheel_and_the_bytes_are_always_the_same(tmp_path: Path) -> None:
    classifier = an_ngram()
    made = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        files = package_files(classifier, name="bank")
        made.append(
            write_wheel(
                folder, files, name="bank", version="2.1", summary="x", requires=["numpy"]
            ).read_bytes()
        )
    assert made[0] == made[1]
    wheel = tmp_path / "a" / "bank-2.1-py3-none-any.whl"
    site = tmp_path / "site"
    done = subprocess.run(
        [
            sys.executable,
            *f"-m pip install --no-index --no-deps -q --target {site} {wheel}".split(),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(wheel) as archive:
        record = archive.read("bank-2.1.dist-info/RECORD").decode().splitlines()
        assert len(record) == len(archive.namelist())
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}


def test_a_wheel_that_differs_is_refused(tmp_path: Path) -> None:
    student = write_classifier(tmp_path / "student", an_ngram())

    def with_another_temperature(source, folder, name):
        hotter = source.classifier.calibration.model_copy(update={"temperature": 3.0})
        changed = ClassifierSource(
            source.artifact, source.classifier.with_calibration(hotter), source.config, None
        )
        report = export_wheel(changed, folder, name)
        wheel = next(folder.iterdir())
        answers = isolated_answers(wheel, name="student", requires=["numpy"], texts=source.texts)
        figures = answer_figures(source, answers.answers, np.array(answers.given))
        return report.model_copy(update={"figures": figures})

    with pytest.raises(ExportRefusedError, match=r"largest_probability_gap is .*at most 0\.0001"):
        export(
            student,
            tmp_path / "out",
            config=asked("wheel"),
            exporters={"classifier": {"wheel": with_another_temperature}},
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["student"]


def test_a_wheel_that_needs_more_than_it_says_is_refused(tmp_path: Path) -> None:
    files = {"__init__.py": b"import pydantic\n"}
    wheel = write_wheel(tmp_path, files, name="x", version="1", summary="x", requires=["numpy"])
    with pytest.raises(ExportRefusedError, match="No module named 'pydantic'"):
        isolated_answers(wheel, name="x", requires=["numpy"], texts=["a"])


def test_agreement_is_measured_on_held_out_rows(tmp_path: Path) -> None:
    student = write_classifier(tmp_path / "student", fit_ngram(TEXTS, TARGETS, labels=LABELS))
    rows = [row.model_copy(update={"split": "held_out"}) for row in rows_of(60, noise=0.2)[0]]
    a_dataset(tmp_path / "dataset", rows)
    out = export(
        student, tmp_path / "out", config=asked("wheel"), dataset=tmp_path / "dataset"
    ).path
    metric = ExportReport.model_validate_json((out / REPORT_NAME).read_bytes()).formats[0].metric
    assert metric is not None
    assert (metric.metric, metric.n) == ("agreement", 60)
    assert metric.exported == metric.student
    assert 0.6 < metric.student < 0.95


def test_data_of_another_task_or_without_held_out_rows_is_refused(tmp_path: Path) -> None:
    student = write_classifier(tmp_path / "student", fit_ngram(TEXTS, TARGETS, labels=LABELS))
    a_dataset(tmp_path / "train", ROWS)
    with pytest.raises(DataError, match="no held-out row"):
        export(student, tmp_path / "out", config=asked("wheel"), dataset=tmp_path / "train")
    a_dataset(tmp_path / "other", [], task=a_task(labels=("yes", "no")))
    with pytest.raises(DataError, match="other labels"):
        export(student, tmp_path / "out", config=asked("wheel"), dataset=tmp_path / "other")


def test_formats_of_language_models_and_bad_names_are_refused(tmp_path: Path) -> None:
    student = write_classifier(tmp_path / "student", an_ngram())
    with pytest.raises(ConfigError, match="is a classifier, which has no format 'gguf-f16'"):
        export(student, tmp_path / "out", config=asked("gguf-f16"))
    with pytest.raises(ConfigError, match="name=numpy is a package that the wheel needs"):
        export(student, tmp_path / "out", config=asked("wheel", name="numpy"))
    with pytest.raises(ValueError, match="name"):
        asked("wheel", name="../x")
