"""Faults that peers trained on are refused before the first step, and sound runs are not."""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cli_process import run_here
from preflight_faults import FAULTS, rows_of, with_dataset, write_rows
from tiny_chain import KEEP_EVERYTHING, SAMPLING, Chain, prompts, settings, write_dataset
from tiny_model import END_OF_TURN_ID, make_tiny_model
from watermark_cases import signed_profile

from stillhouse.artifacts import open_artifact
from stillhouse.collect import CaptureConfig, CollectConfig, capture, collect
from stillhouse.curate import curate
from stillhouse.errors import DataError, PreflightError, StillhouseError
from stillhouse.models import LanguageModel, load_model
from stillhouse.train import PreflightConfig, TrainConfig, preflight, train
from stillhouse.train._preflight import run_checks
from stillhouse.train._preflight_checks import Subject
from stillhouse.train._preflight_teacher import check_teacher
from stillhouse.train._rows import TrainingRow, training_rows

torch.set_num_threads(1)

SECONDS = 10.0


@pytest.mark.parametrize("name", FAULTS)
def test_a_seeded_fault_is_refused_in_one_line(chain: Chain, name: str, tmp_path: Path) -> None:
    fault = FAULTS[name]
    dataset, signal, config = fault.seed(chain, tmp_path)
    started_s = time.process_time()  # others may use the machine too
    report = preflight(dataset, config=config, signal=signal)
    assert time.process_time() - started_s < SECONDS
    with pytest.raises(PreflightError, match=fault.message) as caught:
        report.require()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", FAULTS)
def test_training_on_a_seeded_fault_writes_nothing(chain: Chain, name: str, tmp_path: Path) -> None:
    dataset, signal, config = FAULTS[name].seed(chain, tmp_path)
    with pytest.raises(StillhouseError):
        train(dataset, tmp_path / "student", config=config, signal=signal)
    assert not (tmp_path / "student").exists()


CODECS = ("topk", "adaptive", "sampled", "actual", "hidden")


@pytest.mark.parametrize("seed", range(20))
def test_a_sound_run_raises_no_alarm(tiny_folder: Path, seed: int, tmp_path: Path) -> None:
    spec = f"local:{tiny_folder}"
    sampling = SAMPLING.model_copy(
        update={
            "seed": seed,
            "temperature": (0.0, 0.7, 1.0, 1.0)[seed % 4],
            "top_p": (1.0, 0.9)[seed % 3 == 1],
            "max_tokens": 12 + 4 * (seed % 3),
            "top_logprobs": 16 * (seed % 2),
        }
    )
    completions, dataset, signal = (tmp_path / name for name in ("completions", "data", "signal"))
    collect(
        prompts()[seed % 3 : 24], completions, teacher=spec, config=CollectConfig(sampling=sampling)
    )
    curate(completions, dataset, config=KEEP_EVERYTHING)
    config = CaptureConfig(top_k=16, codec=CODECS[seed % len(CODECS)])
    capture(dataset, signal, teacher=spec, config=config, completions=completions)
    report = preflight(dataset, config=TrainConfig(base=spec, keep_layers=2), signal=signal)
    assert report.problems == []
    assert report.measured["likelihood (teacher)"] < 0.5


def test_text_that_was_not_the_teachers_own_tokens_raises_no_alarm(
    chain: Chain, tmp_path: Path
) -> None:
    dataset = write_dataset(tmp_path / "dataset", chain.teacher)
    report = preflight(dataset.path, config=settings(chain, objective="sft"))
    assert report.problems == []
    assert report.measured["likelihood (teacher)"] > 5.0


def test_text_that_a_green_list_bent_raises_no_alarm(chain: Chain, tmp_path: Path) -> None:
    tokenizer = load_model(chain.model_dir).chat.vocabulary_sha256
    keys = tmp_path / "keys"
    path, _ = signed_profile(
        keys, tokenizer_sha256=tokenizer, scheme="kgw", parameters={"gamma": 0.01, "delta": 12.0}
    )
    mark = f"watermark={path}&watermark_key={keys / 'mark.watermark-key'}"
    config = CollectConfig(sampling=SAMPLING)
    collect(prompts(), tmp_path / "marked", teacher=f"{chain.teacher}?{mark}", config=config)
    curate(tmp_path / "marked", tmp_path / "dataset", config=KEEP_EVERYTHING)
    learn = settings(chain, objective="sft")
    assert preflight(tmp_path / "dataset", config=learn).problems == []
    # The same text whose record does not say that it was marked.
    plain = write_rows(chain, tmp_path / "plain", rows_of(tmp_path / "dataset"))
    (problem,) = preflight(plain.path, config=learn).problems
    assert "less likely than a teacher finds its own text" in problem


def test_a_template_with_a_line_break_before_its_end_of_turn_raises_no_alarm(
    chain: Chain, tmp_path: Path
) -> None:
    teacher = closing_with_a_line_break(chain, tmp_path / "teacher")
    dataset = write_dataset(tmp_path / "dataset", teacher)
    config = settings(chain, objective="sft", base=teacher)
    newline = load_model(tmp_path / "teacher").chat.encode_pieces(["\n"])[0]
    read = training_rows(dataset, load_model(tmp_path / "teacher").chat)
    assert {row.encoded.completion_ids[-2:] for row in read} == {(*newline, END_OF_TURN_ID)}
    assert preflight(dataset.path, config=config).problems == []


