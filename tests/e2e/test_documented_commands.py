"""Every command that README and docs show is run, in the order in which a reader would."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PROMPTS = "\n".join(
    f'{{"prompt": "The town of {name} opened a bridge.", "split": "train"}}'
    for name in ("Aston", "Bedford", "Corby", "Dover")
)


def documented_commands(path: Path) -> list[str]:
    """The lines that begin with `$ ` in the console blocks of a page."""
    blocks = re.findall(r"```console\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def is_make(command: str) -> bool:
    return command.startswith("make ")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documented_commands_are_of_two_kinds_only(document: Path) -> None:
    commands = documented_commands(document)
    assert [c for c in commands if not is_make(c) and not c.startswith("stillhouse ")] == []


def test_the_readme_opens_with_its_two_commands() -> None:
    assert documented_commands(ROOT / "README.md")[:2] == ["make demo", "make test"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documented_make_targets_exist(document: Path) -> None:
    for command in filter(is_make, documented_commands(document)):
        target = command.split()[1]
        done = subprocess.run(
            ["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"


def test_other_pages_show_only_commands_that_the_readme_test_runs() -> None:
    elsewhere = {
        command
        for document in DOCUMENTS
        if document.name != "README.md"
        for command in documented_commands(document)
        if not is_make(command)
    }
    assert elsewhere <= set(documented_commands(ROOT / "README.md"))


@pytest.mark.slow
@pytest.mark.weights
def test_the_commands_of_the_readme_work_as_shown(
    tmp_path: Path, user_environment: dict[str, str]
) -> None:
    (tmp_path / "prompts.jsonl").write_text(PROMPTS, encoding="utf-8")
    bin_dir = str(Path(sys.executable).parent)
    environment = {**user_environment, "PATH": bin_dir + os.pathsep + user_environment["PATH"]}
    commands = [c for c in documented_commands(ROOT / "README.md") if not is_make(c)]
    assert len(commands) >= 8
    for command in commands:
        done = subprocess.run(
            shlex.split(command),
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}\n{done.stderr}"
