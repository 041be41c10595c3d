"""The parts of the serving benchmark that judge: goals, tables, and the client that asks."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from benchmarks._parts.goals import rows
from benchmarks._parts.pages import PAGE, with_tables
from benchmarks._parts.results import read
from benchmarks._serve.cascades import Subject, chat_bodies, teaching
from benchmarks._serve.load import flood, paced, requests_of
from benchmarks._serve.options import ServeOptions
from benchmarks._serve.routes import CHAT, by_route, summary
from benchmarks._serve.soak import Tally, _miscounted
from benchmarks._serve.tables import GOALS, overhead_table, soak_table, streams_table, tables
from certify_cases import bank_rows
from serve_cases import RunningServer
from test_serve_limits import EchoEngine


@pytest.mark.parametrize(("speed", "met"), [(2000, "yes"), (1999, "**no**")])
def test_a_goal_holds_down_to_its_limit(speed: float, met: str) -> None:
    document = {"labels": {"ngram": {"flood": {"requests_per_s": speed}}}}
    assert rows(document, GOALS)[0].cells[3] == met


def test_speeds_are_shown_as_multiples() -> None:
    best = {"stillhouse": {"tokens_per_s": 90.0, "first_token_s": 0.25}}
    best["transformers"] = {"tokens_per_s": 60.0}
    table = streams_table({"best": best})
    assert "| stillhouse | 1.50 | 0.25 |" in table
    assert "| transformers | 1.00 |  |" in table


def test_the_page_shows_what_the_results_hold() -> None:
    page = PAGE.read_text()
    assert with_tables(page, "serve", tables(read(ServeOptions().json))) == page, (
        "run: python benchmarks/serve.py --table"
    )


def test_the_client_counts_answers_and_refuses_errors(tmp_path: Path) -> None:
    bodies = tmp_path / "bodies.jsonl"
    bodies.write_text('{"input": "x"}\n')
    requests = [
        request.replace(b"/v1/decisions", b"/v1/responses") for request in requests_of(bodies)
    ]
    with RunningServer(EchoEngine()) as server:
        took = asyncio.run(paced(server.port, requests, 100, 0.1))
        assert len(took) == 10
        assert min(took) > 0
        assert len(asyncio.run(flood(server.port, requests, 2, 0.1))) > 2
        with pytest.raises(RuntimeError, match="404"):  # the echo writes text
            asyncio.run(flood(server.port, requests_of(bodies), 1, 0.1))


@pytest.fixture
def bank(bank_folder: Path) -> Subject:
    rows = bank_rows(1200, held_out=600)
    answers = {row.text: str(row.answer) for row in rows if row.split == "held_out"}
    return Subject(bank_folder / "cascade", answers)


def test_the_teacher_of_the_benchmark_answers_breaks_off_and_refuses(tmp_path: Path) -> None:
    from stillhouse.serve import ServeConfig, open_engine

    with teaching({"hello": "card_arrival"}, tmp_path, delay_ms=30) as teacher:
        engine = open_engine(teacher.spec, ServeConfig())
        bodies = chat_bodies(["hello"], tmp_path / "chats.jsonl")
        direct = asyncio.run(by_route(teacher.port, requests_of(bodies, CHAT), 50, 0.2))
        assert list(direct) == ["teacher"]
        assert 30 <= summary(direct["teacher"])["p50_ms"] < 500
        with RunningServer(engine) as server:
            messages = [{"role": "user", "content": "hello"}]
            document = server.ask(CHAT, messages=messages)
            assert document["choices"][0]["message"]["content"] == "card_arrival"
            for mode in ("refuse", "break"):
                teacher.be(mode)
                assert server.send(CHAT, {"messages": messages})[0] == 502


def test_a_request_that_the_server_did_not_count_is_found() -> None:
    tally = Tally()
    tally.sent.update({"whole": 10, "leave": 2})
    tally.ended.update({"200": 9, "502": 1, "left": 2})
    assert _miscounted(tally, {"200": 9, "502": 1, "left": 2}, 9, 0) == 0
    assert _miscounted(tally, {"200": 11, "502": 1}, 9, 0) == 0  # answered before they left
    assert _miscounted(tally, {"200": 8, "502": 1, "left": 2}, 9, 1) == 1
    assert _miscounted(tally, {"200": 9, "left": 2}, 9, 1) == 1
    assert _miscounted(tally, {"200": 9, "502": 1, "left": 3}, 9, 0) == 1


def test_tables_show_what_was_added_and_what_became_of_requests() -> None:
    times = {"requests": 100, "p50_ms": 20.0, "p99_ms": 22.0}
    through = {"requests": 60, "p50_ms": 21.5, "p99_ms": 25.0}
    way = {"direct": times, "teacher": through, "student": times}
    table = overhead_table({"address": {**way, "added_p50_ms": 1.5, "added_p99_ms": 3.0}})
    assert "| address | by the cascade | 60 | 21.50 | 25.00 | 1.50 | 3.00 |" in table
    assert "what" in soak_table({})


def soaked(bank: Subject, work: Path, minutes: float) -> dict[str, Any]:
    from benchmarks._serve.soak import of_subject

    options = ServeOptions(work=work, minutes=minutes, soak_rate=50, teacher_ms=10.0)
    return of_subject(bank, options, strange_fraction=0.3)


@pytest.mark.slow
def test_twenty_seconds_of_the_soak_lose_no_request(bank: Subject, tmp_path: Path) -> None:
    found = soaked(bank, tmp_path, 20 / 60)
    assert sum(found["sent"].values()) == 1000
    assert found["wrong"] == {}
    assert (found["lost"], found["undocumented"], found["miscounted"]) == (0, 0, 0)
    assert found["ledger"]["open"] == 0
    assert found["ended"]["left"] > 50
    assert found["ended"]["200"] > 500
    assert sum(found["ended"].get(status, 0) for status in ("502", "503", "504")) > 0


@pytest.mark.slow
def test_a_teacher_that_is_out_ends_no_request_late(bank: Subject, tmp_path: Path) -> None:
    from benchmarks._serve.deadline import of_subject

    found = of_subject(bank, ServeOptions(work=tmp_path, deadline_s=1.0, teacher_ms=10.0))
    assert found["undocumented"] == 0
    assert found["longest_over_deadline"] < 2.0
    ways = found["ways"]
    for mode in ("gone", "refuse", "hang"):
        assert ways[f"{mode}, student stands in"]["statuses"] == {"200": 32}
    # Of an answer that has begun nobody else can give the rest.
    assert ways["break, student stands in"]["statuses"] == ways["break"]["statuses"]
    for mode, status in (("gone", "502"), ("refuse", "502"), ("hang", "504"), ("break", "502")):
        assert ways[mode]["statuses"][status] >= 16
        assert ways[mode]["statuses"]["200"] > 0
