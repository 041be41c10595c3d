"""A whole run on a tiny model: every stage is the real one."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_process import run_here, write_prompts
from tiny_model import make_tiny_model

from stillhouse.artifacts import open_artifact
from stillhouse.errors import ConfigError, LogprobsUnavailableError
from stillhouse.evaluate import read_results
from stillhouse.pipeline import RunConfig, RunOutcome, StageEnd, run
from stillhouse.provenance import verify
from stillhouse.runlog import Progress

STAGES = ["collect", "curate", "capture", "train student", "train plain", "evaluate"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model, prompts and a config for both."""
    folder = tmp_path_factory.mktemp("project")
    make_tiny_model(folder / "model")
    write_prompts(folder / "p.jsonl", num_train=6, num_held_out=4)
    return folder


def _settings(project: Path, **changes: Any) -> dict[str, Any]:
    student = {"base": f"local:{project / 'model'}", "keep_layers": 2, "epochs": 1, "batch_size": 4}
    return {
        "title": "Tiny",
        "teacher": f"local:{project / 'model'}",
        "prompts": "p.jsonl",
        "collect": {"sampling": {"temperature": 0.0, "max_tokens": 8, "top_logprobs": 4}},
        "curate": {"drop_truncated": False, "drop_looping": False, "deduplicate": False},
        "capture": {"top_k": 4},
        "students": {
            "student": {**student, "objective": "forward_kl"},
            "plain": {**student, "objective": "sft"},
        },
        "evaluate": {"num_samples": 2, "speed_prompts": 2, "speed_tokens": 2, "num_resamples": 100},
        **changes,
    }


def _run(project: Path, out: Path, settings: dict[str, Any], **listeners: Any) -> RunOutcome:
    config = RunConfig.model_validate(settings)
    return run(config, out, config_dir=project, **listeners)


@pytest.fixture(scope="module")
def finished(project: Path) -> Path:
    out = project / "out"
    _run(project, out, _settings(project))
    return out


def test_a_run_leaves_every_artefact_a_ledger_and_a_report(project: Path, tmp_path: Path) -> None:
    ends: list[StageEnd] = []
    told: list[Progress] = []
    outcome = _run(
        project, tmp_path, _settings(project), on_stage=ends.append, on_progress=told.append
    )
    assert [end.name for end in ends] == list(outcome.artifacts) == STAGES
    assert outcome.skipped == ()
    # Whatever a stage calls itself, its progress comes under the run's name for it.
    assert list(dict.fromkeys(progress.stage for progress in told)) == STAGES
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == [
        "completions",
        "dataset",
        "evaluation",
        "signal",
        "students",
    ]
    assert (tmp_path / "ledger.sqlite").is_file()
    assert outcome.report_path.read_text(encoding="utf-8").startswith("<!")
    names = {model.name for model in read_results(outcome.results_path).models}
    assert {"teacher", "student", "plain"} < names


def test_everything_a_run_left_verifies(finished: Path) -> None:
    kinds = [entry.kind for entry in verify(finished / "evaluation").artifacts]
    assert sorted(kinds) == [
        "completions",
        "dataset",
        "evaluation",
        "signal",
        "student",
        "student",
    ]


def test_an_unchanged_run_skips_every_stage(project: Path, finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("manifest.json")}
    outcome = _run(project, finished, _settings(project))
    assert list(outcome.skipped) == STAGES
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("manifest.json")} == before


def test_only_what_a_change_touches_is_done_again(project: Path, finished: Path) -> None:
    settings = _settings(project)
    settings["students"]["plain"]["seed"] = 5
    outcome = _run(project, finished, settings)
    assert [name for name in STAGES if name not in outcome.skipped] == ["train plain", "evaluate"]
    back = _run(project, finished, _settings(project))
    assert [name for name in STAGES if name not in back.skipped] == ["train plain", "evaluate"]


def test_a_manifest_says_what_the_user_set_and_nothing_else(finished: Path) -> None:
    given = open_artifact(finished / "signal").manifest.config_given
    assert given == {"top_k": 4}


