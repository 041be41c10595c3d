import json
from pathlib import Path

import pytest
from cli_process import run_here, write_prompts

from stillhouse.artifacts import open_artifact
from stillhouse.cli._stages import _named_students
from stillhouse.errors import ConfigError


@pytest.fixture
def completions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    prompts = write_prompts(tmp_path / "p.jsonl")
    out = tmp_path / "completions"
    assert run_here(capsys, "collect", prompts, "--teacher", "fake:", "--out", out).code == 0
    return out


def test_prompts_become_a_verified_dataset(
    capsys: pytest.CaptureFixture[str], completions: Path, tmp_path: Path
) -> None:
    dataset = tmp_path / "dataset"
    ran = run_here(capsys, "curate", completions, "--out", dataset, "--json")
    assert ran.code == 0
    document = ran.json()
    assert (document["path"], document["kind"]) == (str(dataset), "dataset")
    assert document["counts"] == {"in": 6, "kept": 6, "dropped": {}}

    verified = run_here(capsys, "verify", dataset, "--json").json()["artifacts"]
    assert [entry["kind"] for entry in verified] == ["completions", "dataset"]
    assert "verified" in run_here(capsys, "verify", dataset).out


def test_a_changed_byte_fails_verification(
    capsys: pytest.CaptureFixture[str], completions: Path
) -> None:
    data_file = next(completions.glob("completions-*.parquet"))
    content = bytearray(data_file.read_bytes())
    content[len(content) // 2] ^= 1
    data_file.write_bytes(content)
    ran = run_here(capsys, "verify", completions)
    assert (ran.code, ran.out) == (2, "")
    assert f"error: {data_file} has changed" in ran.err


def test_flags_and_set_reach_the_stage_and_its_manifest(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    prompts = write_prompts(tmp_path / "p.jsonl")
    flags = ["--teacher", "fake:", "--temperature", "0.5", "--set", "sampling.top_p=0.9"]
    assert run_here(capsys, "collect", prompts, "--out", tmp_path / "c", *flags).code == 0
    manifest = open_artifact(tmp_path / "c").manifest
    assert manifest.config_given == {"sampling": {"temperature": 0.5, "top_p": 0.9}}
    assert manifest.config["sampling"]["top_p"] == 0.9


def test_the_next_command_is_named(capsys: pytest.CaptureFixture[str], completions: Path) -> None:
    ran = run_here(capsys, "curate", completions, "--out", completions.parent / "d")
    assert ran.err.endswith(
        f"next: stillhouse capture {completions.parent / 'd'} --completions {completions}\n"
    )


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str], completions: Path) -> None:
    out = completions.parent / "d"
    ran = run_here(capsys, "curate", completions, "--out", out, "--quiet")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_quiet_json_is_one_document_and_nothing_else(
    capsys: pytest.CaptureFixture[str], completions: Path
) -> None:
    out = completions.parent / "d"
    ran = run_here(capsys, "curate", completions, "--out", out, "--quiet", "--json")
    assert json.loads(ran.out)["kind"] == "dataset"
    assert ran.err == ""


def test_another_output_is_replaced_only_by_force(
    capsys: pytest.CaptureFixture[str], completions: Path
) -> None:
    out = completions.parent / "d"
    assert run_here(capsys, "curate", completions, "--out", out).code == 0
    changed = ["curate", completions, "--out", out, "--set", "min_chars=2"]
    refused = run_here(capsys, *changed)
    assert refused.code == 2
    assert "--force" in refused.err
    assert run_here(capsys, *changed, "--force").code == 0
    assert open_artifact(out).manifest.config["min_chars"] == 2


def test_too_many_failures_exit_with_3(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    prompts = write_prompts(tmp_path / "p.jsonl")
    out = tmp_path / "c"
    ran = run_here(
        capsys,
        "collect",
        prompts,
        "--teacher",
        "fake:?fail_every=2",
        "--out",
        out,
        "--set",
        "access.max_tries=1",
    )
    assert ran.code == 3
    assert not (out / "manifest.json").exists()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["collect", "none.jsonl"], ["none.jsonl", "does not exist"]),
        (["collect", "p.jsonl", "--teacher", "fake"], ["'fake'", "fake:"]),
        (["collect", "p.jsonl", "--temperature", "9"], ["sampling.temperature", "9.0", "5"]),
        (
            ["collect", "p.jsonl", "--set", "sampling.temprature=1"],
            ["sampling.temprature", "Did you mean temperature?", "max_tokens"],
        ),
        (["collect", "p.jsonl", "--set", "sampling"], ["NAME=VALUE"]),
        (
            ["collect", "p.jsonl", "--max-tokens", "3", "--set", "sampling.max_tokens=4"],
            ["sampling.max_tokens is given twice"],
        ),
        (["collect", "bad.jsonl"], ["bad.jsonl", "line 2"]),
        (["curate", "."], ["manifest.json"]),
        (["train", ".", "--set", "sed=1"], ["sed", "Did you mean seed?"]),
        (["evaluate", ".", "a", "x/a"], ["Two students are called 'a'"]),
    ],
)
def test_mistakes_are_one_line_with_what_was_given_and_what_to_do(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    parts: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_prompts(tmp_path / "p.jsonl")
    (tmp_path / "bad.jsonl").write_text('{"prompt": "fine"}\n{"promt": "misspelt"}\n')
    ran = run_here(capsys, *arguments)
    assert ran.code == 2
    assert ran.out == ""
    errors = [line for line in ran.err.splitlines() if line.startswith("error: ")]
    assert errors == ran.err.splitlines()[-1:]
    assert [part for part in parts if part not in errors[0]] == []
    assert {path.name for path in tmp_path.iterdir()} == {"p.jsonl", "bad.jsonl"}


def test_students_are_named_by_their_folder_unless_told(tmp_path: Path) -> None:
    odd = tmp_path / "a=b"
    odd.mkdir()
    named = _named_students(["runs/small", "big=runs/x", str(odd)])
    assert named == {"small": Path("runs/small"), "big": Path("runs/x"), "a=b": odd}


def test_two_students_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="NAME=DIR"):
        _named_students(["a", "a=b"])
