"""What goes through the proxy is what would have come without it."""

import gzip
import hashlib
import http.client
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest
from mock_calls import ask, call
from proxy_cases import (
    OUR_KEY,
    PROVIDER_OF,
    RunningProxy,
    ScriptedServer,
    exchange,
    http_answer,
    is_free,
    proxy_for,
    timed_pieces,
    wait_until,
)
from tests.mock_provider import MockProvider

from stillhouse.teachers._dialects import DIALECTS

CHAT = b'{"model":"mock-small","messages":[{"role":"user","content":"Hi"}]}'
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
}
# Of one message only, and not of what is in it.
OF_THE_MOMENT = {"date", "x-request-id", "request-id"}


def post(port: int, body: bytes = CHAT, *headers: str, path: str = "/v1/chat/completions") -> bytes:
    """A request as a text, on a connection that ends with its answer."""
    lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Connection: close", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def sha(got: Any) -> str:
    return hashlib.sha256(got.body).hexdigest()


def stable(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in OF_THE_MOMENT}


@pytest.mark.parametrize("fault", [None, "shred", "keep_alive:delay_s=0.01", "bad_utf8"])
@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_bodies_and_headers_are_the_same_to_the_byte(
    mock: MockProvider, ledger: Path, dialect: str, is_streamed: bool, fault: str | None
) -> None:
    more = {"store": False} if dialect == "openai_responses" else {}
    given: dict[str, Any] = {"dialect": dialect, "stream": is_streamed, "fault": fault, **more}
    direct = ask(mock, "storm \U0001f32a over the bay", **given)
    with proxy_for(mock, dialect, ledger) as proxy:
        through = ask(proxy, "storm \U0001f32a over the bay", **given)
    assert through.status == direct.status == 200
    assert sha(through) == sha(direct)
    assert stable(through.headers) == stable(direct.headers)


@pytest.mark.parametrize("is_streamed", [False, True])
def test_tools_and_structured_outputs_pass_both_ways(
    mock: MockProvider, proxy: RunningProxy, is_streamed: bool
) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    named = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    for more in ({"tools": [TOOL], "tool_choice": "required"}, {"response_format": named}):
        through = ask(proxy, "weather", stream=is_streamed, **more)
        assert sha(through) == sha(ask(mock, "weather", stream=is_streamed, **more))
        assert mock.requests[-1].body == mock.requests[-2].body


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ("rate_limit:wait_s=7,should_retry=true", 429), ("server_error", 500), ("overloaded", 503),
        ("unauthorized", 401), ("quota", 429), ("html_error", 502), ("redirect", 307),
        ("not_found", 404),
    ],
)  # fmt: skip
def test_errors_arrive_with_their_status_headers_and_body(
    mock: MockProvider, proxy: RunningProxy, fault: str, status: int
) -> None:
    direct, through = ask(mock, fault=fault), ask(proxy, fault=fault)
    assert through.status == direct.status == status
    assert through.body == direct.body
    expected = stable(direct.headers)
    if "location" in expected:  # it names the host that was asked, which the mock sees as itself
        expected["location"] = through.headers["location"]
    assert stable(through.headers) == expected
    if fault.startswith("rate"):
        assert through.headers["retry-after"] == "7"
        assert through.headers["x-should-retry"] == "true"


@pytest.mark.parametrize("is_streamed", [False, True])
def test_an_answer_that_is_cut_arrives_as_a_cut(proxy: RunningProxy, is_streamed: bool) -> None:
    with pytest.raises(http.client.IncompleteRead) as failure:
        ask(proxy, "a cut", stream=is_streamed, fault="cut:at=0.5")
    assert failure.value.partial  # and what came before it


def test_a_connection_that_the_provider_drops_is_an_error_that_says_so(
    proxy: RunningProxy,
) -> None:
    through = ask(proxy, fault="reset")
    assert through.status == 502
    assert through.json["error"]["type"] == "proxy_error"
    assert "did not answer" in through.json["error"]["message"]


