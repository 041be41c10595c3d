"""Every command that README and docs show is run, in the order in which a reader would."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from stillhouse.cli._app import build_app
from stillhouse.cli._settings import stage_settings
from stillhouse.collect import CaptureConfig, CollectConfig, ImportConfig
from stillhouse.settings import check_settings, parse_yaml
from stillhouse.train import TrainConfig

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PROMPTS = "\n".join(
    f'{{"prompt": "The town of {name} opened a bridge.", "split": "train"}}'
    for name in ("Aston", "Bedford", "Corby", "Dover")
)


STAGE_SETTINGS = {
    "collect": CollectConfig,
    "import": ImportConfig,
    "capture": CaptureConfig,
    "train": TrainConfig,
}


def documented_commands(path: Path) -> list[str]:
    """The lines that begin with `$ ` in the console blocks of a page."""
    blocks = re.findall(r"```console\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def shown_commands(path: Path) -> list[list[str]]:
    """What follows `stillhouse` in the code of a page: in blocks, and in the text with options."""
    text = path.read_text(encoding="utf-8")
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += [code for code in re.findall(r"`(stillhouse [^`]+)`", text) if "--" in code]
    starts = re.compile(r"(?:\$ |torchrun .*-m )?stillhouse (.*)", re.DOTALL)
    found = filter(None, map(starts.fullmatch, lines))
    return [shlex.split(match[1], comments=True) for match in found]


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


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_that_is_shown_is_one_that_the_command_line_takes(document: Path) -> None:
    app = build_app()
    for name, *words in shown_commands(document):
        if name == "--help":
            continue
        try:
            context = app.commands[name].make_context(name, words)
        except typer.Exit:  # an option that answers by itself, such as --schema
            continue
        assignments = context.params.get("settings")
        if assignments and name in STAGE_SETTINGS:
            check_settings(STAGE_SETTINGS[name], stage_settings({}, assignments), where=name)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_pictures_are_there_and_said_in_words(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for words, target in re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", text):
        assert len(words.split()) >= 5, target
        picture = document.parent / target
        assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n", target
        assert picture.stat().st_size < 250_000, target


def test_commands_are_found_however_they_are_shown(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Text with `stillhouse verify` and `stillhouse run\n--schema`.\n"
        "```sh\n# about it\nstillhouse train a \\\n    --out b  # with a comment\n```\n"
        "```console\n$ stillhouse doctor\n```\n"
        "```\ntorchrun --nproc-per-node 2 -m stillhouse train c\n```\n"
    )
    found = [["train", "a", "--out", "b"], ["doctor"], ["train", "c"], ["run", "--schema"]]
    assert shown_commands(page) == found
    assert shown_commands(ROOT / "docs" / "training.md")


def test_the_students_of_the_page_on_training_are_valid() -> None:
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert blocks
    for block in blocks:
        for name, settings in parse_yaml(block, where="docs/training.md")["students"].items():
            check_settings(TrainConfig, settings, where=name)


def test_the_modules_that_contributing_names_exist() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = [name for name in re.findall(r"`([\w/]+\.py)`", page) if "NAME" not in name]
    assert named
    for name in named:
        assert any((base / name).is_file() for base in (ROOT / "src" / "stillhouse", ROOT)), name


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
