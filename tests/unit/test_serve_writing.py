"""Cascades of students that write: as certified, decided first, audited by grade."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import task_cases
from serve_cases import RunningServer
from test_serve_cascade import FixedTeacher

from stillhouse.artifacts import open_artifact
from stillhouse.cascade import ROWS_STEM, CascadeRow, WatchConfig, open_cascade
from stillhouse.certify import CertifyConfig, certify
from stillhouse.curate import CurateConfig, curate
from stillhouse.errors import ConfigError
from stillhouse.records import Example
from stillhouse.serve import ServeConfig, open_engine
from stillhouse.serve._cascade import CascadeEngine
from stillhouse.serve._opening import _student
from stillhouse.tasks import Task
from stillhouse.train import TrainConfig, train

CHAT = "/v1/chat/completions"
TEXTS = ("The town opened a bridge", "The baker won a prize", "Rain fell all week")
ANSWERS = ("Open.", "A prize.", "Wet.")
STRANGE = "zyxw vuts qponm zyxw 9999 vuts"


@pytest.fixture(scope="module")
def cascade(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("text")
    task = Task(name="t", kind="text", margin=0.1)
    prompts = [
        task_cases.prompt(
            f"p{n}", f"{TEXTS[n % 3]} ({n})", split="held_out" if n // 3 % 2 == 0 else "train"
        )
        for n in range(180)
    ]
    completions = [task_cases.completion(one, ANSWERS[n % 3]) for n, one in enumerate(prompts)]
    source = task_cases.collected(folder / "completions", prompts, completions)
    dataset = curate(
        source, folder / "dataset", config=CurateConfig(contamination="allow"), task=task
    ).path
    settings = TrainConfig(
        base=f"local:{tiny_folder}", objective="sft", epochs=20.0, batch_size=8, learning_rate=1e-2
    )
    student = train(dataset, folder / "student", config=settings).path
    config = CertifyConfig(target=0.6, max_tokens=12)
    return certify(student, dataset, folder / "cascade", config=config).path


@pytest.fixture(scope="module")
def rows(cascade: Path) -> list[tuple[CascadeRow, list[dict[str, str]]]]:
    """The calibration rows with the conversations that they were certified on."""
    dataset = open_artifact(cascade.parent / "dataset")
    asked = {one.prompt_id: one.messages for one in dataset.rows("examples", Example)}
    found = open_cascade(cascade).artifact.rows(ROWS_STEM, CascadeRow)
    return [
        (row, [{"role": one.role, "content": one.content} for one in asked[row.prompt_id]])
        for row in found
    ]


@pytest.fixture
def engine_of(cascade: Path, tmp_path: Path) -> Callable[..., CascadeEngine]:
    def make(teacher: FixedTeacher, **given: Any) -> CascadeEngine:
        opened = open_cascade(cascade)
        watch = WatchConfig(**{"audit_fraction": 1e-12, "on_drift": "alarm", **given})
        memory = tmp_path / "watch.json"
        return CascadeEngine(
            opened, _student(opened, "writer"), teacher, memory=memory, config=watch
        )

    return make


@pytest.fixture
def running(engine_of: Any) -> Iterator[RunningServer]:
    with RunningServer(engine_of(FixedTeacher("the teacher's words"))) as server:
        yield server


def test_it_answers_as_it_was_certified(running: RunningServer, rows: Any) -> None:
    routes = set()
    for row, messages in rows[:40]:
        status, headers, body = running.send(CHAT, {"messages": messages})
        assert status == 200, body
        said = json.loads(body)["choices"][0]["message"]["content"]
        routes.add(row.route)
        assert headers["x-stillhouse-route"] == row.route
        if row.confidence is not None:
            # Batches of other widths round in another order.
            assert float(headers["x-stillhouse-confidence"]) == pytest.approx(
                row.confidence, abs=2e-4
            )
        assert said == (row.predicted if row.route == "student" else "the teacher's words")
    assert "student" in routes


def test_what_is_unlike_its_texts_is_the_teachers(running: RunningServer) -> None:
    messages = [{"role": "user", "content": STRANGE}]
    status, headers, body = running.send(CHAT, {"messages": messages})
    assert (status, headers["x-stillhouse-route"]) == (200, "teacher")
    assert json.loads(body)["choices"][0]["message"]["content"] == "the teacher's words"


@pytest.fixture
def sure(rows: Any) -> tuple[CascadeRow, list[dict[str, str]]]:
    return next(pair for pair in rows if pair[0].route == "student" and pair[0].loss == 0)


def test_a_stream_begins_with_the_decision(running: RunningServer, sure: Any) -> None:
    row, messages = sure
    events = running.events(CHAT, messages=messages, stream_options={"include_usage": True})
    deltas = [one["choices"][0]["delta"].get("content") for one in events[:-1] if one["choices"]]
    assert "".join(filter(None, deltas)) == row.predicted
    assert events[-1] == "[DONE]"
    assert events[-2]["usage"]["completion_tokens"] > 1


@pytest.mark.parametrize(
    "fields",
    [
        {"response_format": {"type": "json_object"}},
        {"logprobs": True},
        {"max_tokens": 1},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
    ],
)
def test_what_was_not_certified_is_the_teachers(
    fields: dict[str, Any], running: RunningServer, sure: Any
) -> None:
    _, headers, _ = running.send(CHAT, {"messages": sure[1], **fields})
    reason = "too_long" if "max_tokens" in fields else "not_certified"
    assert headers["x-stillhouse-route"] == "teacher"
    assert headers["x-stillhouse-reason"] == reason


def test_an_answer_ends_before_the_stop_of_its_client(running: RunningServer, sure: Any) -> None:
    row, messages = sure
    stop = str(row.predicted)[-2:]
    document = running.ask(CHAT, messages=messages, stop=[stop])
    assert document["choices"][0]["message"]["content"] == str(row.predicted)[:-2]


def test_audits_are_graded(engine_of: Any, sure: Any) -> None:
    row, messages = sure
    half = f"{row.predicted} and something else"
    for said, least, most in ((row.predicted, 0.0, 0.0), (half, 0.01, 0.99)):
        engine = engine_of(FixedTeacher(said), audit_fraction=1.0, seed=len(str(said)))
        with RunningServer(engine) as server:
            assert server.send(CHAT, {"messages": messages})[0] == 200
        counts = engine.watch.status().counts
        assert counts.audits == 1
        assert least <= counts.loss <= most
        engine._memory.unlink()


def test_it_is_opened_by_its_folder(cascade: Path, tmp_path: Path, sure: Any) -> None:
    memory = tmp_path / "watch.json"
    engine = open_engine(str(cascade), ServeConfig(), teacher="fake:", memory=memory)
    with RunningServer(engine) as server:
        said = server.ask(CHAT, messages=sure[1])["choices"][0]["message"]["content"]
    assert said == sure[0].predicted


def test_grades_of_others_say_nothing_of_confidence_here(cascade: Path, tmp_path: Path) -> None:
    grades = tmp_path / "grades.jsonl"
    rows = open_cascade(cascade).artifact.rows(ROWS_STEM, CascadeRow)
    lines = [
        {"prompt_id": row.prompt_id, "confidence": row.confidence, "score": 1.0} for row in rows
    ]
    grades.write_text("".join(json.dumps(line) + "\n" for line in lines))
    folder = cascade.parent
    path = certify(
        folder / "student",
        folder / "dataset",
        folder / "graded",
        config=CertifyConfig(target=0.6),
        grades=grades,
    ).path
    with pytest.raises(ConfigError, match="certified by grades"):
        open_engine(str(path), ServeConfig(), teacher="fake:", memory=tmp_path / "w.json")