def test_a_provider_that_is_not_there_is_an_error_that_says_so(ledger: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with RunningProxy(f"http://127.0.0.1:{port}/v1", ledger) as proxy:
        through = ask(proxy)
    assert through.status == 502
    assert proxy.counts.errors == {"connection": 1}


def test_a_slow_drip_comes_drop_by_drop(proxy: RunningProxy) -> None:
    text = b"[[fault=drip:delay_s=0.02]] drops"
    for stream in (b"", b',"stream":true'):
        body = CHAT.replace(b"Hi", text)[:-1] + stream + b"}"
        pieces = timed_pieces(proxy.port, "/v1/chat/completions", body)
        first_s, last_s = pieces[0][0], pieces[-1][0]
        assert len(pieces) > 10
        assert first_s < last_s / 4, (first_s, last_s)


def test_the_head_of_an_answer_does_not_wait_for_its_body(ledger: Path) -> None:
    go_on = threading.Event()

    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
        connection.sendall(b"Transfer-Encoding: chunked\r\n\r\n")
        go_on.wait(5)
        connection.sendall(b"2\r\nhi\r\n0\r\n\r\n")

    with ScriptedServer(answer) as server, RunningProxy(server.url, ledger) as proxy:
        connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=5)
        connection.request("POST", "/v1/chat/completions", CHAT, {"Authorization": "Bearer k"})
        response = connection.getresponse()  # would time out
        assert response.getheader("Content-Type") == "text/event-stream"
        go_on.set()
        assert response.read() == b"hi"
        connection.close()


def test_large_bodies_pass_whole_both_ways(mock: MockProvider, proxy: RunningProxy) -> None:
    user = "ferry " * 1_500_000  # 9 MB that the mock does not count
    direct, through = ask(mock, user=user), ask(proxy, user=user)
    assert mock.requests[-1].body == mock.requests[-2].body
    assert sha(through) == sha(direct)
    fault = "oversized:size_bytes=9000000"
    direct, through = ask(mock, fault=fault), ask(proxy, fault=fault)
    assert len(through.body) > 9_000_000
    assert sha(through) == sha(direct)


def test_two_hundred_streams_at_once_stay_apart(mock: MockProvider, proxy: RunningProxy) -> None:
    texts = [f"[[tokens=40]] boat number {n}" for n in range(200)]
    with ThreadPoolExecutor(200) as pool:
        through = list(pool.map(lambda text: ask(proxy, text, stream=True, timeout_s=30), texts))
    direct = [ask(mock, text, stream=True) for text in texts]
    assert [sha(got) for got in through] == [sha(got) for got in direct]
    recorded = proxy.recorded()
    assert len(recorded) == 200
    assert {row.request.messages[0].content for row in recorded} == set(texts)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/models"), ("GET", "/v1/models/mock-small"), ("GET", "/v1/nothing?a=%20b&a=c"),
     ("HEAD", "/v1/models"), ("DELETE", "/v1/files/x"), ("OPTIONS", "/v1/models")],
)  # fmt: skip
def test_every_other_path_and_method_passes_unrecorded(
    mock: MockProvider, proxy: RunningProxy, method: str, path: str
) -> None:
    direct, through = call(mock, method, path), call(proxy, method, path)
    assert (through.status, through.body) == (direct.status, direct.body)
    ours, theirs = mock.requests[-1], mock.requests[-2]
    assert (ours.method, ours.path, ours.query) == (theirs.method, theirs.path, theirs.query)
    proxy.close()
    assert (proxy.counts.num_calls, proxy.counts.num_passed) == (1, 1)


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/chat/completions", "/v1/chat/completions?api-version=7"]
)
def test_the_base_url_may_or_may_not_be_in_the_path(proxy: RunningProxy, path: str) -> None:
    got = call(proxy, "POST", path, CHAT)
    assert got.status == 200


def test_headers_pass_as_they_are_but_for_those_of_the_connection(ledger: Path) -> None:
    headers = ["Connection: close, X-Mine", "X-Mine: hop", "Keep-Alive: timeout=5", "TE: trailers"]
    answer = http_answer(b"{}", "Set-Cookie: a=1", "Set-Cookie: b=2", "X-Odd: \xe9", *headers)
    with ScriptedServer(answer) as server, RunningProxy(server.url, ledger) as proxy:
        sent = ["Accept-Encoding: br;q=0.5", "X-Many: 1", "X-Many: 2", "Cookie: c=3", *headers]
        request = post(proxy.port, CHAT, "Authorization: Bearer mine", *sent)
        received = exchange(proxy.port, request.replace(b"Connection: close\r\n", b"", 1))
    first, got = server.head()
    assert first == "POST /v1/chat/completions HTTP/1.1"
    assert sorted(got) == sorted(
        [
            ("host", f"127.0.0.1:{server.port}"), ("accept-encoding", "br;q=0.5"),
            ("x-many", "1"), ("x-many", "2"), ("cookie", "c=3"),
            ("authorization", "Bearer mine"), ("content-length", str(len(CHAT))),
        ]
    )  # fmt: skip
    assert server.requests[0].endswith(b"\r\n\r\n" + CHAT)
    head = received.partition(b"\r\n\r\n")[0]
    assert b"Set-Cookie: a=1\r\nSet-Cookie: b=2" in head
    assert b"X-Mine" not in head
    assert b"Keep-Alive" not in head
    assert received.endswith(b"\r\n\r\n{}")


