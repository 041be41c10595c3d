"""What a collection on Ray refuses before anything starts, and who does without Ray."""

import subprocess
import sys
from pathlib import Path

import pytest

from stillhouse.collect import CollectConfig, collect
from stillhouse.errors import ConfigError
from stillhouse.records import Message, Prompt
from stillhouse.teachers import open_teacher

PROMPTS = [Prompt(id="p", messages=(Message(role="user", content="question"),))]
WITHOUT_RAY = """
import sys
sys.modules["ray"] = None  # as where it is not installed
from stillhouse.cli._main import run_command
sys.exit(run_command(sys.argv[1:]))
"""


def test_batches_are_refused(tmp_path: Path) -> None:
    config = CollectConfig.model_validate({"engine": "ray", "access": {"tier": "batch"}})
    with pytest.raises(ConfigError, match="do not go together"):
        collect(PROMPTS, tmp_path / "out", teacher="openai:m", config=config)
    assert list(tmp_path.iterdir()) == []


def test_a_teacher_that_is_open_already_is_refused(tmp_path: Path) -> None:
    with (
        open_teacher("fake:") as teacher,
        pytest.raises(ConfigError, match="Give a spec, not a teacher"),
    ):
        collect(PROMPTS, tmp_path / "out", teacher=teacher, config=CollectConfig(engine="ray"))
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_address_leaves_nothing_behind(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    there = {"address": "ray://localhost:10001"}
    config = CollectConfig.model_validate({"engine": "ray", "ray": there})
    with pytest.raises(ConfigError, match=r"ray\.address"):
        collect(PROMPTS, tmp_path / "out", teacher="fake:", config=config)
    assert list(tmp_path.iterdir()) == []


def test_without_ray_one_line_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "question"}\n')
    arguments = ["collect", "prompts.jsonl", "--teacher", "fake:", "--engine", "ray"]
    command = [sys.executable, "-c", WITHOUT_RAY, *arguments]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "engine=ray needs Ray: pip install 'stillhouse[ray]'." in ran.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["prompts.jsonl"]


def test_the_engine_is_no_part_of_what_an_artefact_is_made_of() -> None:
    spread = CollectConfig.model_validate({"engine": "ray", "ray": {"workers": 3}})
    assert spread.identity() == CollectConfig().identity()


def test_a_local_collection_does_not_load_ray(tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "question"}\n')
    code = (
        "import sys; from stillhouse.cli._main import run_command\n"
        "code = run_command(['collect', 'prompts.jsonl', '--teacher', 'fake:'])\n"
        "sys.exit(code or 'ray' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False)
    assert ran.returncode == 0
