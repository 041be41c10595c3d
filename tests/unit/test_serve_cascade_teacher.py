"""A cascade whose teacher is a spec: the ledger beside it, standing in, figures."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from batch_cases import APIS, point_at
from certify_cases import bank_rows
from serve_cases import RunningServer
from tests.mock_provider import MockProvider

from stillhouse.cascade import ROWS_STEM, CascadeRow, open_cascade
from stillhouse.errors import ConfigError
from stillhouse.runlog import Ledger
from stillhouse.serve import ServeConfig, TeacherConfig, open_engine

CHAT = "/v1/chat/completions"
ROWS = bank_rows(1200, held_out=600)
STRANGE = "zyxw vuts qponm zyxw 9999 vuts"


@pytest.fixture
def cascade(bank_folder: Path) -> Path:
    return bank_folder / "cascade"


@pytest.fixture
def sure(cascade: Path) -> str:
    for row in open_cascade(cascade).artifact.rows(ROWS_STEM, CascadeRow):
        if row.route == "student":
            return next(one.text for one in ROWS if one.prompt_id == row.prompt_id)
    raise AssertionError("the student may answer nothing")


@pytest.fixture
def mock() -> Iterator[MockProvider]:
    with MockProvider() as provider:
        yield provider


def asked(server: RunningServer, text: str, **fields: Any) -> tuple[int, dict[str, str], Any]:
    body = {"messages": [{"role": "user", "content": text}], **fields}
    status, headers, raw = server.send(CHAT, body)
    return status, headers, json.loads(raw)


def test_fallbacks_go_through_a_ledger_beside_the_cascade(
    cascade: Path, sure: str, tmp_path: Path
) -> None:
    engine = open_engine(
        str(cascade), ServeConfig(), teacher="fake:", memory=tmp_path / "watch.json"
    )
    ledger = cascade.with_name("cascade.ledger.sqlite")
    with RunningServer(engine) as server:
        status, headers, _ = asked(server, STRANGE)
        assert (status, headers["x-stillhouse-route"]) == (200, "teacher")
        assert asked(server, sure)[1]["x-stillhouse-route"] == "student"
        page = server.send("/metrics")[2].decode()
        assert 'stillhouse_cascade_state{state="serving"} 1\n' in page
        assert 'stillhouse_cascade_requests_total{route="student",reason="confident"} 1\n' in page
        assert 'stillhouse_teacher_calls_total{outcome="answered"} 1\n' in page
        _, _, raw = server.send("/v1/stillhouse/cascade")
        report = json.loads(raw)
        assert report["counts"]["requests"] == 2
        assert report["version"] == open_cascade(cascade).artifact.manifest_sha256
        assert server.send("/v1/stillhouse/shadow")[0] == 404
    with Ledger(ledger) as opened:
        (one,) = opened.recorded(up_to=opened.extent()[0])
        assert one.request.messages[-1].content == STRANGE
    ledger.unlink()


@pytest.mark.parametrize(
    ("fault", "reason"), [("unauthorized", "teacher_out"), ("hang", "teacher_late")]
)
def test_a_student_stands_in_for_a_teacher_that_is_out_where_told_to(
    fault: str,
    reason: str,
    cascade: Path,
    mock: MockProvider,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    point_at(monkeypatch, APIS["openai"], mock)
    mock.change(faults=[fault])
    teacher = TeacherConfig(spec="openai:mock-small", ledger=tmp_path / "ledger.sqlite")
    for stands_in, expected in ((False, (502, 504)), (True, (200,))):
        engine = open_engine(
            str(cascade),
            ServeConfig(deadline_s=0.5),
            teacher=teacher,
            memory=tmp_path / "watch.json",
            stands_in=stands_in,
        )
        with RunningServer(engine, deadline_s=0.5) as server:
            status, headers, _ = asked(server, STRANGE)
            assert status in expected
            if stands_in:
                assert headers["x-stillhouse-route"] == "student"
                assert headers["x-stillhouse-reason"] == reason
                # What no label can be is nobody's while the teacher is out.
                form = {"type": "json_object"}
                assert asked(server, STRANGE, response_format=form)[0] in (502, 504)


def test_a_spent_budget_leaves_the_student_answering_what_it_may(
    cascade: Path, sure: str, mock: MockProvider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    point_at(monkeypatch, APIS["openai"], mock)
    prices = tmp_path / "prices.yaml"
    prices.write_text("openai/mock-small: {input: 2.0, output: 8.0}\n")
    teacher = TeacherConfig(
        spec="openai:mock-small",
        ledger=tmp_path / "ledger.sqlite",
        budget_usd=0.0,
        prices=prices,
    )
    for stands_in, status in ((False, 402), (True, 200)):
        engine = open_engine(
            str(cascade),
            ServeConfig(),
            teacher=teacher,
            memory=tmp_path / "watch.json",
            stands_in=stands_in,
        )
        with RunningServer(engine) as server:
            found, headers, _ = asked(server, STRANGE)
            assert found == status
            if stands_in:
                assert headers["x-stillhouse-reason"] == "teacher_budget"
            assert asked(server, sure)[0] == 200
    assert mock.count == 0


def test_a_teacher_that_is_a_student_of_labels_is_told_them(cascade: Path, tmp_path: Path) -> None:
    student = open_cascade(cascade).student.path
    teacher = TeacherConfig(spec=f"local:{student}", ledger=tmp_path / "ledger.sqlite")
    engine = open_engine(
        str(cascade), ServeConfig(), teacher=teacher, memory=tmp_path / "watch.json"
    )
    with RunningServer(engine) as server:
        status, headers, document = asked(server, STRANGE)
    assert (status, headers["x-stillhouse-route"]) == (200, "teacher")
    assert document["choices"][0]["message"]["content"] in open_cascade(cascade).task.labels


def test_what_belongs_to_a_cascade_is_refused_elsewhere(cascade: Path, tmp_path: Path) -> None:
    student = open_cascade(cascade).student.path
    with pytest.raises(ConfigError, match="no deployment"):
        open_engine(str(cascade), ServeConfig(), teacher="fake:", on_breach="rollback")
    with pytest.raises(ConfigError, match="is no cascade"):
        open_engine(str(student), ServeConfig(), shadow=cascade)
    with pytest.raises(ConfigError, match="not one of"):
        open_engine(str(cascade), ServeConfig(), teacher="nonsense")