def test_encoded_bodies_pass_packed_and_are_recorded_unpacked(
    mock: MockProvider, ledger: Path
) -> None:
    answer = ask(mock).body
    packed = gzip.compress(answer)
    script = http_answer(packed, "Content-Encoding: gzip")
    with ScriptedServer(script) as server, RunningProxy(server.url, ledger) as proxy:
        asked = gzip.compress(CHAT)
        received = exchange(proxy.port, post(proxy.port, asked, "Content-Encoding: gzip"))
        (row,) = proxy.recorded()
    assert received.partition(b"\r\n\r\n")[2] == packed
    assert server.requests[0].partition(b"\r\n\r\n")[2] == asked
    assert row.answer.body == answer
    assert row.raw_request == CHAT


@pytest.mark.parametrize(
    "script",
    [
        b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{}",  # until it closes
        b"HTTP/1.1 200 Very Well\r\nContent-Type: a/b\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\n{}\r\n0\r\nX-Trailer: 1\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
    ],
)
def test_every_form_of_an_answer_arrives(ledger: Path, script: bytes) -> None:
    with ScriptedServer(script) as server, RunningProxy(server.url, ledger) as proxy:
        connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=5)
        connection.request("POST", "/v1/chat/completions", CHAT, {"Authorization": "Bearer k"})
        response = connection.getresponse()
        body = response.read()
        connection.close()
    status = int(script.rpartition(b"HTTP/1.")[2][2:5])
    assert response.status == status
    assert body == (b"{}" if status == 200 else b"")
    if b"Very Well" in script:
        assert response.reason == "Very Well"


def test_a_caller_that_waits_to_go_on_is_told_to(ledger: Path) -> None:
    with ScriptedServer(http_answer(b"{}")) as server, RunningProxy(server.url, ledger) as proxy:
        head = post(proxy.port, CHAT, "Expect: 100-continue").removesuffix(CHAT)
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as connection:
            connection.sendall(head)
            assert connection.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.sendall(CHAT)
            assert b"200 OK" in connection.recv(4096)
    assert server.header("expect") is None
    assert server.requests[0].endswith(CHAT)


def test_a_chunked_request_arrives_whole(mock: MockProvider, proxy: RunningProxy) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=5)
    pieces = iter([CHAT[:10], CHAT[10:]])
    connection.request(
        "POST", "/v1/chat/completions", pieces, {"Authorization": "Bearer k"}, encode_chunked=True
    )
    assert connection.getresponse().status == 200
    connection.close()
    assert mock.requests[-1].body == CHAT


def test_a_caller_that_leaves_ends_the_call_at_the_provider(ledger: Path) -> None:
    has_left = threading.Event()

    def answer(connection: socket.socket) -> None:
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n2\r\n: \r\n"
        )
        connection.settimeout(5)
        if not connection.recv(1):  # nothing more is to come but the end
            has_left.set()

    with ScriptedServer(answer) as server, RunningProxy(server.url, ledger) as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as connection:
            connection.sendall(post(proxy.port))
            assert connection.recv(65536)
        assert has_left.wait(5)