def test_text_beyond_the_completion_is_refused_under_such_a_template_too(
    chain: Chain, tmp_path: Path
) -> None:
    teacher = closing_with_a_line_break(chain, tmp_path / "teacher")
    config = settings(chain, objective="sft", base=teacher)
    longer = with_dataset(
        chain,
        tmp_path,
        lambda row: row.model_copy(update={"completion": row.completion[:-1]}),
    )
    problems = preflight(longer.dataset, config=config).problems
    assert any("learn other text" in problem for problem in problems)


def closing_with_a_line_break(chain: Chain, folder: Path) -> str:
    """The same model, whose template writes a line break before it ends a turn."""
    shutil.copytree(chain.model_dir, folder)
    template = folder / "chat_template.jinja"
    before = template.read_text()
    template.write_text(before.replace("<|im_end|>", "\n<|im_end|>"))
    assert template.read_text() != before
    return f"local:{folder}"


def test_examples_that_the_base_cannot_read_are_not_scored(chain: Chain) -> None:
    few = subject(chain, load_model(chain.model_dir))
    long = replace(few.rows[0].encoded, ids=few.rows[0].encoded.ids * 200)
    assert len(long.ids) > few.student.context_tokens
    endless = replace(few.rows[0], encoded=long)
    mostly = replace(few, rows=[*[endless] * 500, few.rows[1]])
    assert mostly.sample == [few.rows[1]]
    with pytest.raises(DataError, match="no training example of at most"):
        _ = replace(few, rows=[endless]).sample


def test_a_teacher_that_answers_with_noise_is_refused(chain: Chain) -> None:
    noisy = load_model(chain.model_dir)
    noisy.network.train()
    for layer in noisy.network.model.layers:
        layer.self_attn.attention_dropout = 0.2
    torch.manual_seed(0)
    problems = [check.problem for check in check_teacher(subject(chain, noisy)) if check.problem]
    assert any("scores the same token twice" in problem for problem in problems)


def test_a_captured_signal_is_enough_without_the_teacher(chain: Chain) -> None:
    report = preflight(chain.dataset, config=settings(chain), signal=chain.signal)
    blind = run_checks(
        settings(chain),
        open_artifact(chain.dataset),
        open_artifact(chain.signal),
        without_revision(chain),
        list(rows(chain)),
    )
    assert "likelihood (signal)" in blind.measured
    assert "likelihood (teacher)" not in blind.measured
    assert report.measured.items() > blind.measured.items()


def test_the_teacher_may_be_named_where_the_base_is_another_model(
    chain: Chain, tmp_path: Path
) -> None:
    base = make_tiny_model(tmp_path / "base", layers=2, seed=3)
    config = settings(chain, base=f"local:{base}", keep_layers=None)
    assert (
        "likelihood (teacher)"
        not in preflight(chain.dataset, config=config, signal=chain.signal).measured
    )
    config = config.model_copy(update={"preflight": PreflightConfig(teacher=chain.teacher)})
    report = preflight(chain.dataset, config=config, signal=chain.signal)
    assert report.problems == []
    assert report.measured["signal against teacher"] < 1e-3


def test_checks_can_be_switched_off(chain: Chain, tmp_path: Path) -> None:
    dataset, signal, config = FAULTS["the top-k is renormalised"].seed(chain, tmp_path)
    off = config.model_copy(update={"preflight": PreflightConfig(texts=0)})
    assert preflight(dataset, config=off, signal=signal).checks == ()


def test_what_was_measured_is_in_the_students_manifest(chain: Chain, tmp_path: Path) -> None:
    student = train(
        chain.dataset, tmp_path / "s", config=settings(chain, epochs=0.25), signal=chain.signal
    )
    measured = student.manifest.results["preflight"]
    assert measured["repeated scoring"] < 1e-3
    assert abs(measured["likelihood (teacher)"]) < 0.5


def test_the_command_prints_every_check(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    ran = run_here(
        capsys,
        "preflight",
        chain.dataset,
        "--signal",
        chain.signal,
        "--base",
        chain.teacher,
        "--json",
    )
    assert ran.code == 0
    assert ran.json()["ok"] is True
    names = [check["name"] for check in ran.json()["checks"]]
    assert {"mask", "end of turn", "likelihood (signal)", "repeated scoring"} <= set(names)


def test_the_command_refuses_a_fault_in_one_line(
    chain: Chain, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    dataset, signal, config = FAULTS["the signal is shifted by one"].seed(chain, tmp_path)
    ran = run_here(
        capsys, "preflight", dataset, "--signal", signal, "--base", config.base, "--json"
    )
    assert ran.code == 2
    assert ran.json()["ok"] is False
    assert json.loads(ran.err)["error"]["type"] == "PreflightError"


def subject(chain: Chain, teacher: LanguageModel) -> Subject:
    return Subject(
        dataset=open_artifact(chain.dataset),
        signal=None,
        student=teacher,
        rows=list(rows(chain)),
        teacher=teacher,
        limits=PreflightConfig(),
    )


def rows(chain: Chain) -> Iterator[TrainingRow]:
    return training_rows(open_artifact(chain.dataset), load_model(chain.model_dir).chat)


def without_revision(chain: Chain) -> LanguageModel:
    """A base that nobody knows to be the teacher."""
    return replace(load_model(chain.model_dir), revision=None)
