"""Language models and encoders as students: what answers, and what it was before training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import task_cases
from encoder_cases import make_encoder

from stillhouse.answers import Given, LabelTrieAnswerer, Question, WritingAnswerer
from stillhouse.artifacts import Artifact, Counts, begin_artifact, open_artifact
from stillhouse.classifiers import EmbeddingConfig, fit_embedding, save_classifier
from stillhouse.curate import CurateConfig, curate
from stillhouse.errors import IntegrityError
from stillhouse.evaluate._task import (
    PredictionRow,
    TaskEvaluateConfig,
    TaskResults,
    evaluate_task,
    read_task_results,
)
from stillhouse.evaluate._task._systems._base import name_text, nearest_name
from stillhouse.models import label_logprobs, load_model, trie_logprobs
from stillhouse.records import Example, Message, Prompt
from stillhouse.tasks import Task, TaskAnswer, parse_answer, task_of
from stillhouse.train import TrainConfig, train

QUICK = TaskEvaluateConfig(latency_messages=0, num_resamples=100, batch_size=8, min_rows=8)
LABELS = ("bread", "bridge", "town council")
TEXTS = (
    "A bakery won a prize for its bread.",
    "The town opened a bridge on Monday.",
    "The council of a small town met.",
)


def dataset_of(folder: Path, task: Task, answers: list[str], *, number: int = 48) -> Path:
    """Every third message held out, and one of them without a valid answer."""
    prompts: list[Prompt] = []
    completions = []
    for place in range(number):
        split = "held_out" if place // 3 % 3 == 0 else "train"
        prompt = task_cases.prompt(f"p{place}", f"{TEXTS[place % 3]} ({place})", split=split)
        text = "" if place == 0 else answers[place % len(answers)]
        prompts.append(prompt)
        completions.append(task_cases.completion(prompt, text))
    source = task_cases.collected(folder / "completions", prompts, completions)
    config = CurateConfig(contamination="allow")
    return curate(source, folder / "dataset", config=config, task=task).path


def student_of(dataset: Path, out: Path, base: Path, **changes: Any) -> Path:
    settings: dict[str, Any] = {
        "base": f"local:{base}",
        "objective": "sft",
        "epochs": 15.0,
        "batch_size": 8,
    }
    settings["learning_rate"] = 1e-2
    return train(dataset, out, config=TrainConfig(**(settings | changes))).path


def judge(
    dataset: Path, out: Path, config: TaskEvaluateConfig = QUICK, **students: Path
) -> Artifact:
    return evaluate_task(dataset, out, students=students, config=config)


def results_of(artifact: Artifact) -> TaskResults:
    return read_task_results(artifact.file("results.json"))


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("labels")
    dataset = dataset_of(folder, task_cases.classification(*LABELS), list(LABELS))
    return dataset, student_of(dataset, folder / "student", tiny_folder)


def test_a_language_model_gives_the_label_it_is_most_likely_to_write(
    labelled: tuple[Path, Path], tmp_path: Path
) -> None:
    dataset, student = labelled
    artifact = judge(dataset, tmp_path / "out", student=student)
    rows = {
        row.prompt_id: row
        for row in artifact.rows("predictions", PredictionRow)
        if row.student == "student"
    }
    examples = [
        row for row in open_artifact(dataset).rows("examples", Example) if row.split == "held_out"
    ]
    logprobs_NL = label_logprobs(load_model(student), [row.messages for row in examples], LABELS)
    shares_NL = np.exp(logprobs_NL) / np.exp(logprobs_NL).sum(axis=1, keepdims=True)
    for row, shares_L in zip(examples, shares_NL, strict=True):
        assert rows[row.prompt_id].answer == LABELS[int(shares_L.argmax())]
        assert rows[row.prompt_id].confidence == pytest.approx(shares_L.max(), rel=1e-4)


def test_the_untuned_base_is_held_to_labels_and_is_worse(
    labelled: tuple[Path, Path], tmp_path: Path
) -> None:
    dataset, student = labelled
    results = results_of(judge(dataset, tmp_path / "out", student=student))
    base, ours = results.system("untuned base"), results.system("student")
    assert (base.role, base.answered_by) == ("base", "constrained_labels")
    assert ours.answered_by == "label_trie"
    assert base.agreement is not None
    assert ours.agreement is not None
    assert ours.agreement.value > base.agreement.value + 0.3
    assert ours.kind == "language model"
    assert ours.num_bytes is not None
    assert {system.role for system in results.systems} == {
        "teacher", "student", "base", "ngram", "majority"
    }  # fmt: skip


def test_a_message_without_a_valid_answer_is_asked_all_the_same(
    labelled: tuple[Path, Path], tmp_path: Path
) -> None:
    dataset, student = labelled
    artifact = judge(dataset, tmp_path / "out", student=student)
    rows = [row for row in artifact.rows("predictions", PredictionRow) if row.student == "student"]
    (unanswered,) = [row for row in rows if row.agrees is None]
    assert unanswered.prompt_id == "p0"
    assert unanswered.answer in LABELS


def test_written_freely_an_answer_is_read_by_the_tasks_parser(
    labelled: tuple[Path, Path], tmp_path: Path
) -> None:
    dataset, student = labelled
    free = QUICK.model_copy(update={"constrain": False, "max_tokens": 12})
    results = results_of(judge(dataset, tmp_path / "out", free, student=student))
    ours, base = results.system("student"), results.system("untuned base")
    assert ours.answered_by == "text"
    assert ours.agreement is not None
    assert ours.agreement.value > 0.5
    assert base.valid.value < 0.5
    assert set(base.problems) <= {"unknown_label", "truncated", "empty", "several_labels"}


def test_a_base_that_has_changed_is_refused(tmp_path: Path, tiny_folder: Path) -> None:
    import shutil

    base = tmp_path / "base"
    shutil.copytree(tiny_folder, base)
    task = task_cases.classification(*LABELS)
    dataset = dataset_of(tmp_path, task, list(LABELS))
    student = student_of(dataset, tmp_path / "student", base, epochs=1.0)
    from tiny_model import make_tiny_model

    shutil.rmtree(base)
    make_tiny_model(base, seed=5)
    with pytest.raises(IntegrityError, match="weights have changed"):
        judge(dataset, tmp_path / "out", student=student)


def test_a_student_from_random_weights_has_no_base_and_the_report_says_so(
    tmp_path: Path, tiny_folder: Path
) -> None:
    dataset = dataset_of(tmp_path, task_cases.classification(*LABELS), list(LABELS))
    student = student_of(dataset, tmp_path / "student", tiny_folder, epochs=1.0, init="random")
    results = results_of(judge(dataset, tmp_path / "out", student=student))
    assert results.missing["untuned base"] == "the student began from random weights"


def test_one_message_that_cannot_be_read_is_an_answer_that_is_missing(
    labelled: tuple[Path, Path], tiny_folder: Path
) -> None:
    model = load_model(labelled[1])
    task = task_cases.classification(*LABELS)
    long, spelt, fine = (
        Question(text, (Message(role="user", content=text),))
        for text in ("bridge " * 300, "a <|im_end|> b", TEXTS[0])
    )
    for answerer in (LabelTrieAnswerer(task, model), WritingAnswerer(task, model, max_tokens=500)):
        given = answerer.answer([long, fine, spelt])
        assert [one.problem for one in given][::2] == ["error", "error"]
        assert given[1] == answerer.answer([fine])[0]
        assert answerer.answer([long]) == [Given(None, 0.0, "error")]


def test_an_untrained_model_ends_up_with_the_label_that_constrained_decoding_draws_most(
    tiny_folder: Path,
) -> None:
    model = load_model(tiny_folder)
    task = task_cases.classification(*LABELS)
    asked = [Question(text, (Message(role="user", content=text),)) for text in TEXTS[:3]]
    given = LabelTrieAnswerer(task, model, is_trained=False).answer(asked)
    found = trie_logprobs(model, [question.messages for question in asked], task.labels)
    assert [one.text for one in given] == [task.labels[row.argmax()] for row in found]
    assert [one.confidence for one in given] == pytest.approx(np.exp(found.max(axis=1)), rel=1e-4)


def test_an_extraction_is_held_to_its_schema(tmp_path: Path, tiny_folder: Path) -> None:
    schema = {
        "type": "object",
        "properties": {"town": {"enum": ["Leeds", "Porto"]}, "open": {"type": "boolean"}},
        "required": ["open", "town"],
        "additionalProperties": False,
    }
    task = Task(name="t", kind="extraction", schema=schema, margin=0.1)
    answers = ['{"open": true, "town": "Leeds"}', '{"open": false, "town": "Porto"}']
    dataset = dataset_of(tmp_path, task, answers)
    student = student_of(dataset, tmp_path / "student", tiny_folder, epochs=2.0)
    artifact = judge(dataset, tmp_path / "out", student=student)
    results = results_of(artifact)
    ours = results.system("student")
    assert ours.answered_by == "json"
    assert ours.valid.value == 1.0
    assert {field.field for field in ours.fields} == {"open", "town"}
    assert ours.document is not None
    assert results.missing["n-grams"] == "a linear model on n-grams answers with labels only"
    for row in artifact.rows("predictions", PredictionRow):
        if row.student == "student":
            assert parse_answer(task, row.answer or "").text == row.answer


def test_text_is_judged_by_its_grader_beside_a_copy_of_the_message(
    tmp_path: Path, tiny_folder: Path
) -> None:
    task = Task(name="t", kind="text", margin=0.1)
    dataset = dataset_of(tmp_path, task, ["The bridge is open.", "Bread won.", "A town met."])
    student = student_of(dataset, tmp_path / "student", tiny_folder, epochs=10.0)
    short = QUICK.model_copy(update={"max_tokens": 16})
    artifact = judge(dataset, tmp_path / "out", short, student=student)
    results = results_of(artifact)
    ours = results.system("student")
    assert ours.text is not None
    assert sum(ours.text.score_counts) == ours.agreement.n if ours.agreement else False
    assert {system.role for system in results.systems} == {
        "teacher", "student", "base", "copy", "majority"
    }  # fmt: skip
    assert 'id="scores"' in artifact.file("report.html").read_text("utf-8")


def test_the_nearest_label_name_is_that_of_the_largest_cosine() -> None:
    states = {"card arrival": [1.0, 0.0], "lost card": [0.0, 2.0], "where is it": [3.0, 1.0]}
    states["gone"] = [0.1, 0.5]
    task = task_cases.classification("card_arrival", "lost-card")
    answerer = nearest_name(task, lambda texts: np.array([states[text] for text in texts]))
    given = answerer.answer([Question("where is it"), Question("gone")])
    assert [one.text for one in given] == ["card_arrival", "lost-card"]
    assert [one.confidence for one in given] == [None, None]
    assert name_text("__") == "__"


def test_an_encoder_is_held_against_its_untuned_self_by_the_names_of_labels(
    tmp_path: Path,
) -> None:
    task = task_cases.classification("lost card", "exchange rate", "top up")
    texts = ("my card is lost", "what is the exchange rate", "top up my cash")
    prompts = [
        task_cases.prompt(f"p{n}", f"{texts[n % 3]} {'the ' * (n % 5)}", split=split)
        for n in range(60)
        for split in ["held_out" if n // 3 % 3 == 0 else "train"]
    ]
    completions = [
        task_cases.completion(prompt, task.labels[n % 3]) for n, prompt in enumerate(prompts)
    ]
    source = task_cases.collected(tmp_path / "completions", prompts, completions)
    config = CurateConfig(contamination="allow")
    dataset = curate(source, tmp_path / "dataset", config=config, task=task)
    base = make_encoder(tmp_path / "base")
    student = _embedding_student(dataset, tmp_path / "student", base)
    results = results_of(judge(dataset.path, tmp_path / "out", head=student))
    untuned = results.system("untuned base")
    assert (untuned.role, untuned.answered_by, untuned.latency) == ("base", "names", None)
    assert untuned.agreement is not None
    assert untuned.agreement.n == 21
    assert untuned.calibration is None  # a cosine is no probability
    assert results.system("head").kind == "embedding"


def _embedding_student(dataset: Artifact, out: Path, base: Path) -> Path:
    task = task_of(dataset.manifest.results)
    rows = [row for row in dataset.rows("answers", TaskAnswer) if row.split == "train"]
    targets = np.array([[float(row.answer == label) for label in task.labels] for row in rows])
    config = EmbeddingConfig(base=str(base), precision="float32")
    fitted = fit_embedding([row.text for row in rows], targets, labels=task.labels, config=config)
    writer = begin_artifact(
        out, kind="classifier", stage="fit", parents=[dataset],
        config={"student": "embedding", "embedding": {"base": str(base)}},
    )  # fmt: skip
    save_classifier(fitted, writer.work_dir, writer.new_file)
    return writer.finish(counts=Counts.model_validate({"in": 1, "kept": 1})).path
