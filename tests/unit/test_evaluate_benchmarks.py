"""Standard benchmarks through lm-evaluation-harness, on local tasks and small models."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import benchmark_cases
import numpy as np
import pytest
import torch
from tiny_model import make_tiny_model

from stillhouse.artifacts import Artifact, check_files, open_artifact, read_rows
from stillhouse.errors import ConfigError, DataError, IntegrityError
from stillhouse.evaluate._benchmarks import (
    BenchmarkResult,
    BenchmarkResults,
    BenchmarkRow,
    BenchmarksConfig,
    benchmarks,
    read_benchmark_results,
)
from stillhouse.models import GenerationJob, LanguageModel, generate, load_model
from stillhouse.runlog import Progress
from stillhouse.statistics import compare_paired_binary

pytest.importorskip("lm_eval")


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return benchmark_cases.make_tasks(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("base-model"), seed=1)


@pytest.fixture(scope="module")
def model(tiny_folder: Path) -> LanguageModel:
    return load_model(tiny_folder)


def config(*tasks: str, **changes: Any) -> BenchmarksConfig:
    return BenchmarksConfig(tasks=tasks, **changes)


@pytest.fixture(scope="module")
def artifact(
    tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path, base_folder: Path, tasks: Path
) -> Artifact:
    return benchmarks(
        tiny_folder,
        tmp_path_factory.mktemp("run") / "out",
        base=base_folder,
        include=tasks,
        config=config("quiz", "write", "stream", clusters={"quiz": "page"}),
    )


def results_of(artifact: Artifact) -> BenchmarkResults:
    return read_benchmark_results(artifact.file("results.json"))


def rows_of(artifact: Artifact, **wanted: str) -> list[BenchmarkRow]:
    rows = read_rows(artifact.file("items-00000.parquet"), BenchmarkRow)
    return [row for row in rows if all(getattr(row, name) == wanted[name] for name in wanted)]


def metric_of(results: BenchmarkResults, task: str, metric: str) -> BenchmarkResult:
    (found,) = [one for one in results.tasks if (one.task, one.metric) == (task, metric)]
    return found


@torch.inference_mode()
def naive_choices(model: LanguageModel, context: str, *, delimiter: str = " ") -> list[float]:
    """Log-probability of each choice behind a context, one row at a time, in float64."""
    scores = []
    for choice in benchmark_cases.CHOICES:
        (head,) = model.chat.encode_pieces([context.rstrip()])
        (whole,) = model.chat.encode_pieces([context + delimiter + choice])
        logits = model.network(input_ids=torch.tensor([whole[:-1]])).logits[0].double()
        logprobs = torch.log_softmax(logits, dim=1)
        places = range(len(head), len(whole))
        scores.append(sum(float(logprobs[place - 1, whole[place]]) for place in places))
    return scores


def test_each_choice_scores_what_it_scores_alone(artifact: Artifact, model: LanguageModel) -> None:
    rows = rows_of(artifact, model=model.name, task="quiz", metric="acc")
    assert len(rows) == 40
    for row, item in zip(rows, benchmark_cases.items(40), strict=True):
        wanted = naive_choices(model, item["question"])
        found = [nats for nats, _ in json.loads(row.answer)]
        np.testing.assert_allclose(found, wanted, atol=1e-4)
        assert row.score == float(int(np.argmax(wanted)) == item["answer"])
        assert (row.item, row.target, row.group) == (
            int(item["question"].split()[1][:-1]), str(item["answer"]), item["page"],
        )  # fmt: skip


def test_generated_answers_are_greedy_and_end_at_the_stop(
    artifact: Artifact, model: LanguageModel
) -> None:
    rows = rows_of(artifact, model=model.name, task="write")
    prompts = [model.chat.encode_pieces([one["question"]])[0] for one in benchmark_cases.items(40)]
    jobs = iter(
        [
            GenerationJob(key=str(index), prompt_ids=ids, max_tokens=9)
            for index, ids in enumerate(prompts)
        ]
    )
    done = generate(
        model,
        lambda limit: [job for _, job in zip(range(limit), jobs)],  # noqa: B905
        num_ids=len(model.chat.text_bytes),
    )
    texts = {
        int(item.key): model.chat.decode_completion(item.ids.tolist())[0]
        for group in done
        for item in group
    }
    assert [row.answer for row in rows] == [texts[row.item].split("e")[0] for row in rows]
    assert any("e" in text for text in texts.values())


def test_figures_and_verdicts_are_those_of_the_rows(
    artifact: Artifact, model: LanguageModel
) -> None:
    results = results_of(artifact)
    assert results.base is not None
    acc_norm = metric_of(results, "quiz", "acc_norm")
    ours = rows_of(artifact, model=model.name, task="quiz", metric="acc_norm")
    theirs = rows_of(artifact, model=results.base.name, task="quiz", metric="acc_norm")
    wanted = compare_paired_binary(
        [row.score for row in ours],
        [row.score for row in theirs],
        margin=0.02,
        clusters=[row.group for row in ours],
        seed=1234,
    )
    assert acc_norm.comparison is not None
    assert acc_norm.comparison.verdict == wanted.verdict
    assert acc_norm.comparison.difference.low == pytest.approx(wanted.difference.low)
    assert acc_norm.student.value == pytest.approx(np.mean([row.score for row in ours]))
    assert (acc_norm.student.n, acc_norm.student.num_clusters) == (40, 10)
    assert not acc_norm.is_main
    assert metric_of(results, "quiz", "acc").is_main
    assert metric_of(results, "quiz", "acc").version == "2"


def test_a_metric_without_scores_of_items_is_named_and_not_shown(artifact: Artifact) -> None:
    results = results_of(artifact)
    assert results.not_scored == ("stream: word_perplexity",)
    assert "stream" not in {one.task for one in results.tasks}


def test_the_artefact_says_what_was_measured(
    artifact: Artifact, tiny_folder: Path, base_folder: Path
) -> None:
    check_files(artifact)
    manifest = artifact.manifest
    assert (manifest.kind, manifest.stage) == ("evaluation", "benchmarks")
    assert manifest.config["student"]["source"] == str(tiny_folder)
    assert manifest.config["base"]["revision"] == load_model(base_folder).revision
    assert sorted(manifest.config["include"])[-3:] == ["quiz.yaml", "stream.yaml", "write.yaml"]
    assert manifest.results["verdict"] == results_of(artifact).verdict
    assert manifest.results["tasks"] == 2
    assert manifest.counts.kept == 80
    results = results_of(artifact)
    assert [one.num_requests for one in results.models] == [3 * 40 + 40 + 40] * 2
    assert [one.num_truncated for one in results.models] == [0, 0]


def test_the_same_run_again_is_read_and_not_made(
    artifact: Artifact, tiny_folder: Path, base_folder: Path, tasks: Path
) -> None:
    again = benchmarks(
        tiny_folder,
        artifact.path,
        base=base_folder,
        include=tasks,
        config=config("quiz", "write", "stream", clusters={"quiz": "page"}),
        on_progress=lambda progress: pytest.fail(f"asked again: {progress}"),
    )
    assert again.manifest_sha256 == artifact.manifest_sha256


def test_a_changed_task_is_measured_anew(tmp_path: Path, tiny_folder: Path) -> None:
    tasks = benchmark_cases.make_tasks(tmp_path / "tasks", number=12)
    first = benchmarks(tiny_folder, tmp_path / "out", include=tasks, config=config("quiz"))
    benchmark_cases.make_tasks(tasks, number=15)
    with pytest.raises(ConfigError, match="out"):
        benchmarks(tiny_folder, tmp_path / "out", include=tasks, config=config("quiz"))
    again = benchmarks(
        tiny_folder, tmp_path / "out", include=tasks, config=config("quiz"), replace=True
    )
    assert (first.manifest.counts.kept, again.manifest.counts.kept) == (12, 15)


class StoppedError(Exception):
    """What stands for a kill."""


def test_a_model_that_was_measured_before_a_stop_is_not_measured_again(
    tmp_path: Path, tiny_folder: Path, base_folder: Path, tasks: Path, artifact: Artifact
) -> None:
    told: list[Progress] = []

    def stop_in_the_second(progress: Progress) -> None:
        told.append(progress)
        if sum(one.done == 0 for one in told) == 2:
            raise StoppedError

    settings: dict[str, Any] = {
        "base": base_folder,
        "include": tasks,
        "config": config("quiz", clusters={"quiz": "page"}),
    }
    with pytest.raises((StoppedError, ConfigError)):
        benchmarks(tiny_folder, tmp_path / "out", on_progress=stop_in_the_second, **settings)
    with pytest.raises(IntegrityError, match="unfinished"):
        open_artifact(tmp_path / "out")
    told.clear()
    resumed = benchmarks(tiny_folder, tmp_path / "out", on_progress=told.append, **settings)
    assert sum(one.done == 0 for one in told) == 1  # the base alone
    wanted = [row for row in rows_of(artifact) if row.task == "quiz"]
    assert rows_of(resumed) == wanted
    assert not (tmp_path / "out" / ".work").exists()


def test_without_a_base_there_are_figures_and_no_verdict_word(
    tmp_path: Path, tiny_folder: Path, tasks: Path
) -> None:
    artifact = benchmarks(
        tiny_folder, tmp_path / "out", include=tasks, config=config("quiz", max_items=7)
    )
    results = results_of(artifact)
    assert results.base is None
    assert {one.comparison for one in results.tasks} == {None}
    assert metric_of(results, "quiz", "acc").student.n == 7
    assert results.verdict.startswith(f"{tiny_folder.name}: quiz acc ")


def test_solved_examples_stand_in_front_of_each_item(
    tmp_path: Path, tiny_folder: Path, tasks: Path
) -> None:
    settings = config("quiz", max_items=3, num_fewshot=2)
    artifact = benchmarks(tiny_folder, tmp_path / "out", include=tasks, config=settings)
    assert {one.num_fewshot for one in results_of(artifact).tasks} == {2}
    bare = benchmarks(
        tiny_folder, tmp_path / "bare", include=tasks, config=config("quiz", max_items=3)
    )
    assert rows_of(artifact)[0].answer != rows_of(bare)[0].answer


def test_items_can_be_sent_through_the_chat_template(
    tmp_path: Path, tiny_folder: Path, tasks: Path, model: LanguageModel
) -> None:
    settings = config("quiz", max_items=4, is_chat=True)
    artifact = benchmarks(tiny_folder, tmp_path / "out", include=tasks, config=settings)
    assert results_of(artifact).is_chat
    for row, item in zip(rows_of(artifact, metric="acc"), benchmark_cases.items(4), strict=True):
        context = f"<|im_start|>user\n{item['question']}<|im_end|>\n<|im_start|>assistant\n"
        found = [nats for nats, _ in json.loads(row.answer)]
        np.testing.assert_allclose(found, naive_choices(model, context, delimiter=""), atol=1e-4)


def test_whole_texts_are_scored_in_windows_of_the_context(model: LanguageModel) -> None:
    from stillhouse.evaluate._benchmarks._adapter import HarnessModel

    adapter = HarnessModel(model, seed=0, on_progress=lambda _: None)
    text = "The council of a small town opened a bridge on Monday. " * 40
    (ids,) = model.chat.encode_pieces([text])
    assert len(ids) > 2 * model.context_tokens
    (found,) = adapter.loglikelihood_rolling([SimpleNamespace(args=(text,))])
    wanted, size = 0.0, model.context_tokens
    for start in range(0, len(ids), size):
        targets = ids[start : start + size]
        # Each token once, behind as much context as there is room for.
        whole = (1, *ids[: start + len(targets)])[-(size + 1) :]
        with torch.inference_mode():
            logits = model.network(input_ids=torch.tensor([whole[:-1]])).logits[0].double()
        logprobs = torch.log_softmax(logits, dim=1)[-len(targets) :]
        wanted += sum(float(row[token]) for row, token in zip(logprobs, targets, strict=True))
    assert found == pytest.approx(wanted, rel=1e-5)


def test_prompts_that_are_too_long_are_counted(model: LanguageModel) -> None:
    from stillhouse.evaluate._benchmarks._adapter import HarnessModel

    adapter = HarnessModel(model, seed=0, on_progress=lambda _: None)
    long = "town " * 400
    adapter.loglikelihood([SimpleNamespace(args=(long, " bridge"))])
    adapter.generate_until([SimpleNamespace(args=(long, {"max_gen_toks": 3, "until": []}))])
    adapter.loglikelihood([SimpleNamespace(args=("town", " bridge"))])
    assert (adapter.num_requests, adapter.num_truncated) == (3, 2)


def test_sampled_answers_are_the_same_in_every_run(model: LanguageModel) -> None:
    from stillhouse.evaluate._benchmarks._adapter import HarnessModel

    settings = {"do_sample": True, "temperature": 1.5, "max_gen_toks": 12, "until": []}
    requests = [SimpleNamespace(args=("The town", settings))] * 3
    runs = [
        HarnessModel(model, seed=seed, on_progress=lambda _: None).generate_until(requests)
        for seed in (0, 0, 1)
    ]
    assert runs[0] == runs[1] != runs[2]
    assert len(set(runs[0])) == 3  # repeats of one request are drawn apart


@pytest.fixture
def random_states() -> Iterator[None]:
    """Fail if the global generators were moved."""
    before = random.getstate(), str(np.random.get_state()), torch.get_rng_state()
    yield
    assert random.getstate() == before[0]
    assert str(np.random.get_state()) == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])


@pytest.mark.usefixtures("random_states")
def test_a_run_is_silent_and_leaves_global_state_alone(
    tmp_path: Path, tiny_folder: Path, tasks: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    benchmarks(tiny_folder, tmp_path / "out", include=tasks, config=config("quiz", max_items=2))
    assert capfd.readouterr() == ("", "")


def test_mistakes_are_found_before_anything_is_written(
    tmp_path: Path, tiny_folder: Path, tasks: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="are one model"):
        benchmarks(tiny_folder, out, base=tiny_folder, config=config("quiz"), include=tasks)
    with pytest.raises(ConfigError, match="No model at"):
        benchmarks(tmp_path / "none", out, config=config("quiz"), include=tasks)
    with pytest.raises(ConfigError, match="no folder"):
        benchmarks(tiny_folder, out, config=config("quiz"), include=tmp_path / "none")
    assert not out.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clusters": {"quizz": "page"}}, "clusters names quizz, but the tasks are quiz"),
        ({"clusters": {"quiz": "pages"}}, "columns answer, choices, page, question"),
    ],
)
def test_settings_that_fit_no_task_are_refused(
    changes: dict[str, Any], message: str, tmp_path: Path, tiny_folder: Path, tasks: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        benchmarks(
            tiny_folder,
            tmp_path / "out",
            include=tasks,
            config=config("quiz", max_items=2, **changes),
        )


def test_a_task_file_that_does_not_work_is_named(tmp_path: Path, tiny_folder: Path) -> None:
    tasks = benchmark_cases.make_tasks(tmp_path / "tasks")
    (tasks / "items.jsonl").unlink()
    with pytest.raises(ConfigError, match="cannot run quiz"):
        benchmarks(tiny_folder, tmp_path / "out", include=tasks, config=config("quiz"))


def test_tasks_without_any_score_of_items_are_an_error(
    tmp_path: Path, tiny_folder: Path, tasks: Path
) -> None:
    with pytest.raises(DataError, match="stream: word_perplexity"):
        benchmarks(tiny_folder, tmp_path / "out", include=tasks, config=config("stream"))


def test_without_the_harness_the_error_says_what_to_install() -> None:
    code = """
import importlib.metadata, sys
from pathlib import Path
known = importlib.metadata.version
def version(name):
    if name == "lm_eval":  # as where it is not installed
        raise importlib.metadata.PackageNotFoundError(name)
    return known(name)
importlib.metadata.version = version
from stillhouse.evaluate._benchmarks import BenchmarksConfig, benchmarks
from stillhouse.errors import MissingDependencyError
try:
    benchmarks("x", Path("out"), config=BenchmarksConfig(tasks=("quiz",)))
except MissingDependencyError as err:
    print(err)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert "pip install 'stillhouse[lmeval]'" in done.stdout


def test_settings_and_results_load_neither_torch_nor_the_harness() -> None:
    code = (
        "import sys, stillhouse.evaluate._benchmarks as room; room.BenchmarksConfig(tasks=('a',)); "
        "sys.exit(bool({'torch', 'lm_eval', 'datasets'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0
