"""An arena of a task: a student that `fit` made is ranked beside language models."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cli_process import run_here
from fit_cases import a_dataset, a_task, rows_of
from loopback_chat import LoopbackChat, chat_json
from test_cli_fit import TASK, WORDS, dataset

from stillhouse.artifacts import open_artifact
from stillhouse.classifiers import load_classifier, probabilities
from stillhouse.errors import ConfigError
from stillhouse.evaluate import read_arena_results
from stillhouse.fit import FitConfig, fit
from stillhouse.records import Completion, Prompt
from stillhouse.teachers import open_teacher

__all__ = ["dataset"]  # a fixture, which fits nothing by itself

_ANSWER = re.compile(r"<answer ([AB]) \w+>\n(.*?)\n</answer", re.DOTALL)


def right_label(text: str) -> str:
    return "spam" if any(word in text for word in WORDS["spam"]) else "ham"


async def respond(number: int, body: dict[str, Any]) -> web.StreamResponse:
    """`ham` calls everything ham; the judge knows what is right."""
    said = body["messages"][-1]["content"]
    if body["model"] == "ham":
        return web.json_response(chat_json("ham"))
    shown = dict(_ANSWER.findall(said))
    asked = _ANSWER.sub("", said)
    is_right = {name: shown[name] == right_label(asked) for name in "AB"}
    verdict = "TIE" if is_right["A"] == is_right["B"] else "A" if is_right["A"] else "B"
    return web.json_response(chat_json(f"[[{verdict}]]"))


@pytest.fixture
def server() -> Iterator[LoopbackChat]:
    with LoopbackChat(respond) as server:
        yield server


@pytest.fixture
def student(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    out = tmp_path / "student"
    ran = run_here(capsys, "fit", dataset, "--student", "ngram", "--out", out, "--quiet")
    assert ran.code == 0, ran.err
    return out


def messages(folder: Path) -> Path:
    """Messages that no student has seen, as a task has them."""
    rows = []
    for number in range(24):
        words = WORDS["spam" if number % 2 else "ham"]
        text = f"{words[number % len(words)]} {words[(number * 3 + 2) % len(words)]} no {number}"
        rows.append({"text": text, "split": "held_out"})
    path = folder / "messages.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def arena(folder: Path, server: LoopbackChat, *models: str, task: bool = True) -> list[str]:
    path = messages(folder) if task else folder / "prompts.jsonl"
    given = [word for model in models for word in ("--model", model)]
    if task:
        given += ["--task", str(folder / "task.yaml")]
    out = str(folder / "arena")
    return ["arena", str(path), *given, "--judge", f"{server.url}#judge", "--out", out]


def test_a_fitted_student_is_ranked_beside_language_models(
    student: Path,
    server: LoopbackChat,
    tiny_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    models = (f"student=local:{student}", f"ham={server.url}#ham", f"tiny=local:{tiny_folder}")
    ran = run_here(capsys, *arena(tmp_path, server, *models))
    assert ran.code == 0, ran.err
    results = read_arena_results(tmp_path / "arena" / "evaluation" / "results.json")
    points = {one.name: one.standing.rating.value for one in results.models}
    assert max(points, key=points.__getitem__) == "student"
    assert points["student"] > points["ham"] + 100

    answers = open_artifact(tmp_path / "arena" / "answers" / "student")
    texts = {one.id: one.messages[-1].content for one in answers.rows("prompts", Prompt)}
    classifier = load_classifier(student)
    for one in answers.rows("completions", Completion):
        (shares_L,) = probabilities(classifier, [texts[one.prompt_id]])
        expected = dict(zip(classifier.labels, shares_L.tolist(), strict=True))
        assert one.label_probabilities == pytest.approx(expected)
        assert one.text == max(expected, key=expected.__getitem__)
        assert one.usage.cost_usd == 0.0
    tiny = open_artifact(tmp_path / "arena" / "answers" / "tiny")
    assert {one.text for one in tiny.rows("completions", Completion)} <= {"spam", "ham"}
    written = open_artifact(tmp_path / "arena" / "answers" / "ham")
    assert all(one.label_probabilities is None for one in written.rows("completions", Completion))
    report = (tmp_path / "arena" / "evaluation" / "report.html").read_text()
    assert "--task" in report.split("<code>stillhouse arena")[1].split("</code>")[0]


def test_a_stopped_or_repeated_arena_of_a_task_asks_nothing_twice(
    student: Path, server: LoopbackChat, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = arena(tmp_path, server, f"student=local:{student}", f"ham={server.url}#ham")
    assert run_here(capsys, *words, "--quiet").code == 0
    num_before = len(server.bodies)
    assert run_here(capsys, *words, "--quiet").code == 0
    assert len(server.bodies) == num_before > 0


def test_without_a_task_a_fitted_student_is_refused_before_anything_is_asked(
    student: Path, server: LoopbackChat, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"prompt": f"win cash {number}"} for number in range(12)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    models = (f"ham={server.url}#ham", f"student=local:{student}")
    ran = run_here(capsys, *arena(tmp_path, server, *models, task=False), "--quiet")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.count("\n") == 1
    assert "local:student@" in ran.err
    assert "answers with one of a task's labels" in ran.err
    assert "--task" in ran.err
    assert server.bodies == []
    assert not (tmp_path / "arena").exists()


def test_a_task_with_other_labels_is_refused_with_one_that_differs(
    student: Path, server: LoopbackChat, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = arena(tmp_path, server, f"ham={server.url}#ham", f"student=local:{student}")
    (tmp_path / "task.yaml").write_text(TASK.replace("[spam, ham]", "[spam, ham, eggs]"))
    ran = run_here(capsys, *words, "--quiet")
    assert ran.code == 2
    assert "fitted for other labels" in ran.err
    assert "has 'eggs'" in ran.err
    assert server.bodies == []


def test_a_damaged_student_is_one_line(
    student: Path, server: LoopbackChat, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (student / "classifier.json").write_text("{}")
    words = arena(tmp_path, server, f"ham={server.url}#ham", f"student=local:{student}")
    ran = run_here(capsys, *words, "--quiet")
    assert ran.code != 0
    assert ran.err.count("\n") == 1
    assert server.bodies == []


def test_a_student_labels_a_file_as_any_teacher_does(
    student: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task, out = tmp_path / "task.yaml", tmp_path / "labelled"
    words = ("--task", task, "--teacher", f"local:{student}", "--out", out, "--quiet")
    ran = run_here(capsys, "collect", messages(tmp_path), *words)
    assert ran.code == 0, ran.err
    completions = list(open_artifact(out).rows("completions", Completion))
    assert len(completions) == 24
    rows = open_artifact(out).rows("prompts", Prompt)
    right = {one.id: right_label(one.messages[-1].content) for one in rows}
    assert sum(one.text == right[one.prompt_id] for one in completions) >= 22


def test_a_student_that_gives_several_labels_is_sent_to_evaluate(tmp_path: Path) -> None:
    task = a_task(multiple=True)
    a_dataset(tmp_path / "several", rows_of(80)[0], task=task)
    fit(tmp_path / "several", tmp_path / "s", config=FitConfig(student="ngram"))
    with pytest.raises(ConfigError, match="several labels a text") as caught:
        open_teacher(f"local:{tmp_path / 's'}")
    assert "stillhouse evaluate" in str(caught.value)
