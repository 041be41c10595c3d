"""A certified cascade behind HTTP: who answers what, audits, falling back, and restarts."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from certify_cases import bank_rows, fitted_bank
from serve_cases import RunningServer

from stillhouse.cascade import ROWS_STEM, CascadeRow, WatchConfig, open_cascade
from stillhouse.certify import CertifyConfig, certify
from stillhouse.classifiers import load_classifier
from stillhouse.errors import ConfigError
from stillhouse.serve import Answering, Ask, Piece, RefusedError, ServeConfig, open_engine
from stillhouse.serve._cascade import CascadeEngine
from stillhouse.serve._labels import LabelEngine

CHAT = "/v1/chat/completions"
ROWS = bank_rows(1200, held_out=600)
KNOWN = [row.text for row in ROWS if row.split == "held_out"]
STRANGE = "zyxw vuts qponm zyxw 9999 vuts"


class FixedTeacher:
    """Says one thing, or that it is out."""

    name = "teacher"

    def __init__(self, said: str | None) -> None:
        self.num_running = 0
        self.num_asked = 0
        self._said = said

    async def open(self, ask: Ask) -> Answering:
        self.num_asked += 1
        if self._said is None:
            raise RefusedError(502, "The engine of teacher is not reached.")
        return Answering(1, self._pieces(self._said))

    async def _pieces(self, said: str) -> AsyncIterator[Piece]:
        yield Piece(0, said, (), "stop", 1)

    async def close(self) -> None:
        return


@pytest.fixture(scope="module")
def cascade(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cascade")
    dataset, student = fitted_bank(folder, ROWS)
    return certify(student, dataset, folder / "cascade", config=CertifyConfig(target=0.9)).path


@pytest.fixture(scope="module")
def sure(cascade: Path) -> tuple[str, str]:
    """A text that the student may answer, and its label."""
    for row in open_cascade(cascade).artifact.rows(ROWS_STEM, CascadeRow):
        if row.route == "student" and row.predicted == row.answer:
            (text,) = (one.text for one in ROWS if one.prompt_id == row.prompt_id)
            return text, str(row.answer)
    raise AssertionError("the student may answer nothing")


@pytest.fixture
def engine_of(cascade: Path, tmp_path: Path) -> Callable[..., CascadeEngine]:
    def make(teacher: FixedTeacher, **given: Any) -> CascadeEngine:
        opened = open_cascade(cascade)
        classifier = load_classifier(opened.student.path)
        student = LabelEngine(classifier, opened.task, name="bank", novelty=opened.novelty)
        watch = WatchConfig(**{"audit_fraction": 1e-12, **given})
        memory = tmp_path / "watch.json"
        return CascadeEngine(opened, student, teacher, memory=memory, config=watch)

    return make


def asked(server: RunningServer, text: str) -> tuple[int, str, dict[str, str]]:
    status, headers, body = server.send(CHAT, {"messages": [{"role": "user", "content": text}]})
    document = json.loads(body)
    said = document["choices"][0]["message"]["content"] if status == 200 else str(document)
    return status, said, headers


def test_the_student_answers_what_it_is_sure_of_and_the_teacher_the_rest(
    engine_of: Any, sure: tuple[str, str]
) -> None:
    teacher = FixedTeacher("whatever")
    with RunningServer(engine_of(teacher)) as server:
        status, said, headers = asked(server, sure[0])
        assert (status, said, headers["x-stillhouse-route"]) == (200, sure[1], "student")
        assert headers["x-stillhouse-reason"] == "confident"
        assert teacher.num_asked == 0
        status, said, headers = asked(server, STRANGE)
        assert (status, said, headers["x-stillhouse-route"]) == (200, "whatever", "teacher")
        assert headers["x-stillhouse-reason"] in ("unfamiliar", "unsure")
        assert float(headers["x-stillhouse-confidence"]) <= 1
        assert headers["x-stillhouse-version"]


def test_a_teacher_that_is_out_leaves_the_student_answering(
    engine_of: Any, sure: tuple[str, str]
) -> None:
    with RunningServer(engine_of(FixedTeacher(None), audit_fraction=1.0)) as server:
        assert asked(server, STRANGE)[0] == 502
        assert asked(server, sure[0])[:2] == (200, sure[1])


def test_answers_that_differ_in_the_audits_make_it_fall_back(
    engine_of: Any, sure: tuple[str, str]
) -> None:
    watch = {"audit_fraction": 1.0, "breach_run_length": 50.0}
    engine = engine_of(FixedTeacher("whatever"), **watch)
    with RunningServer(engine) as server:
        for text in KNOWN:
            assert asked(server, text)[0] == 200
            if engine.watch.state == "fallen_back":
                break
        assert engine.watch.status().cause == "breach"
        status, said, headers = asked(server, sure[0])
        assert (status, said) == (200, "whatever")
        assert headers["x-stillhouse-reason"] == "fallen_back"
    again = engine_of(FixedTeacher("whatever"), **watch)
    assert again.watch.state == "fallen_back"  # a restart forgets nothing


def test_strange_requests_make_it_fall_back(engine_of: Any) -> None:
    engine = engine_of(FixedTeacher("loan"))
    with RunningServer(engine) as server:
        for _ in range(300):
            asked(server, STRANGE)
            if engine.watch.state == "fallen_back":
                break
        assert engine.watch.status().cause == "drift"


def test_what_a_label_cannot_be_is_the_teachers(engine_of: Any, sure: tuple[str, str]) -> None:
    with RunningServer(engine_of(FixedTeacher("{}"))) as server:
        form = {"type": "json_object"}
        messages = [{"role": "user", "content": sure[0]}]
        document = server.ask(CHAT, messages=messages, response_format=form)
        assert document["choices"][0]["message"]["content"] == "{}"


def test_a_cascade_and_its_teacher_come_together(cascade: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--teacher"):
        open_engine(str(cascade), ServeConfig())
    student = open_cascade(cascade).student.path
    with pytest.raises(ConfigError, match="is no cascade"):
        open_engine(str(student), ServeConfig(), teacher="http://localhost:1/v1#m")
    memory = tmp_path / "watch.json"
    engine = open_engine(
        str(cascade), ServeConfig(), teacher="http://localhost:1/v1#m", memory=memory
    )
    asyncio.run(engine.close())
    assert memory.is_file()
    memory.write_text("{}")
    with pytest.raises(Exception, match="no memory of a watch"):
        open_engine(str(cascade), ServeConfig(), teacher="http://localhost:1/v1#m", memory=memory)