def test_prompts_are_limited_by_split_in_their_order(project: Path, tmp_path: Path) -> None:
    from stillhouse.records import Prompt

    settings = _settings(project, max_train_prompts=3, max_held_out_prompts=2)
    with pytest.raises(_Stop):
        _run(project, tmp_path, settings, on_stage=_stop)
    prompts = open_artifact(tmp_path / "completions").rows("prompts", Prompt)
    assert [prompt.split for prompt in prompts] == ["train"] * 3 + ["held_out"] * 2


def test_a_teacher_that_only_answers_in_text_is_refused_before_anything_is_asked(
    project: Path, tmp_path: Path
) -> None:
    settings = _settings(project, teacher="http://localhost:9/v1#m")
    with pytest.raises(LogprobsUnavailableError, match="local:FOLDER"):
        _run(project, tmp_path / "out", settings)
    assert not (tmp_path / "out").exists()


def test_a_run_without_held_out_prompts_is_refused_before_anything_is_asked(
    project: Path, tmp_path: Path
) -> None:
    write_prompts(tmp_path / "p.jsonl", num_held_out=0)
    with pytest.raises(ConfigError, match="no held_out prompts"):
        _run(tmp_path, tmp_path / "out", _settings(project))
    assert not (tmp_path / "out").exists()


def test_the_command_runs_a_config_and_shows_the_comparison(
    project: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = project / "c.yaml"
    config.write_text(yaml.safe_dump(_settings(project), sort_keys=False))
    ran = run_here(capsys, "run", config, "--out", finished)
    assert ran.code == 0
    assert "KL to teacher, nats" in ran.out
    assert str(finished / "evaluation" / "report.html") in ran.out
    assert "collect: unchanged, skipped" in ran.err

    again = run_here(capsys, "run", config, "--out", finished, "--json", "--quiet")
    document = again.json()
    assert document["skipped"] == STAGES
    assert list(document["artifacts"]) == STAGES
    assert document["results"]["title"] == "Tiny"
    assert again.err == ""


def test_a_student_can_be_asked_in_the_terminal(
    finished: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = run_here(
        capsys,
        "chat",
        finished / "students" / "student",
        "--beside",
        f"local:{project / 'model'}",
        "--prompt",
        "Hello",
        "--max-tokens",
        "4",
        "--json",
    )
    assert ran.code == 0
    assert 1 <= ran.json()["student"]["usage"]["completion_tokens"] <= 4
    assert ran.json()["teacher"]["model"] != ran.json()["student"]["model"]


def test_single_commands_make_the_student_that_the_run_made(
    finished: Path, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = f"local:{project / 'model'}"
    sampling = ["--temperature", 0, "--max-tokens", 8, "--top-logprobs", 4]
    kept = ["--set", "drop_truncated=false", "--set", "drop_looping=false"]
    kept += ["--set", "deduplicate=false"]
    shape = ["--base", model, "--layers", 2, "--epochs", 1, "--batch-size", 4]
    c, d, s, m = (tmp_path / name for name in "cdsm")
    commands: list[list[object]] = [
        ["collect", project / "p.jsonl", "--teacher", model, "--out", c, *sampling],
        ["curate", c, "--out", d, *kept],
        ["capture", d, "--teacher", model, "--completions", c, "--out", s, "--top-k", 4],
        ["train", d, "--signal", s, "--out", m, "--objective", "forward_kl", *shape],
        ["evaluate", d, f"small={m}", "--teacher", model, "--out", tmp_path / "e"],
    ]
    for command in commands:
        ran = run_here(capsys, *command)
        assert (ran.code, "next: " in ran.err) == (0, True), ran.err
    weights = [folder / "model.safetensors" for folder in (m, finished / "students" / "student")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert (tmp_path / "e" / "report.html").is_file()


class _Stop(Exception):
    pass


def _stop(end: StageEnd) -> None:
    raise _Stop
