import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest
from export_cases import LOOSE, asked, small_student
from label_students import an_ngram, write_classifier

from stillhouse.errors import ExportRefusedError
from stillhouse.export import REPORT_NAME, ExportReport, FormatReport, export
from stillhouse.export._container import _language


def made(folder: Path) -> FormatReport:
    return ExportReport.model_validate_json((folder / REPORT_NAME).read_bytes()).formats[0]


def test_a_language_model_is_served_by_what_the_recipe_installs(
    tmp_path: Path, tiny_folder: Path
) -> None:
    pytest.importorskip("xllamacpp")
    student = small_student(tmp_path / "student", tiny_folder)
    out = export(student, tmp_path / "out", config=asked("container", q8_0=LOOSE)).path
    report = made(out)
    assert report.verdict == "not_built"
    assert "not built here" in report.notes[0]
    figures = {figure.name: figure.value for figure in report.figures}
    assert figures["identical_conversations"] >= 200
    assert figures["mean_kl_nats"] < 1.0
    lines = (out / "container" / "Dockerfile").read_text().splitlines()
    assert (
        f"RUN pip install --no-cache-dir xllamacpp=={importlib.metadata.version('xllamacpp')}"
        in (lines)
    )
    assert lines[-1] == 'ENTRYPOINT ["python", "serve.py"]'
    copied = next(line for line in lines if line.startswith("COPY")).split()[1:-1]
    assert sorted(path.name for path in (out / "container").iterdir()) == sorted(
        ["Dockerfile", *copied]
    )


def test_a_server_that_does_not_start_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    (tmp_path / "serve.py").write_text("import torch\n")
    with (
        pytest.raises(ExportRefusedError, match="No module named 'torch'"),
        _language._serving(tmp_path, context=64),
    ):
        pass


def test_a_wheel_answers_lines_as_the_container_would(tmp_path: Path) -> None:
    student = write_classifier(tmp_path / "student", an_ngram())
    out = export(student, tmp_path / "out", config=asked("container", name="bank")).path
    assert made(out).verdict == "not_built"
    folder = out / "container"
    text = (folder / "Dockerfile").read_text()
    numpy = importlib.metadata.version("numpy")
    wheel = "bank-1.0.0-py3-none-any.whl"
    assert f"RUN pip install --no-cache-dir numpy=={numpy} /app/{wheel}\n" in text
    command = json.loads(text.splitlines()[-1].removeprefix("ENTRYPOINT "))
    done = subprocess.run(
        [sys.executable, *command[1:]],
        env={"PYTHONPATH": str(folder / wheel)},
        input="my card is lost\nwhat is the exchange rate\n",
        capture_output=True,
        text=True,
        check=True,
    )
    found = [json.loads(line)["label"] for line in done.stdout.splitlines()]
    assert found == ["card", "rate"]


def test_a_server_that_others_reach_asks_for_a_key() -> None:
    program = Path(_language.__file__).with_name("_serve.py")
    done = subprocess.run(
        [sys.executable, str(program)], env={}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "0.0.0.0 is reached by other machines. Set API_KEY: docker run -e API_KEY=..."
    )
