"""What the proxy writes down: the same that a call of our own would have, and no key."""

import http.client
import logging
import os
import socket
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from ledger_cases import select
from mock_calls import ask, body_of, call, headers_of
from proxy_cases import (
    CALLERS_KEY,
    OUR_KEY,
    PROVIDER_OF,
    RunningProxy,
    ScriptedServer,
    http_answer,
    proxy_for,
    wait_until,
)
from tests.mock_provider import MockProvider

from stillhouse.collect import ImportConfig, import_completions
from stillhouse.records import Completion, Message, Prompt, Request
from stillhouse.runlog import Answer, Ledger
from stillhouse.teachers import read_answer
from stillhouse.teachers._dialects import DIALECTS

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def completion_of(body: bytes, dialect: str, request: Request) -> Completion:
    """What `read_answer` makes of a body that came straight from the provider."""
    facts = DIALECTS[dialect].outcome(body)
    answer = Answer(request.id, dialect, body, facts.finish_reason, facts.model, facts.usage)
    return read_answer(answer, request)


def comparable(completion: Completion) -> Completion:
    usage = completion.usage.model_copy(update={"seconds": 0.0, "cost_usd": None})
    return completion.model_copy(
        update={"usage": usage, "created_utc": completion.created_utc.min.replace(tzinfo=None)}
    )


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("text", ["rain tonight", "[[reason=8]] why", "[[refuse]] it"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_recorded_reads_as_a_direct_call_does(
    mock: MockProvider, ledger: Path, dialect: str, text: str, is_streamed: bool
) -> None:
    more: dict[str, Any] = {}
    if is_streamed and dialect == "openai_chat":
        more["stream_options"] = {"include_usage": True}
    with proxy_for(mock, dialect, ledger) as proxy:
        assert ask(proxy, text, dialect=dialect, stream=is_streamed, **more).status == 200
    (row,) = proxy.recorded()
    direct = ask(mock, text, dialect=dialect).body
    read, wanted = read_answer(row.answer, row.request), completion_of(direct, dialect, row.request)
    assert comparable(read) == comparable(wanted)
    assert row.answer.usage.seconds > 0
    assert row.request.messages == (Message(role="user", content=text),)
    assert row.request.teacher == f"{PROVIDER_OF[dialect]}:mock-small"
    assert orjson.loads(row.raw_request or b"") == (
        body_of(dialect, text, stream=is_streamed and dialect != "gemini", **more)
    )


@pytest.mark.parametrize("is_streamed", [False, True])
def test_tool_calls_are_recorded_with_the_tools(proxy: RunningProxy, is_streamed: bool) -> None:
    ask(proxy, "weather", stream=is_streamed, tools=[TOOL], tool_choice="required")
    (row,) = proxy.recorded()
    completion = read_answer(row.answer, row.request)
    assert completion.finish_reason == "tool_calls"
    assert completion.tool_calls[0].name == "weather"
    assert row.request.tools[0].name == "weather"


def test_gemini_s_stream_without_sse_is_read_as_well(mock: MockProvider, ledger: Path) -> None:
    with proxy_for(mock, "gemini", ledger) as proxy:
        path = "/v1beta/models/mock-small:streamGenerateContent"
        call(proxy, "POST", path, body_of("gemini", "rain"), headers_of("gemini"))
    (row,) = proxy.recorded()
    direct = ask(mock, "rain", dialect="gemini").body
    wanted = completion_of(direct, "gemini", row.request)
    assert comparable(read_answer(row.answer, row.request)) == comparable(wanted)


def test_the_cost_is_that_of_the_price_table_or_of_the_user_s_own(
    mock: MockProvider, tmp_path: Path
) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("openai/mock-small: {input: 1000000, output: 2000000}\n")
    with proxy_for(mock, "openai_chat", tmp_path / "a.sqlite", prices=prices) as proxy:
        usage = orjson.loads(ask(proxy).body)["usage"]
    expected = usage["prompt_tokens"] + 2 * usage["completion_tokens"]
    assert proxy.counts.cost_usd == pytest.approx(expected)
    assert proxy.counts.num_unpriced == 0
    with Ledger(proxy.ledger) as book:
        assert book.totals().cost_usd == pytest.approx(expected)
    with proxy_for(mock, "openai_chat", tmp_path / "b.sqlite") as proxy:
        ask(proxy)  # of a model that no table has
        ask(proxy, stream=True)  # and one that tells no usage
    assert proxy.counts.num_unpriced == 2
    with Ledger(proxy.ledger) as book:
        assert book.totals().cost_usd is None


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("rate_limit", "rate_limited"), ("server_error", "server_error"), ("reset", "connection"),
        ("bad_request", "bad_request"), ("html", "malformed_answer"), ("empty", "malformed_answer"),
        ("error_object", "malformed_answer"), ("cut:at=0.5", "cut"),
        ("torn_json", "malformed_answer"),
    ],
)  # fmt: skip
def test_errors_are_recorded_by_kind(proxy: RunningProxy, fault: str, kind: str) -> None:
    try:
        ask(proxy, fault=fault)
    except http.client.IncompleteRead:
        assert kind == "cut"
    assert proxy.recorded() == []
    assert proxy.counts.errors == {kind: 1}
    with Ledger(proxy.ledger) as book:
        assert book.totals().num_failed == 1


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("fault", "kinds"),
    [("cut:at=0.6", {"cut"}), ("no_end", {"cut"}), ("late_error", {"server_error", "overloaded"})],
)
def test_streams_that_break_are_recorded_as_broken(
    mock: MockProvider, ledger: Path, dialect: str, fault: str, kinds: set[str]
) -> None:
    with proxy_for(mock, dialect, ledger) as proxy:
        try:
            ask(proxy, "[[tokens=50]] x", dialect=dialect, stream=True, fault=fault)
        except http.client.IncompleteRead:
            assert "cut" in kinds
    assert set(proxy.counts.errors) <= kinds
    assert proxy.counts.num_answers == 0


