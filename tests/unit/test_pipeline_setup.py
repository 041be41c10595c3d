"""`init` and `doctor`, as functions and as commands."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from cli_process import run_here

from stillhouse.collect import read_prompts
from stillhouse.errors import ConfigError
from stillhouse.pipeline import examine, init, read_config


def test_init_writes_a_config_that_a_run_accepts_and_prompts_of_both_splits(
    tmp_path: Path,
) -> None:
    config_path, prompts_path, schema_path = init(tmp_path / "new" / "project")
    config = read_config(config_path)
    prompts = read_prompts(config_path.parent / config.prompts)
    assert prompts_path == config_path.parent / config.prompts
    assert {prompt.split for prompt in prompts} == {"train", "held_out"}
    schema = json.loads(schema_path.read_text(encoding="utf-8"))
    jsonschema.validate(yaml.safe_load(config_path.read_text(encoding="utf-8")), schema)


def test_the_config_tells_editors_where_its_schema_is(tmp_path: Path) -> None:
    config_path, _, schema_path = init(tmp_path)
    first_line = config_path.read_text(encoding="utf-8").split("\n")[0]
    assert first_line == f"# yaml-language-server: $schema={schema_path.name}"


@pytest.mark.parametrize("name", ["stillhouse.yaml", "prompts.yaml", "stillhouse.schema.json"])
def test_init_overwrites_nothing_and_then_writes_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(ConfigError, match=f"{name} exists"):
        init(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_init_says_when_a_folder_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="cannot be written"):
        init(tmp_path / "file" / "project")


def test_the_init_command_names_the_next_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    ran = run_here(capsys, "init", tmp_path / "p")
    assert ran.code == 0
    assert ran.err == f"next: stillhouse run {tmp_path / 'p' / 'stillhouse.yaml'}\n"
    assert run_here(capsys, "init", tmp_path / "q", "--json").json()["files"][0].endswith(".yaml")


def test_every_check_that_is_not_ok_says_what_to_do(tmp_path: Path) -> None:
    checks = examine(tmp_path)
    assert len({check.name for check in checks}) == len(checks)
    assert [check for check in checks if check.status != "ok" and not check.advice] == []


def test_a_cache_that_cannot_be_written_fails_the_examination(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("STILLHOUSE_CACHE", str(tmp_path / "file" / "cache"))
    ran = run_here(capsys, "doctor", "--json")
    assert ran.code == 2
    checks = {check["name"]: check for check in ran.json()["checks"]}
    assert checks["cache"]["status"] == "fail"
    assert "STILLHOUSE_CACHE" in checks["cache"]["advice"]
    assert ran.json()["is_ready"] is False


def test_a_converted_teacher_is_found_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STILLHOUSE_CACHE", str(tmp_path))
    before = {check.name: check.found for check in examine(tmp_path)}
    assert "not yet" in before["converted teacher"]
    folder = tmp_path / "models" / "SmolLM2-135M-Instruct.Q4_1-0123456789ab"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    after = {check.name: check.found for check in examine(tmp_path)}
    assert after["converted teacher"] == "in the cache"


def test_the_key_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STILLHOUSE_CACHE", str(tmp_path))
    monkeypatch.setenv("STILLHOUSE_API_KEY", "sk-secret-1234")
    ran = run_here(capsys, "doctor")
    assert "STILLHOUSE_API_KEY is set" in ran.out
    assert "secret" not in ran.out + ran.err
