import subprocess
import sys
from pathlib import Path

import pytest
from cli_process import run_here
from export_cases import small_student
from fit_cases import LABELS, a_dataset, rows_of
from label_students import TARGETS, TEXTS, an_ngram, write_classifier

from stillhouse.classifiers import fit_ngram
from stillhouse.cli._export import Format
from stillhouse.export import EXPORTERS

QUICK = ("--set", "positions=64", "--set", "f16.min_top1=0.9", "--set", "f16.max_mean_kl=0.005")


def test_the_command_offers_every_format() -> None:
    assert {given.value for given in Format} == {
        name for formats in EXPORTERS.values() for name in formats
    }


def test_people_read_what_was_measured(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny_folder: Path
) -> None:
    student = small_student(tmp_path / "student", tiny_folder)
    out = tmp_path / "out"
    ran = run_here(capsys, "export", student, "--out", out, "--format", "safetensors", *QUICK)
    assert ran.code == 0
    assert f"export in {out}: 1 format\n" in ran.out
    assert "kB, verified\n" in ran.out
    assert "  identical_conversations: 392, n = 392\n" in ran.out
    assert "  mean_kl_nats: 0 [" in ran.out
    assert f"next: stillhouse verify {out}" in ran.err
    assert run_here(capsys, "verify", out).code == 0


def test_programs_read_one_document(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    student = write_classifier(tmp_path / "student", an_ngram())
    words = ("export", student, "--out", tmp_path / "out", "--format", "wheel")
    ran = run_here(capsys, *words, "--format", "container", "--json")
    assert ran.code == 0
    document = ran.json()
    assert document["kind"] == "export"
    assert document["results"]["formats"]["wheel"]["verdict"] == "verified"
    assert document["results"]["formats"]["container"]["verdict"] == "not_built"
    again = run_here(capsys, *words)
    assert again.code == 2
    assert "--force to replace it" in again.err
    assert run_here(capsys, *words, "--force").code == 0


def test_the_metric_stands_with_its_interval_and_what_would_settle_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    student = write_classifier(tmp_path / "student", fit_ngram(TEXTS, TARGETS, labels=LABELS))
    rows = [row.model_copy(update={"split": "held_out"}) for row in rows_of(60, noise=0.2)[0]]
    a_dataset(tmp_path / "dataset", rows)
    words = ("export", student, "--out", tmp_path / "out", "--format", "wheel")
    ran = run_here(capsys, *words, "--data", tmp_path / "dataset")
    (line,) = [line for line in ran.out.splitlines() if "agreement" in line]
    assert "n = 60, inconclusive (n = " in line
    assert "would settle it)" in line


def test_a_refused_export_is_one_line_and_leaves_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny_folder: Path
) -> None:
    student = small_student(tmp_path / "student", tiny_folder)
    out = tmp_path / "out"
    strict = ("--set", "f16.max_mean_kl=1e-30", "--set", "f16.min_top1=0", "--set", "positions=64")
    ran = run_here(capsys, "export", student, "--out", out, "--format", "gguf-f16", *strict)
    assert ran.code == 2
    (line,) = [line for line in ran.err.splitlines() if "mean_kl_nats is" in line]
    assert "at most 1e-30 is allowed. Nothing was exported." in line
    assert not out.exists()


def test_no_format_and_an_unknown_one_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run_here(capsys, "export", tmp_path).code == 2
    ran = run_here(capsys, "export", tmp_path, "--format", "pickle")
    assert ran.code == 2
    assert "'pickle' is not one of 'gguf-f16'" in ran.err


def test_a_student_of_n_grams_is_exported_without_torch(tmp_path: Path) -> None:
    student = write_classifier(tmp_path / "student", an_ngram())
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from stillhouse.export import ExportConfig, export\n"
        f"student, out = Path({str(student)!r}), Path({str(tmp_path / 'out')!r})\n"
        "export(student, out, config=ExportConfig(formats=('wheel', 'container')))\n"
        "print(sorted({'torch', 'transformers', 'onnxruntime', 'xllamacpp'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