def test_a_failed_request_that_is_repeated_is_another_attempt_at_it(proxy: RunningProxy) -> None:
    assert ask(proxy, fault="rate_limit").status == 429
    wait_until(lambda: bool(proxy.counts.errors))
    assert ask(proxy).status == 200
    (row,) = proxy.recorded()
    assert row.request.sample_index == 0
    with Ledger(proxy.ledger) as book:
        totals = book.totals()
    assert (totals.num_requests, totals.num_calls) == (1, 2)


def test_equal_requests_are_samples_counted_on_after_a_restart(
    mock: MockProvider, ledger: Path
) -> None:
    for num_before, num_calls in ((0, 5), (5, 1), (6, 12)):
        with proxy_for(mock, "openai_chat", ledger) as proxy, ThreadPoolExecutor(12) as pool:
            list(pool.map(lambda _: ask(proxy), range(num_calls)))
        rows = proxy.recorded()
        assert sorted(row.request.sample_index for row in rows) == list(
            range(num_before + num_calls)
        )
    assert len({row.request.prompt_id for row in rows}) == 1


def test_two_proxies_write_one_ledger(mock: MockProvider, ledger: Path) -> None:
    with (
        proxy_for(mock, "openai_chat", ledger) as one,
        proxy_for(mock, "openai_chat", ledger) as two,
    ):
        for _ in range(6):
            ask(one)
            ask(two)
    two.close()
    rows = one.recorded()
    assert sorted(row.request.sample_index for row in rows) == list(range(12))
    assert one.counts.num_answers + two.counts.num_answers == 12
    assert one.counts.num_unrecorded == two.counts.num_unrecorded == 0


@pytest.mark.parametrize(
    ("dialect", "path", "last_words", "has_usage"),
    [
        ("openai_chat", "/v1/chat/completions", b'"content":"', False),
        ("openai_responses", "/v1/responses", b"output_text.delta", False),
        ("anthropic", "/v1/messages", b"text_delta", True),  # which begins with the usage
    ],
)
def test_a_caller_that_leaves_in_the_middle_is_recorded_with_what_came(
    mock: MockProvider,
    ledger: Path,
    dialect: str,
    path: str,
    last_words: bytes,
    has_usage: bool,
) -> None:
    body = body_of(dialect, "[[fault=drip:delay_s=0.005]] [[tokens=200]]", stream=True)
    with proxy_for(mock, dialect, ledger) as proxy:
        connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=5)
        connection.request("POST", path, orjson.dumps(body), headers_of(dialect))
        response = connection.getresponse()
        received = b""
        while last_words not in received:
            received += response.read1(4096)
        response.close()
        connection.close()
        wait_until(lambda: bool(proxy.counts.errors))
    assert proxy.counts.errors == {"client_left": 1}
    assert (proxy.counts.prompt_tokens > 0) == has_usage
    (kept,) = bodies(ledger)
    assert orjson.loads(kept)


