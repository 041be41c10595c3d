"""A served teacher: every protocol of a provider, the ledger, the budget, and what goes wrong."""

import json
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from batch_cases import APIS, PRICE, point_at
from serve_cases import RunningServer
from tests.mock_provider import MockProvider

from stillhouse.collect import ImportConfig, import_completions
from stillhouse.errors import ConfigError
from stillhouse.records import Completion, Prompt, Request, Sampling
from stillhouse.runlog import Ledger, Recorded
from stillhouse.serve._teacher import TeacherEngine
from stillhouse.serve._teacher._asking import asking_of
from stillhouse.serve._teacher._book import Book
from stillhouse.serve._teacher._engine import TeacherSource
from stillhouse.serve._teacher._opening import open_source
from stillhouse.serve._teacher_config import TeacherConfig
from stillhouse.teachers import Access, open_teacher

CHAT = "/v1/chat/completions"
SAID = "The river of Aran is long, and the town is old."
ASKED = "Tell of the town of Aran and its long river"


@pytest.fixture
def mock() -> Iterator[MockProvider]:
    with MockProvider() as provider:
        yield provider


def priced_engine(spec: str, ledger: Path, **given: Any) -> TeacherEngine:
    """A teacher whose price is known: 2 and 8 USD for a million tokens."""
    name = spec.partition(":")[0]
    access = Access(prices={f"{name}/mock-small": PRICE}, is_streamed=True, deadline_s=20)
    teacher = open_teacher(spec, access)
    book = Book(
        ledger, worst_cost_usd=teacher.worst_cost_usd, budget_usd=given.pop("budget_usd", None)
    )
    source = TeacherSource(teacher.info, asking_of(teacher), book)
    book.open()
    return TeacherEngine(source, labels=(), max_tokens=64, **given)


def said(server: RunningServer, text: str = ASKED, **fields: Any) -> tuple[int, Any]:
    body = {"messages": [{"role": "user", "content": text}], **fields}
    status, _, raw = server.send(CHAT, body)
    document = json.loads(raw)
    return status, document["choices"][0]["message"]["content"] if status == 200 else document


def recorded(ledger: Path) -> list[Recorded]:
    with Ledger(ledger) as opened:
        return list(opened.recorded(up_to=opened.extent()[0]))


