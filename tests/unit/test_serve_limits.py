"""Keys, limits and the end of a server, with students that answer as slowly as they are told."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serve_cases import RunningServer

from stillhouse.errors import ConfigError
from stillhouse.serve import Answering, Ask, Piece, ServeConfig

CHAT = "/v1/chat/completions"
ASKED = {"messages": [{"role": "user", "content": "hello"}]}
PATHS = [CHAT, "/v1/completions", "/v1/responses", "/v1/messages", "/v1/decisions"]
PATHS += ["/v1/embeddings", "/v1/messages/count_tokens"]


class EchoEngine:
    """Says what it was asked, after a while."""

    name = "echo"

    def __init__(self, seconds: float = 0.0) -> None:
        self.num_running = 0
        self._seconds = seconds

    async def open(self, ask: Ask) -> Answering:
        self.num_running += 1
        return Answering(1, self._pieces(ask), stop=self._stop)

    async def _pieces(self, ask: Ask) -> AsyncIterator[Piece]:
        await asyncio.sleep(self._seconds)
        said = ask.text if ask.text is not None else ask.messages[-1].content
        for index in range(ask.num_choices):
            yield Piece(index, said, (), "stop", 1)

    def _stop(self) -> None:
        self.num_running -= 1

    async def close(self) -> None:
        return


class StallingEngine(EchoEngine):
    """Says one word and no more."""

    async def _pieces(self, ask: Ask) -> AsyncIterator[Piece]:
        yield Piece(0, "word")
        await asyncio.sleep(30)


class FailingEngine(EchoEngine):
    """Says one word and fails."""

    async def _pieces(self, ask: Ask) -> AsyncIterator[Piece]:
        yield Piece(0, "word")
        raise ValueError("an inner secret")


def test_a_server_that_others_reach_needs_keys() -> None:
    with pytest.raises(ConfigError, match="no key is set"):
        ServeConfig(host="0.0.0.0")
    assert ServeConfig(host="0.0.0.0", keys=("k",)).keys == ("k",)
    assert "secret-key" not in repr(ServeConfig(keys=("secret-key",)))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Basic right"}, 401),
        ({"Authorization": "Bearer right"}, 200),
        ({"authorization": "bearer other"}, 200),
        ({"x-api-key": "right"}, 200),
    ],
)
def test_a_key_is_asked_for(headers: dict[str, str], status: int) -> None:
    with RunningServer(EchoEngine(), keys=("right", "other")) as server:
        got, _, body = server.send(CHAT, ASKED, headers=headers)
        assert got == status
        assert server.send("/v1/models", headers=headers)[0] == status
        assert server.send("/metrics", headers=headers)[0] == status
        assert server.send("/health")[0] == 200
        if status == 401:
            assert json.loads(body)["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "[half"}, 403),
        ({"Origin": "http://localhost:3000"}, 200),
        ({"Host": "localhost:1"}, 200),
    ],
)
def test_without_keys_pages_of_other_sites_are_refused(
    headers: dict[str, str], status: int
) -> None:
    with RunningServer(EchoEngine()) as server:
        assert server.send(CHAT, ASKED, headers=headers)[0] == status
    with RunningServer(EchoEngine(), keys=("right",)) as server:
        headers = {**headers, "Authorization": "Bearer right"}
        assert server.send(CHAT, ASKED, headers=headers)[0] in (200, 400)


def test_a_server_may_show_no_log_probabilities() -> None:
    completion = {"prompt": "town", "logprobs": 0}
    asked = {**ASKED, "logprobs": True, "top_logprobs": 2}
    with RunningServer(EchoEngine(), hides_logprobs=True) as server:
        for path, body in ((CHAT, asked), ("/v1/completions", completion)):
            status, _, said = server.send(path, body)
            assert status == 400
            assert json.loads(said)["error"]["code"] == "logprobs_not_shown"
        assert server.send(CHAT, {**ASKED, "logprobs": False})[0] == 200
    with RunningServer(EchoEngine()) as server:
        assert server.send(CHAT, asked)[0] == 200


def test_a_body_that_is_too_large_is_refused_with_and_without_its_length() -> None:
    with RunningServer(EchoEngine(), max_body_bytes=1000) as server:
        large = json.dumps({**ASKED, "padding": "x" * 2000}).encode()
        assert server.send(CHAT, large)[0] == 413
        chunk = b"7d0\r\n" + large[:2000] + b"\r\n0\r\n\r\n"
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\n"
        head += "Transfer-Encoding: chunked\r\n\r\n"
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(head.encode() + chunk)
            assert connection.recv(100).startswith(b"HTTP/1.1 413")
        assert server.send(CHAT, ASKED)[0] == 200


def test_a_request_that_does_not_arrive_is_given_up() -> None:
    with RunningServer(EchoEngine(), read_s=0.1) as server:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n{{".encode()
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(head)
            assert connection.recv(100).startswith(b"HTTP/1.1 408")


def test_an_answer_that_takes_too_long_is_given_up() -> None:
    engine = EchoEngine(seconds=30)
    with RunningServer(engine, deadline_s=0.1) as server:
        status, _, body = server.send(CHAT, ASKED)
        assert status == 504
        assert "0.1 s" in json.loads(body)["error"]["message"]
        assert engine.num_running == 0


@pytest.mark.parametrize(
    ("engine_type", "told"),
    [(StallingEngine, "no answer within 0.3 s"), (FailingEngine, "an error of the server")],
)
@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/v1/responses"])
def test_an_error_in_a_stream_is_its_last_event(
    engine_type: type[EchoEngine], told: str, path: str
) -> None:
    engine = engine_type()
    asked = {**ASKED, "input": "hello", "max_tokens": 5, "stream": True}
    with RunningServer(engine, deadline_s=0.3) as server:
        status, _, body = server.send(path, asked)
        assert status == 200
        assert b"HTTP/1.1" not in body  # no second answer behind the first
        assert b"secret" not in body
        *_, last, rest = body.decode().split("\n\n")
        assert rest == ""
        assert told in last
        assert last.startswith("event: error\n") == (path == "/v1/messages")
        assert "[DONE]" not in body.decode()
    assert engine.num_running == 0  # once the server has ended: the caller is told before


def test_too_many_requests_are_told_when_to_come_again() -> None:
    with RunningServer(EchoEngine(seconds=0.5), max_waiting=1) as server:
        first = threading.Thread(target=server.send, args=(CHAT, ASKED))
        first.start()
        while not server.server.engine.num_running:
            pass
        status, headers, body = server.send(CHAT, ASKED)
        first.join()
        assert (status, headers["retry-after"]) == (429, "1")
        assert json.loads(body)["error"]["type"] == "rate_limit_error"


def test_a_server_that_is_stopped_lets_requests_end() -> None:
    server = RunningServer(EchoEngine(seconds=0.3)).__enter__()
    got: list[Any] = []
    under_way = threading.Thread(target=lambda: got.append(server.send(CHAT, ASKED)))
    under_way.start()
    while not server.server.engine.num_running:
        pass
    server.close()
    under_way.join()
    assert got[0][0] == 200
    assert b"hello" in got[0][2]


@pytest.fixture(scope="module")
def echo() -> Any:
    with RunningServer(EchoEngine()) as server:
        yield server


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)
_WORDS = (
    "messages role content type text input prompt model tools tool_choice function name stream "
    "parameters response_format json_schema schema n stop seed temperature max_tokens logprobs "
    "top_logprobs stream_options system options kind tool_calls id arguments format"
)
NAMES = st.sampled_from(_WORDS.split())
REQUESTS = st.dictionaries(
    NAMES,
    JSON
    | st.lists(st.dictionaries(NAMES, JSON | st.sampled_from(["user", "text"]), max_size=4))
    | st.dictionaries(NAMES, JSON, max_size=4),
    max_size=6,
)


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(path=st.sampled_from(PATHS), fields=REQUESTS, is_asked=st.booleans())
def test_no_request_is_an_error_of_the_server(
    echo: RunningServer, path: str, fields: dict[str, Any], is_asked: bool
) -> None:
    given = (
        {**fields, **ASKED, "prompt": "x", "input": "x", "max_tokens": 3} if is_asked else fields
    )
    status, _, body = echo.send(path, given)
    assert status in (200, 400, 404), body
    if status != 200:
        assert json.loads(body)["error"]["message"]