def bodies(ledger: Path, table: str = "calls") -> list[bytes]:
    """The bodies of a table, those of errors included, as another program finds them."""
    rows = select(
        ledger,
        "SELECT c.offset, c.length, s.raw_bytes, s.data "
        f"FROM {table} c JOIN segments s ON s.number = c.segment",
    )
    return [
        (data if raw_bytes is None else unpacked(data, raw_bytes))[offset : offset + length]
        for offset, length, raw_bytes, data in rows
    ]


def unpacked(data: bytes, size: int) -> bytes:
    return bytes(pa.Codec("zstd").decompress(data, decompressed_size=size, asbytes=True))


def test_a_caller_that_reads_the_end_and_goes_has_its_answer_recorded(ledger: Path) -> None:
    chunk = {"model": "m", "choices": [{"index": 0, "delta": {"content": "hi"}}]}
    end = {"model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    events = b"".join(b"data: %s\n\n" % orjson.dumps(each) for each in (chunk, end))
    events += b"data: [DONE]\n\n"

    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
        connection.sendall(b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(events))
        connection.sendall(events + b"\r\n")
        connection.settimeout(5)
        connection.recv(1)  # the chunk that ends it never comes

    with ScriptedServer(answer) as server, RunningProxy(server.url, ledger) as proxy:
        connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=5)
        body = orjson.dumps(body_of("openai_chat", "Hi", stream=True))
        connection.request("POST", "/v1/chat/completions", body)
        response = connection.getresponse()
        received = b""
        while b"[DONE]" not in received:
            received += response.read1(4096)
        response.close()
        connection.close()
        wait_until(lambda: proxy.counts.num_answers == 1 or bool(proxy.counts.errors))
    (row,) = proxy.recorded()
    assert read_answer(row.answer, row.request).text == "hi"


def test_no_key_is_in_the_ledger_nor_in_the_log(
    ledger: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def answer(connection: socket.socket) -> None:  # of a host that repeats what it was sent
        error = {"error": {"message": f"Incorrect API key: {server.header('authorization')}"}}
        connection.sendall(http_answer(orjson.dumps(error), status="401 Unauthorized"))

    url = "/v1/chat/completions"
    text = f"Our keys are {CALLERS_KEY} and {OUR_KEY}."
    with ScriptedServer(answer) as server, RunningProxy(server.url, ledger) as proxy:
        given = {"authorization": f"Bearer {CALLERS_KEY}"}
        call(proxy, "POST", url, body_of("openai_chat", text), given)
        given = {"authorization": ""}
        text = f"Our key is {OUR_KEY}."
        call(proxy, "POST", url, body_of("openai_chat", text), given)
        call(proxy, "POST", f"{url}?key={CALLERS_KEY}", b"not JSON", given)
    assert proxy.counts.errors == {"key_refused": 2}
    kept = b"".join([*bodies(ledger), *(path.read_bytes() for path in ledger.parent.iterdir())])
    kept += b"".join(bodies(ledger, "requests") + bodies(ledger, "raw_requests"))
    kept += caplog.text.encode()
    assert b"Our keys are *** and ***." in kept
    assert b"Incorrect API key: Bearer ***" in kept
    for key in (OUR_KEY, CALLERS_KEY):
        assert key.encode() not in kept


def test_a_fraction_of_the_traffic_can_be_recorded(mock: MockProvider, ledger: Path) -> None:
    with proxy_for(mock, "openai_chat", ledger, record_fraction=0.0) as proxy:
        for _ in range(5):
            assert ask(proxy).status == 200
    assert (proxy.counts.num_passed, proxy.counts.num_answers) == (5, 0)
    with proxy_for(mock, "openai_chat", ledger, record_fraction=0.5) as proxy:
        for _ in range(60):
            ask(proxy)
    assert proxy.counts.num_passed + proxy.counts.num_answers == 60
    assert 10 < proxy.counts.num_answers < 50  # 1 in 10 million outside


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"model":"m"}', b'{"model":"m","messages":[{"role":"x","content":""}]}',
     orjson.dumps(body_of("openai_responses", "later", background=True))],
)  # fmt: skip
def test_what_cannot_be_read_passes_and_is_counted(proxy: RunningProxy, body: bytes) -> None:
    path = "/v1/responses" if b"background" in body else "/v1/chat/completions"
    got = call(proxy, "POST", path, body)
    assert got.status == (200 if b"background" in body else 400)
    proxy.close()
    assert proxy.counts.num_unreadable == 1
    assert proxy.counts.num_answers + sum(proxy.counts.errors.values()) == 0