@pytest.mark.parametrize("api", ["openai", "responses", "anthropic", "google"])
def test_every_dialect_answers_whole_and_streamed_and_is_recorded(
    api: str, mock: MockProvider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mock.change(script=[("Aran", SAID)], latency={"per_token_s": 0.01})
    point_at(monkeypatch, APIS[api], mock)
    ledger = tmp_path / "ledger.sqlite"
    engine = priced_engine(APIS[api].spec, ledger)
    with RunningServer(engine) as server:
        assert said(server) == (200, SAID)
        body = {"messages": [{"role": "user", "content": f"{ASKED} again"}]}
        events = server.events(CHAT, **body, stream_options={"include_usage": True})
        deltas = [each["choices"][0]["delta"] for each in events[:-1] if each["choices"]]
        pieces = [delta["content"] for delta in deltas if delta.get("content")]
        assert "".join(pieces) == SAID
        assert len(pieces) > 1  # it came as it was written
        assert events[-1] == "[DONE]"
        assert events[-2]["usage"]["completion_tokens"] > 0
    found = recorded(ledger)
    assert [one.request.messages[-1].content for one in found] == [ASKED, f"{ASKED} again"]
    usages = [one.answer.usage for one in found]
    cost = sum(usage.cost_usd or 0 for usage in usages)
    assert cost == pytest.approx(
        sum(each.prompt_tokens * 2e-6 + each.completion_tokens * 8e-6 for each in usages)
    )
    assert engine.counts.cost_usd == pytest.approx(cost)
    assert cost > 0


def test_a_stream_begins_before_the_teacher_has_ended(
    mock: MockProvider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mock.change(latency={"per_token_s": 0.05})
    point_at(monkeypatch, APIS["openai"], mock)
    import http.client

    with RunningServer(priced_engine("openai:mock-small", tmp_path / "l.sqlite")) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        body = {"messages": [{"role": "user", "content": ASKED}], "stream": True}
        begun = time.monotonic()
        connection.request("POST", CHAT, json.dumps(body))
        response = connection.getresponse()
        first = 0.0
        for line in response:
            if not first and b'"content":"' in line and b'"content":""' not in line:
                first = time.monotonic() - begun
        whole = time.monotonic() - begun
        connection.close()
    assert 0 < first < whole / 2


def test_equal_requests_are_different_samples_unless_they_may_be_reused(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite"
    with RunningServer(priced_engine("fake:", ledger)) as server:
        assert said(server, temperature=0) == said(server, temperature=0)
    assert [one.request.sample_index for one in recorded(ledger)] == [0, 1]
    engine = priced_engine("fake:", ledger, reuses=True)
    with RunningServer(engine) as server:
        assert said(server, temperature=0)[0] == 200
        assert said(server, temperature=0.5)[0] == 200  # no answer to it says what it would be
        page = server.send("/metrics")[2].decode()
        assert 'stillhouse_teacher_calls_total{outcome="reused"} 1\n' in page
        assert 'stillhouse_teacher_calls_total{outcome="answered"} 1\n' in page
    assert len(recorded(ledger)) == 3


def test_what_was_recorded_becomes_completions(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite"
    with RunningServer(priced_engine("fake:", ledger)) as server:
        for number in range(3):
            assert said(server, f"Write of the {number} bridges")[0] == 200
    made = import_completions(ledger, tmp_path / "out", config=ImportConfig(format="ledger"))
    completions = list(made.rows("completions", Completion))
    assert len(completions) == 3
    assert {each.teacher for each in completions} == {"fake:headline"}
    prompts = {one.messages[-1].content for one in made.rows("prompts", Prompt)}
    assert prompts == {f"Write of the {number} bridges" for number in range(3)}


def test_a_spent_budget_is_a_402_and_nothing_is_asked(
    mock: MockProvider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    point_at(monkeypatch, APIS["openai"], mock)
    ledger = tmp_path / "ledger.sqlite"
    # One call is at most 64 tokens of 8 USD and as many of 2 USD as its body has bytes.
    engine = priced_engine("openai:mock-small", ledger, budget_usd=0.0015)
    with RunningServer(engine) as server:
        answered = 0
        while (found := said(server, f"{ASKED} {answered}"))[0] == 200:
            answered += 1
            assert answered < 100
        status, document = found
        assert status == 402
        assert document["error"]["code"] == "teacher_budget_spent"
        assert mock.count == answered > 0
        page = server.send("/metrics")[2].decode()
        assert 'stillhouse_teacher_calls_total{outcome="over_budget"} 1\n' in page
    with Ledger(ledger) as opened:
        assert (opened.totals().cost_usd or 0) <= 0.0015
    again = priced_engine("openai:mock-small", ledger, budget_usd=0.0015)
    with RunningServer(again) as server:
        assert said(server, ASKED)[0] == 402  # a restart forgets nothing


def test_a_budget_needs_a_price(
    mock: MockProvider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    point_at(monkeypatch, APIS["openai"], mock)
    config = TeacherConfig(spec="openai:a-model-of-no-known-price", budget_usd=1.0)
    with pytest.raises(ConfigError, match="price of"):
        open_source(config, ledger=tmp_path / "ledger.sqlite", deadline_s=10)
    with pytest.raises(ConfigError, match="--budget"):
        TeacherConfig(spec="fake:", budget_usd=float("nan"))


@pytest.mark.parametrize(
    ("fault", "status", "asked"),
    [
        ("server_error", 502, 2),  # tried once more: nobody has heard anything yet
        ("bad_request", 400, 1),
        ("unauthorized", 502, 1),
        ("empty", 502, 2),
        ("reset", 502, 2),
    ],
)
def test_what_a_provider_does_wrong_has_one_status(
    fault: str,
    status: int,
    asked: int,
    mock: MockProvider,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    point_at(monkeypatch, APIS["openai"], mock)
    ledger = tmp_path / "ledger.sqlite"
    with RunningServer(priced_engine("openai:mock-small", ledger)) as server:
        found, document = said(server, f"{ASKED} [[fault={fault}]]")
        assert (found, mock.count) == (status, asked)
        assert "test-key" not in json.dumps(document)
        assert said(server)[0] == 200  # what made one request pointless is over by the next
    with Ledger(ledger) as opened:
        totals = opened.totals()
        assert (totals.num_answered, totals.num_open) == (1, 0)
        assert totals.num_failed == asked


def test_a_stream_that_breaks_off_ends_with_an_error_and_is_recorded_as_one(
    mock: MockProvider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    point_at(monkeypatch, APIS["openai"], mock)
    ledger = tmp_path / "ledger.sqlite"
    with RunningServer(priced_engine("openai:mock-small", ledger)) as server:
        body = {"messages": [{"role": "user", "content": f"{ASKED} [[fault=cut:at=0.6]]"}]}
        events = server.events(CHAT, **body)
        assert "error" in events[-1]
        assert "[DONE]" not in events
        assert mock.count == 1  # text went out: it is not begun again
    with Ledger(ledger) as opened:
        assert (opened.totals().num_failed, opened.totals().num_open) == (1, 0)


def test_a_teacher_that_hangs_is_a_504_within_the_deadline_and_is_recorded(
    mock: MockProvider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    point_at(monkeypatch, APIS["openai"], mock)
    ledger = tmp_path / "ledger.sqlite"
    engine = priced_engine("openai:mock-small", ledger)
    with RunningServer(engine, deadline_s=0.5) as server:
        begun = time.monotonic()
        assert said(server, f"{ASKED} [[fault=hang]]")[0] == 504
        assert time.monotonic() - begun < 3
        assert engine.num_running == 0
    with Ledger(ledger) as opened:
        totals = opened.totals()
        assert (totals.num_open, totals.num_failed, totals.num_lost) == (0, 1, 0)


def test_a_client_that_leaves_ends_its_call_and_is_no_fault_of_the_server(
    mock: MockProvider,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    mock.change(latency={"per_token_s": 0.05})
    point_at(monkeypatch, APIS["openai"], mock)
    ledger = tmp_path / "ledger.sqlite"
    engine = priced_engine("openai:mock-small", ledger)
    with RunningServer(engine) as server:
        body = json.dumps({"messages": [{"role": "user", "content": ASKED}], "stream": True})
        request = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", server.port)) as connection:
                connection.sendall(f"{request}{body}".encode())
                assert connection.recv(64).startswith(b"HTTP/1.1 200")
        give_up = time.monotonic() + 10
        while engine.num_running or engine.counts.num_errors < 3:
            assert time.monotonic() < give_up
            time.sleep(0.01)
        page = server.send("/metrics")[2].decode()
        assert f'stillhouse_requests_total{{path="{CHAT}",status="left"}} 3\n' in page
    assert "Error handling request" not in caplog.text
    with Ledger(ledger) as opened:
        assert (opened.totals().num_failed, opened.totals().num_open) == (3, 0)


def test_nothing_there_is_a_502_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    with RunningServer(priced_engine("openai:mock-small", tmp_path / "l.sqlite")) as server:
        assert said(server)[0] == 502
        assert said(server)[0] == 502


def test_tools_are_called_and_stops_cut_only_what_the_client_sees(
    mock: MockProvider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mock.change(script=[("Aran", SAID)])
    point_at(monkeypatch, APIS["openai"], mock)
    ledger = tmp_path / "ledger.sqlite"
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    with RunningServer(priced_engine("openai:mock-small", ledger)) as server:
        messages = [{"role": "user", "content": "What is the weather"}]
        (choice,) = server.ask(CHAT, messages=messages, tools=[tool])["choices"]
        assert choice["finish_reason"] == "tool_calls"
        assert [call["function"]["name"] for call in choice["message"]["tool_calls"]] == ["weather"]
        assert said(server, stop=[" is long"]) == (200, "The river of Aran")
    last = json.loads(recorded(ledger)[-1].answer.body)
    assert last["choices"][0]["message"]["content"] == SAID


def test_a_text_to_continue_is_refused(tmp_path: Path) -> None:
    with RunningServer(priced_engine("fake:", tmp_path / "l.sqlite")) as server:
        status, _, body = server.send("/v1/completions", {"prompt": "Once upon"})
        assert status == 400
        assert b"/v1/chat/completions" in body


def test_several_choices_are_several_samples(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite"
    with RunningServer(priced_engine("fake:", ledger)) as server:
        messages = [{"role": "user", "content": ASKED}]
        document = server.ask(CHAT, messages=messages, n=3)
        assert [each["index"] for each in document["choices"]] == [0, 1, 2]
    assert sorted(one.request.sample_index for one in recorded(ledger)) == [0, 1, 2]


def test_two_servers_of_one_ledger_number_their_samples_apart(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite"
    engines = [priced_engine("fake:", ledger), priced_engine("fake:", ledger)]
    with RunningServer(engines[0]) as one, RunningServer(engines[1]) as other:
        for server in (one, other, one, other):
            assert said(server)[0] == 200
    assert sorted(each.request.sample_index for each in recorded(ledger)) == [0, 1, 2, 3]


def test_a_ledger_that_cannot_be_written_stops_only_what_has_a_budget(tmp_path: Path) -> None:
    for budget, status in ((None, 200), (1.0, 503)):
        ledger = tmp_path / f"{status}.sqlite"
        engine = priced_engine("fake:", ledger, budget_usd=budget)
        with RunningServer(engine) as server:
            assert said(server, "before it happens")[0] == 200
            # A table that is gone is what any other damage is: writing fails.
            rename(ledger, "open_calls", "gone")
            assert said(server, "while it lasts")[0] == status
            rename(ledger, "gone", "open_calls")
            assert said(server, "after it is over")[0] == 200
        contents = {one.request.messages[-1].content for one in recorded(ledger)}
        assert contents == {"before it happens", "after it is over"}
        assert engine._book.counts.num_unrecorded == (1 if budget is None else 0)


def rename(ledger: Path, table: str, to: str) -> None:
    with closing(sqlite3.connect(ledger)) as database:
        database.execute(f"ALTER TABLE {table} RENAME TO {to}")
        database.commit()


def test_requests_of_a_batch_teacher_are_all_answered_at_once(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    engine = priced_engine("fake:?latency_s=0.05&parallel=4", tmp_path / "ledger.sqlite")
    with RunningServer(engine) as server, ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda n: said(server, f"Write of the {n} bridges"), range(32)))
    assert {status for status, _ in found} == {200}
    assert engine.counts.num_answers == 32


def test_the_identity_of_a_request_is_that_of_collect(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite"
    with RunningServer(priced_engine("fake:", ledger)) as server:
        assert said(server, temperature=0.0, max_tokens=20)[0] == 200
    (one,) = recorded(ledger)
    prompt = Prompt(id="any", messages=one.request.messages)
    sampling = Sampling(temperature=0.0, max_tokens=20)
    assert one.request.id == Request.of(prompt, teacher="fake:headline", sampling=sampling).id
