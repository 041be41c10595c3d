"""The stage: everything measured on the held-out prompts, and nothing claimed beyond it."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from artifact_chains import edit_manifest, listing
from tiny_chain import SAMPLING, Chain, settings, write_dataset
from tiny_model import make_tiny_model

from stillhouse.artifacts import Artifact, check_files, check_rows_root, open_artifact
from stillhouse.errors import (
    ConfigError,
    IntegrityError,
    LogprobsUnavailableError,
    VocabularyMismatchError,
)
from stillhouse.evaluate import (
    EvaluateConfig,
    EvaluationResults,
    EvaluationRow,
    Goals,
    evaluate,
    read_results,
)
from stillhouse.evaluate._measure import HeldOut
from stillhouse.records import Example, Message
from stillhouse.runlog import Progress
from stillhouse.train import train

torch.set_num_threads(1)

QUICK = EvaluateConfig(
    num_samples=4,
    speed_prompts=0,
    num_resamples=200,
    goals=Goals(max_parameter_fraction=0.7, min_speedup=1.2),
)


@pytest.fixture(scope="module")
def students(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("students")
    for objective, signal in (("forward_kl", chain.signal), ("sft", None)):
        config = settings(chain, objective=objective)
        train(chain.dataset, folder / objective, config=config, signal=signal)
    return {"student": folder / "forward_kl", "sft": folder / "sft"}


def run(chain: Chain, out: Path, students: dict[str, Path], **options: Any) -> Artifact:
    settings: dict[str, Any] = {"teacher": chain.teacher, "config": QUICK, **options}
    return evaluate(chain.dataset, out, students=students, **settings)


@pytest.fixture(scope="module")
def artifact(
    chain: Chain, students: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Artifact:
    return run(chain, tmp_path_factory.mktemp("evaluate") / "e", students, title="A test")


@pytest.fixture(scope="module")
def results(artifact: Artifact) -> EvaluationResults:
    return read_results(artifact.file("results.json"))


def held_out(chain: Chain) -> list[Example]:
    rows = open_artifact(chain.dataset).rows("examples", Example)
    return [row for row in rows if row.split == "held_out"]


def test_the_evaluation_is_a_sound_artefact(
    artifact: Artifact, chain: Chain, students: dict[str, Path]
) -> None:
    check_files(artifact)
    check_rows_root(artifact)
    manifest = artifact.manifest
    parents = [chain.dataset, *students.values()]
    assert [parent.sha256 for parent in manifest.parents] == [
        open_artifact(path).manifest_sha256 for path in parents
    ]
    assert manifest.counts.kept == 24
    assert manifest.results["goals"] == 2


def test_the_trained_the_untrained_and_the_sft_student_are_all_measured(
    results: EvaluationResults,
) -> None:
    assert [(one.name, one.role, one.objective) for one in results.models] == [
        ("teacher", "teacher", None),
        ("student", "student", "forward_kl"),
        ("sft", "student", "sft"),
        ("student untrained", "untrained", None),
    ]
    student, untrained = results.student, results.untrained
    assert student is not None
    assert untrained is not None
    assert student.forward_kl_nats is not None
    assert untrained.forward_kl_nats is not None
    assert student.forward_kl_nats.value < untrained.forward_kl_nats.value
    assert student.num_parameters == untrained.num_parameters
    assert student.num_layers == untrained.num_layers == 2
    for model in results.models:
        for found in (
            model.forward_kl_nats,
            model.top1_agreement,
            model.teacher_text_perplexity,
            model.looping_fraction,
        ):
            assert found is None or found.low <= found.value <= found.high


def test_the_student_is_compared_with_each_other_model(results: EvaluationResults) -> None:
    assert [(one.a, one.b) for one in results.comparisons] == [
        ("student", "sft"),
        ("student", "student untrained"),
    ]
    assert results.comparisons[1].difference.high < 0


def test_speed_that_was_not_asked_for_is_none_and_its_goal_missed(
    results: EvaluationResults, artifact: Artifact
) -> None:
    assert all(one.generation_tokens_per_s is None for one in results.models)
    assert [(target.name, target.is_met) for target in results.targets] == [
        ("Size", True),
        ("Speed", False),
    ]
    assert artifact.manifest.results["goals_met"] == 1
    assert "1 of 2 goals missed: speed." in results.verdict
    assert results.verdict == artifact.manifest.results["verdict"]


def test_rows_add_up_to_the_results(
    artifact: Artifact, results: EvaluationResults, chain: Chain
) -> None:
    rows = list(artifact.rows("prompts", EvaluationRow))
    examples = held_out(chain)
    assert len(rows) == 4 * len(examples) == 4 * 24
    for model in results.models:
        own = [row for row in rows if row.model == model.name]
        assert [row.prompt_id for row in own] == [example.prompt_id for example in examples]
        num_tokens = sum(row.num_tokens for row in own)
        assert num_tokens == results.num_tokens
        assert all(row.top1_matches <= row.num_tokens for row in own)
        if model.forward_kl_nats is not None:
            kl = sum(row.forward_kl_sum_nats for row in own) / num_tokens
            assert model.forward_kl_nats.value == pytest.approx(kl, rel=1e-9)
        else:
            assert all(row.forward_kl_sum_nats == 0.0 for row in own)
            assert [row.text for row in own] == [example.completion for example in examples]


def test_tokens_written_are_counted(artifact: Artifact) -> None:
    rows = list(artifact.rows("prompts", EvaluationRow))
    num_asked = sum(row.text is not None for row in rows if row.model != "teacher")
    written = artifact.manifest.usage.completion_tokens
    assert num_asked < written <= num_asked * SAMPLING.max_tokens


def test_samples_follow_their_rule(results: EvaluationResults, chain: Chain) -> None:
    examples = held_out(chain)
    firsts = [
        example
        for number, example in enumerate(examples)
        if example.group not in {earlier.group for earlier in examples[:number]}
    ]
    assert len(firsts) == 12
    assert [row.prompt_id for row in results.samples] == [
        example.prompt_id for example in firsts[::3]
    ]
    assert "one group in 3" in results.sample_rule
    for row, example in zip(results.samples, firsts[::3], strict=True):
        assert row.prompt == example.messages[-1].content
        assert row.texts.keys() == {"teacher", "student", "sft"}
        assert row.texts["teacher"] == example.completion


def test_measuring_again_finds_the_same(
    chain: Chain, students: dict[str, Path], results: EvaluationResults, tmp_path: Path
) -> None:
    told: list[Progress] = []
    again = run(chain, tmp_path / "e", students, title="A test", on_progress=told.append)
    found = read_results(again.file("results.json"))
    when = {"created_utc", "seconds"}
    assert found.model_dump(exclude=when) == results.model_dump(exclude=when)
    assert (told[-1].done, told[-1].total, told[-1].unit) == (5, 5, "measurements")


def test_a_finished_evaluation_of_the_same_inputs_is_left_alone(
    chain: Chain, students: dict[str, Path], artifact: Artifact
) -> None:
    before = listing(artifact.path)
    run(chain, artifact.path, students, title="A test")
    assert listing(artifact.path) == before


def test_the_report_opens_offline_and_says_the_verdict(
    artifact: Artifact, results: EvaluationResults
) -> None:
    page = artifact.file("report.html").read_text(encoding="utf-8")
    assert not re.search(r"(?:src|href)\s*=\s*['\"]?\s*(?!#|data:)[^'\"\s>]", page)
    assert not re.search(r"url\(\s*['\"]?(?!#|data:)", page)
    assert not re.search(r"<(?:script|iframe|img)\b", page)
    assert "A test" in page
    assert results.verdict.replace("'", "&#39;") in page or results.verdict in page


def test_speed_is_measured_where_it_is_asked_for(
    chain: Chain, students: dict[str, Path], tmp_path: Path
) -> None:
    config = QUICK.model_copy(update={"speed_prompts": 2, "speed_tokens": 3, "max_prompts": 6})
    artifact = run(chain, tmp_path / "e", {"student": students["student"]}, config=config)
    found = read_results(artifact.file("results.json"))
    timed = [one for one in found.models if one.generation_tokens_per_s is not None]
    assert [one.name for one in timed] == ["teacher", "student"]
    assert found.num_prompts == 6
    assert "times as fast" in found.verdict


def test_a_student_that_begins_as_its_teacher_can_be_measured(chain: Chain, tmp_path: Path) -> None:
    config = settings(chain, keep_layers=None, objective="sft", epochs=0.25)
    train(chain.dataset, tmp_path / "s", config=config)
    found = read_results(
        run(chain, tmp_path / "e", {"student": tmp_path / "s"}).file("results.json")
    )
    assert found.untrained is not None
    assert found.untrained.forward_kl_nats is not None
    assert found.untrained.forward_kl_nats.value < 1e-6
    assert found.untrained.top1_agreement is not None
    assert found.untrained.top1_agreement.value == 1.0
    assert found.comparisons[0].ratio is None
    assert "up from" in found.verdict


def test_a_folder_is_a_teacher_too(chain: Chain, students: dict[str, Path], tmp_path: Path) -> None:
    config = QUICK.model_copy(update={"max_prompts": 4})
    one = {"student": students["student"]}
    artifact = run(chain, tmp_path / "e", one, teacher=str(chain.model_dir), config=config)
    assert artifact.manifest.counts.kept == 4


@pytest.mark.parametrize("spec", ["fake:", "http://127.0.0.1:9/v1#m"])
def test_a_teacher_that_answers_in_text_only_is_refused(
    chain: Chain, students: dict[str, Path], tmp_path: Path, spec: str
) -> None:
    with pytest.raises(LogprobsUnavailableError, match="needs weights"):
        run(chain, tmp_path / "e", students, teacher=spec)
    assert not (tmp_path / "e").exists()


def test_a_teacher_that_did_not_write_the_text_is_refused(
    chain: Chain, students: dict[str, Path], tmp_path: Path
) -> None:
    other = make_tiny_model(tmp_path / "other", seed=1)
    with pytest.raises(VocabularyMismatchError, match="was written by"):
        run(chain, tmp_path / "e", students, teacher=f"local:{other}")


def test_a_student_with_another_template_is_refused_before_anything_is_measured(
    chain: Chain, tmp_path: Path
) -> None:
    base = make_tiny_model(tmp_path / "base")
    template = base / "chat_template.jinja"
    template.write_text(template.read_text().replace("assistant", "helper"))
    config = settings(
        chain,
        objective="sft",
        base=f"local:{base}",
        epochs=0.25,
        preflight={"texts": 0},  # which would refuse it
    )
    train(chain.dataset, tmp_path / "s", config=config)
    with pytest.raises(VocabularyMismatchError, match="another tokenizer or chat template"):
        run(chain, tmp_path / "e", {"student": tmp_path / "s"})
    assert not (tmp_path / "e").exists()


def test_a_student_with_another_tokenizer_is_refused_by_its_manifest(
    chain: Chain, students: dict[str, Path], tmp_path: Path
) -> None:
    student = tmp_path / "other"
    shutil.copytree(students["sft"], student)
    edit_manifest(student, {"tokenizer": {"sha256": "0" * 64}})
    told: list[Progress] = []
    with pytest.raises(VocabularyMismatchError, match="other has another tokenizer"):
        run(chain, tmp_path / "e", {**students, "x": student}, on_progress=told.append)
    assert told == []
    assert not (tmp_path / "e").exists()


def test_a_dataset_without_held_out_groups_is_refused(
    chain: Chain, students: dict[str, Path], tmp_path: Path
) -> None:
    write_dataset(tmp_path / "train", chain.teacher)
    write_dataset(tmp_path / "one", chain.teacher, split="held_out", group="the only one")
    for name, number in (("train", 0), ("one", 8)):
        with pytest.raises(ConfigError, match=f"{number} held-out examples of fewer than two"):
            evaluate(
                tmp_path / name,
                tmp_path / "e",
                teacher=chain.teacher,
                students=students,
                config=QUICK,
            )
    assert not (tmp_path / "e").exists()


def test_no_student_and_names_of_other_models_are_refused(
    chain: Chain, students: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="no student"):
        run(chain, tmp_path / "e", {})
    for name in ("teacher", "student untrained"):
        with pytest.raises(ConfigError, match=f"named '{name}'"):
            run(chain, tmp_path / "e", {name: students["student"]})


def test_a_base_that_changed_since_is_not_measured_as_the_untrained_student(
    chain: Chain, students: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(students["sft"], tmp_path / "s")
    config = open_artifact(tmp_path / "s").manifest.config
    changed = {**config, "base_revision": "0" * 64}
    parents = [
        {"path": str(Path("..") / "d"), "sha256": open_artifact(chain.dataset).manifest_sha256}
    ]
    shutil.copytree(chain.dataset, tmp_path / "d")
    edit_manifest(tmp_path / "d", {"parents": []})
    parents[0]["sha256"] = open_artifact(tmp_path / "d").manifest_sha256
    edit_manifest(tmp_path / "s", {"config": changed, "parents": parents})
    with pytest.raises(IntegrityError, match="weights have changed since"):
        evaluate(
            tmp_path / "d",
            tmp_path / "e",
            teacher=chain.teacher,
            students={"student": tmp_path / "s"},
            config=QUICK,
        )


def test_texts_of_few_prompts_are_spread_over_the_groups() -> None:
    groups = ["a"] * 5 + ["b"] * 2 + ["c"]
    examples = [
        Example(
            id=str(number),
            prompt_id=str(number),
            request_id=str(number),
            messages=(Message(role="user", content="x"),),
            completion="y",
        )
        for number in range(8)
    ]
    rows = HeldOut(examples, groups)
    assert rows.spread(2) == [0, 5]
    assert rows.spread(3) == [0, 5, 7]
    assert rows.spread(5) == [0, 1, 5, 6, 7]
    assert rows.spread(100) == list(range(8))