class Lock:
    """Another program that holds the ledger for writing."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("BEGIN IMMEDIATE")

    def release(self) -> None:
        self._db.execute("ROLLBACK")
        self._db.close()


def break_ledger(ledger: Path) -> None:
    with sqlite3.connect(ledger) as db:
        db.execute("ALTER TABLE open_calls RENAME TO hidden")
    db.close()


def mend_ledger(ledger: Path) -> None:
    with sqlite3.connect(ledger) as db:
        db.execute("ALTER TABLE hidden RENAME TO open_calls")
    db.close()


def test_calls_go_on_at_once_while_another_locks_the_ledger(
    proxy: RunningProxy, ledger: Path
) -> None:
    ask(proxy)
    wait_until(lambda: proxy.counts.num_answers == 1)
    lock = Lock(ledger)
    started_s = time.monotonic()
    assert ask(proxy).status == 200
    assert time.monotonic() - started_s < 1.0
    time.sleep(0.1)
    assert proxy.counts.num_answers == 1
    lock.release()
    wait_until(lambda: proxy.counts.num_answers == 2)
    assert len(proxy.recorded()) == 2


def test_a_ledger_that_fails_stops_no_call_and_catches_up_once_it_is_mended(
    proxy: RunningProxy, ledger: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ask(proxy)
    wait_until(lambda: proxy.counts.num_answers == 1)
    break_ledger(ledger)
    for _ in range(3):
        assert ask(proxy).status == 200
    wait_until(lambda: "not recorded at the moment" in caplog.text)
    assert caplog.text.count("not recorded at the moment") == 1
    mend_ledger(ledger)
    wait_until(lambda: proxy.counts.num_answers == 4)
    assert "recorded again" in caplog.text
    assert proxy.counts.num_unrecorded == 0


def test_what_a_failing_ledger_never_took_is_counted_at_the_end(
    proxy: RunningProxy, ledger: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ask(proxy)
    wait_until(lambda: proxy.counts.num_answers == 1)
    break_ledger(ledger)
    for _ in range(3):
        ask(proxy)
    proxy.close()
    assert (proxy.counts.num_answers, proxy.counts.num_unrecorded) == (1, 3)
    assert "3 calls could not be recorded" in caplog.text


def test_strict_refuses_calls_that_could_not_be_recorded_and_no_others(
    mock: MockProvider, ledger: Path
) -> None:
    with proxy_for(mock, "openai_chat", ledger, is_strict=True) as proxy:
        assert ask(proxy).status == 200
        wait_until(lambda: proxy.counts.num_answers == 1)
        break_ledger(ledger)
        wait_until(lambda: ask(proxy).status == 503)
        num_asked = mock.count
        refused = ask(proxy)
        assert refused.status == 503
        assert "cannot record" in refused.json["error"]["message"]
        assert mock.count == num_asked
        assert call(proxy, "GET", "/v1/models").status == 200
        mend_ledger(ledger)
        wait_until(lambda: ask(proxy).status == 200)


def test_strict_refuses_calls_when_the_ledger_is_damaged(
    mock: MockProvider, ledger: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with proxy_for(mock, "openai_chat", ledger, is_strict=True) as proxy:
        for number in range(40):
            ask(proxy, f"number {number} " + "x" * 3000)
        wait_until(lambda: proxy.counts.num_answers == 40)
        with sqlite3.connect(ledger) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()
        size = ledger.stat().st_size
        with ledger.open("r+b") as stream:
            stream.seek(4096)
            stream.write(b"\xff" * (size - 4096))
        wait_until(lambda: ask(proxy, "another").status == 503)
    assert "damaged" in caplog.text


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_ledger_that_cannot_be_opened_is_an_error_before_anything_passes(
    mock: MockProvider, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir(mode=0o500)
    with pytest.raises(Exception, match="cannot be opened"):
        proxy_for(mock, "openai_chat", tmp_path / "folder" / "l.sqlite").__enter__()


def test_a_ledger_in_a_folder_that_is_missing_is_an_error_at_once(
    mock: MockProvider, tmp_path: Path
) -> None:
    with pytest.raises(Exception, match="make the folder"):
        proxy_for(mock, "openai_chat", tmp_path / "missing" / "l.sqlite").__enter__()


def test_recorded_traffic_becomes_completions_scrubbed_of_what_is_private(
    mock: MockProvider, ledger: Path, tmp_path: Path
) -> None:
    image = [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]
    with proxy_for(mock, "openai_chat", ledger) as proxy:
        for text in ("Write to ada.lovelace@example.org", "plain", "plain"):
            ask(proxy, text, temperature=0.25)
        ask(proxy, "with choices", n=2)
        ask(proxy, "failing", fault="server_error")
        body = {"model": "mock-small", "messages": [{"role": "user", "content": image}]}
        of_image = call(proxy, "POST", "/v1/chat/completions", body)
        ask(proxy, "streamed", stream=True, stream_options={"include_usage": True})
    proxy.close()
    artifact = import_completions(ledger, tmp_path / "out", config=ImportConfig())
    completions = list(artifact.rows("completions", Completion))
    assert artifact.manifest.results["format"] == "ledger"
    assert artifact.manifest.results["scrubbed"] == {"EMAIL": 2}  # the answer repeats it
    assert artifact.manifest.counts.dropped == {"not_whole": 1}
    assert len(completions) == 6
    assert {one.teacher for one in completions} == {"openai:mock-small"}
    assert all(one.usage.seconds > 0 for one in completions if one.usage.completion_tokens)
    left_out = of_image.json["usage"]["completion_tokens"]
    num_tokens = sum(one.usage.completion_tokens for one in completions)
    assert num_tokens == proxy.counts.completion_tokens - left_out
    assert b"lovelace" in b"".join(bodies(ledger, "raw_requests"))
    again = import_completions(ledger, tmp_path / "raw", config=ImportConfig(scrub=False))
    prompts = {row.messages[0].content for row in again.rows("prompts", Prompt)}
    assert "Write to ada.lovelace@example.org" in prompts


def test_a_ledger_can_be_imported_while_the_proxy_runs(
    mock: MockProvider, ledger: Path, tmp_path: Path
) -> None:
    with proxy_for(mock, "openai_chat", ledger) as proxy:
        ask(proxy, "one")
        wait_until(lambda: proxy.counts.num_answers == 1)
        first = import_completions(ledger, tmp_path / "out", config=ImportConfig())
        same = import_completions(ledger, tmp_path / "out", config=ImportConfig())
        assert same.manifest == first.manifest
        ask(proxy, "two")
        wait_until(lambda: proxy.counts.num_answers == 2)
        later = import_completions(ledger, tmp_path / "out", config=ImportConfig(), replace=True)
    assert (first.manifest.counts.kept, later.manifest.counts.kept) == (1, 2)


def test_log_probabilities_come_with_what_is_imported(
    proxy: RunningProxy, ledger: Path, tmp_path: Path
) -> None:
    ask(proxy, "rain", logprobs=True, top_logprobs=2)
    proxy.close()
    artifact = import_completions(ledger, tmp_path / "out", config=ImportConfig())
    (completion,) = artifact.rows("completions", Completion)
    assert completion.logprobs is not None
    assert completion.logprobs.top_k == 2


def test_recording_takes_no_time_of_a_call(ledger: Path) -> None:
    """A call is over when the provider's answer is, though its recording has not begun."""
    with ScriptedServer(http_answer(b"{}")) as server, RunningProxy(server.url, ledger) as proxy:
        lock = Lock(ledger)
        threads = [threading.Thread(target=ask, args=(proxy,)) for _ in range(20)]
        started_s = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - started_s < 2.0
        lock.release()
    assert sum(proxy.counts.errors.values()) == 20