def test_a_caller_that_reads_slowly_holds_the_provider_back(ledger: Path) -> None:
    sent = [0]
    size = 64 << 20

    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        piece = bytes(1 << 16)
        connection.settimeout(1.0)
        try:
            while sent[0] < size:
                sent[0] += connection.send(piece)
        except TimeoutError:
            return

    with (
        ScriptedServer(answer) as server,
        RunningProxy(server.url, ledger, grace_s=0.0) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as connection,
    ):
        connection.sendall(b"GET /v1/files/x/content HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.recv(1024)
        time.sleep(0.3)
        assert 0 < sent[0] < size / 2


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_call_without_a_key_gets_the_provider_s(ledger: Path, dialect: str) -> None:
    header = {"anthropic": "x-api-key", "gemini": "x-goog-api-key"}.get(dialect, "authorization")
    to = PROVIDER_OF[dialect]
    sent = f"Bearer {OUR_KEY}" if header == "authorization" else OUR_KEY
    others = {"authorization", "x-api-key", "x-goog-api-key"} - {header}
    with (
        ScriptedServer(http_answer(b"{}")) as server,
        RunningProxy(server.url.removesuffix("/v1"), ledger, to=to) as proxy,
    ):
        for none in ((), ("Authorization: Bearer stillhouse",), ("X-Api-Key: stillhouse",)):
            exchange(proxy.port, post(proxy.port, CHAT, *none))
            assert server.header(header) == sent
            assert not others & {name for name, _ in server.head()[1]}


def test_a_caller_s_own_key_is_the_only_one_that_is_sent(ledger: Path) -> None:
    with ScriptedServer(http_answer(b"{}")) as server, RunningProxy(server.url, ledger) as proxy:
        for given in ("Authorization: Bearer mine", "X-Api-Key: mine", "X-Goog-Api-Key: mine"):
            exchange(proxy.port, post(proxy.port, CHAT, given))
            name, _, value = given.partition(": ")
            assert server.header(name.lower()) == value
        exchange(proxy.port, post(proxy.port, CHAT, path="/v1/x?key=mine"))
    assert len(server.requests) == 4
    assert not any(OUR_KEY.encode() in request for request in server.requests)


@pytest.mark.parametrize(
    "headers",
    [("Origin: https://evil.example",), ("Origin: null",), ("Host: evil.example:8460",),
     ("Origin: http://127.0.0.1.evil.example",), ("Host: [::1",), ("Host: ",)],
)  # fmt: skip
def test_web_pages_from_elsewhere_do_not_get_our_key(
    ledger: Path, headers: tuple[str, ...]
) -> None:
    with ScriptedServer(http_answer(b"{}")) as server, RunningProxy(server.url, ledger) as proxy:
        request = post(proxy.port, CHAT, *headers)
        if headers[0].startswith("Host"):
            request = request.replace(f"Host: 127.0.0.1:{proxy.port}\r\n".encode(), b"", 1)
        assert b"HTTP/1.1 403" in exchange(proxy.port, request)
        assert server.requests == []
        own = request.replace(b"\r\n\r\n", b"\r\nAuthorization: Bearer own\r\n\r\n", 1)
        assert b"HTTP/1.1 200" in exchange(proxy.port, own)
    with RunningProxy(server.url, ledger, allows_remote=True) as remote:
        assert b"HTTP/1.1 403" not in exchange(remote.port, request)


def test_a_local_page_gets_our_key(ledger: Path) -> None:
    with ScriptedServer(http_answer(b"{}")) as server, RunningProxy(server.url, ledger) as proxy:
        request = post(proxy.port, CHAT, "Origin: http://localhost:3000")
        assert b"HTTP/1.1 200" in exchange(proxy.port, request)


@pytest.mark.parametrize(
    ("first_line", "status"),
    [
        ("GET http://evil.example/ HTTP/1.1", 400), ("GET /v1/../../admin HTTP/1.1", 400),
        ("GET /v1/%2e%2e/admin HTTP/1.1", 400), ("OPTIONS * HTTP/1.1", 400),
    ],
)  # fmt: skip
def test_what_would_leave_the_base_url_is_refused(
    ledger: Path, first_line: str, status: int
) -> None:
    with ScriptedServer(http_answer(b"{}")) as server, RunningProxy(server.url, ledger) as proxy:
        request = f"{first_line}\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        assert f"HTTP/1.1 {status}".encode() in exchange(proxy.port, request)
        assert server.requests == []
    assert proxy.counts.num_refused == 1


def test_upgrades_are_refused(ledger: Path) -> None:
    with ScriptedServer(http_answer(b"{}")) as server, RunningProxy(server.url, ledger) as proxy:
        request = (
            b"GET /v1/realtime HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as connection:
            connection.sendall(request)
            assert b"HTTP/1.1 501" in connection.recv(4096)
        assert server.requests == []


def test_calls_under_way_may_end_when_it_is_stopped(ledger: Path) -> None:
    go_on = threading.Event()

    def answer(connection: socket.socket) -> None:
        connection.sendall(http_answer(orjson.dumps({"a": 1}))[:-3])
        go_on.wait(5)
        connection.sendall(b":1}")

    with ScriptedServer(answer) as server, ThreadPoolExecutor(2) as pool:
        proxy = RunningProxy(server.url, ledger).__enter__()
        waiting = pool.submit(exchange, proxy.port, post(proxy.port))
        wait_until(lambda: bool(server.requests))
        closing = pool.submit(proxy.close)
        wait_until(lambda: is_free(proxy.port))
        go_on.set()
        assert waiting.result(5).endswith(b'{"a":1}')
        closing.result(5)


def test_a_call_that_takes_longer_than_the_grace_is_cut_and_recorded(ledger: Path) -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(http_answer(bytes(100))[:-50])
        connection.settimeout(5)
        connection.recv(1)

    with ScriptedServer(answer) as server, ThreadPoolExecutor(1) as pool:
        proxy = RunningProxy(server.url, ledger, grace_s=0.1).__enter__()
        waiting = pool.submit(exchange, proxy.port, post(proxy.port))
        wait_until(lambda: bool(server.requests))
        proxy.close()
        assert b"200 OK" in waiting.result(5)
    assert proxy.counts.errors == {"proxy_stopped": 1}
