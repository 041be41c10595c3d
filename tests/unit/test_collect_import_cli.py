import json
import re
from pathlib import Path

import pytest
from cli_process import run_here, run_there

from stillhouse.artifacts import open_artifact
from stillhouse.cli._import import ExportFormat
from stillhouse.collect._imports import FORMATS

FIXTURES = Path(__file__).parents[1] / "fixtures" / "imports"
DOCS = Path(__file__).parents[2] / "docs" / "import.md"


def test_every_format_can_be_asked_for() -> None:
    assert {entry.value for entry in ExportFormat} == {"auto", *FORMATS}


def test_an_export_becomes_a_verified_dataset(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out, dataset = tmp_path / "completions", tmp_path / "dataset"
    ran = run_here(capsys, "import", FIXTURES / "openai_stored.jsonl", "--out", out)
    assert ran.code == 0
    assert ran.out == f"completions in {out}: 4 of 4 kept, 69 tokens\n"
    assert ran.err.endswith(f"read as openai; scrubbed 3 EMAIL\nnext: stillhouse curate {out}\n")
    assert run_here(capsys, "curate", out, "--out", dataset).code == 0
    verified = run_here(capsys, "verify", dataset, "--json").json()["artifacts"]
    assert [entry["kind"] for entry in verified] == ["completions", "dataset"]


def test_flags_reach_the_stage_and_its_manifest(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    flags = ["--from", "plain", "--no-scrub", "--model", "m"]
    names = ["--set", "fields.prompt=question", "--set", "fields.completion=answer"]
    out = tmp_path / "out"
    ran = run_here(capsys, "import", FIXTURES / "plain.csv", "--out", out, *flags, *names, "--json")
    assert ran.json()["results"]["models"] == {"m": 2}
    manifest = open_artifact(out).manifest
    assert manifest.config_given == {
        "format": "plain",
        "model": "m",
        "scrub": False,
        "fields": {"prompt": "question", "completion": "answer"},
    }
    assert manifest.teacher is not None
    assert manifest.teacher.id == "m"


@pytest.mark.parametrize(
    ("content", "flags", "code", "message"),
    [
        ('{"prompt": "a"}\n', ["--from", "openai"], 3, "cannot be read as openai"),
        ('{"utterance": "a"}\n', [], 2, "looks like no export that is known"),
        ("\n", [], 2, "has no rows. Give an export"),
        ('{"prompt": "a"}\n', ["--set", "field.prompt=x"], 2, "fields"),
        ('{"prompt": "a"}\n', ["--from", "csv"], 2, "--from"),
    ],
)
def test_a_mistake_is_one_clear_line(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    content: str,
    flags: list[str],
    code: int,
    message: str,
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(content, encoding="utf-8")
    ran = run_here(capsys, "import", path, "--out", tmp_path / "out", *flags, "--json")
    error = json.loads(ran.err.strip().splitlines()[-1])["error"]
    assert (ran.code, ran.out) == (code, "")
    assert message in error["message"]


def test_the_commands_of_the_documentation_work(tmp_path: Path) -> None:
    text = DOCS.read_text(encoding="utf-8")
    commands = re.findall(r"^stillhouse (import .*)$", text, flags=re.MULTILINE)
    assert len(commands) >= 3
    for number, command in enumerate(commands):
        words = [
            str(FIXTURES / word) if (FIXTURES / word).is_file() else word
            for word in command.split()
        ]
        words[words.index("--out") + 1] = f"out-{number}"
        ran = run_there(*words, cwd=tmp_path)
        assert ran.code == 0, (command, ran.err)


def test_the_documentation_names_every_format() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert set(FORMATS) <= set(re.findall(r"^\| `([a-z-]+)` \|", text, flags=re.MULTILINE))
