"""A student that another server runs: our own, llama.cpp, and servers that fail."""

import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import small_models
from serve_cases import RunningServer

from stillhouse.errors import ConfigError
from stillhouse.serve import ServeConfig, open_engine
from stillhouse.serve._local import LocalEngine
from stillhouse.serve._upstream import UpstreamEngine

CHAT = "/v1/chat/completions"
ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "town"}], "max_tokens": 12}
SCHEMA = {
    "type": "object",
    "properties": {"kind": {"enum": ["bridge", "farm"]}},
    "required": ["kind"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def behind(tiny_folder: Path) -> Iterator[RunningServer]:
    """The server that runs the student."""
    config = small_models.llama(max_position_embeddings=1024)
    engine = LocalEngine(small_models.make(config, tiny_folder), slots=4, max_tokens=200)
    with RunningServer(engine, keys=("inner",)) as server:
        yield server


@pytest.fixture(scope="module")
def server(behind: RunningServer) -> Iterator[RunningServer]:
    engine = UpstreamEngine(f"{behind.url}/v1", "llama", key="inner", max_tokens=200)
    with RunningServer(engine) as server:
        yield server


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0},
        {"seed": 3, "n": 2},
        {"seed": 4, "logprobs": True, "top_logprobs": 2},
        {"temperature": 0, "stop": "e"},
    ],
)
def test_an_answer_is_that_of_the_server_behind(
    server: RunningServer, behind: RunningServer, fields: dict[str, Any]
) -> None:
    inner = behind.send(CHAT, {**ASKED, **fields}, headers={"Authorization": "Bearer inner"})
    expected = json.loads(inner[2])
    told = server.ask(CHAT, **ASKED, **fields)
    assert told["choices"] == expected["choices"]
    assert told["usage"] == expected["usage"]
    *chunks, last, done = server.events(
        CHAT, **ASKED, **fields, stream_options={"include_usage": True}
    )
    assert (last["usage"], done) == (expected["usage"], "[DONE]")
    for choice in expected["choices"]:
        mine = [c for chunk in chunks for c in chunk["choices"] if c["index"] == choice["index"]]
        said = "".join(c["delta"].get("content") or "" for c in mine)
        assert said == choice["message"]["content"]


def test_other_protocols_and_schemas_pass_through(server: RunningServer) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "town", "schema": SCHEMA}}
    said = server.ask(CHAT, **{**ASKED, "max_tokens": 60}, response_format=form)
    assert json.loads(said["choices"][0]["message"]["content"]).keys() == {"kind"}
    called = server.ask(
        "/v1/messages",
        messages=ASKED["messages"],
        max_tokens=100,
        tools=[{"name": "find", "input_schema": SCHEMA}],
        tool_choice={"type": "any"},
    )
    assert called["content"][0]["input"].keys() == {"kind"}
    assert server.ask("/v1/completions", prompt="town", max_tokens=3)["usage"]["prompt_tokens"]


def test_what_the_server_behind_refuses_is_the_callers_to_mend(server: RunningServer) -> None:
    long = {"messages": [{"role": "user", "content": "town " * 3000}]}
    status, _, body = server.send(CHAT, long)
    assert status == 400
    assert "Shorten it" in json.loads(body)["error"]["message"]


def test_who_goes_away_leaves_the_server_behind_too(
    server: RunningServer, behind: RunningServer
) -> None:
    import socket

    body = json.dumps({**ASKED, "max_tokens": 200, "stream": True}).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head.encode() + body)
        connection.recv(200)
    engines = (server.server.engine, behind.server.engine)
    until = time.monotonic() + 10
    while any(engine.num_running for engine in engines) and time.monotonic() < until:
        time.sleep(0.005)
    assert [engine.num_running for engine in engines] == [0, 0]


@contextmanager
def scripted(status: int, body: bytes, **headers: str) -> Iterator[str]:
    """A server that gives every request the same answer, and then hangs up."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}/v1"
        listening.shutdown()
        thread.join()


def chunk(**choice: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, **choice}]}).encode() + b"\n\n"


CUT = chunk(delta={"content": "half"})


@pytest.mark.parametrize(
    ("status", "body", "expected", "told"),
    [
        (500, b"secret trace", 502, "status 500"),
        (401, b"{}", 502, "status 401"),
        (400, b'{"error": {"message": "bad schema"}}', 400, "bad schema"),
        (429, b"{}", 429, "busy"),
        (503, b"{}", 503, "busy"),
        (200, b"", 502, "broke off"),
        (200, CUT, 502, "broke off"),
        (200, CUT + b"data: {\n\n", 502, "broke off"),
        (200, b'data: {"error": {"message": "no memory"}}\n\n', 502, "no memory"),
    ],
)
def test_a_failing_engine_is_told_apart(status: int, body: bytes, expected: int, told: str) -> None:
    with scripted(status, body) as url:
        engine = UpstreamEngine(url, "m", key="our-key", max_tokens=9)
        with RunningServer(engine) as server:
            got, _, answer = server.send(CHAT, ASKED)
            assert got == expected
            assert told in json.loads(answer)["error"]["message"]
            assert b"secret" not in answer
            assert b"our-key" not in answer
            assert engine.num_running == 0


def test_a_stream_that_breaks_off_says_so_and_has_no_end() -> None:
    with scripted(200, CUT) as url:
        engine = UpstreamEngine(url, "m", key=None, max_tokens=9)
        with RunningServer(engine) as server:
            *chunks, last = server.events(CHAT, **ASKED)
            assert "half" in json.dumps(chunks)
            assert "broke off" in last["error"]["message"]


def test_an_engine_that_is_not_there_is_a_502() -> None:
    engine = UpstreamEngine("http://127.0.0.1:9/v1", "m", key=None, max_tokens=9)
    with RunningServer(engine) as server:
        status, _, body = server.send(CHAT, ASKED)
        assert status == 502
        assert "is not reached" in json.loads(body)["error"]["message"]


def test_an_address_names_its_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="names no model"):
        open_engine("http://localhost:1/v1", ServeConfig())
    assert open_engine("http://localhost:1/v1#small", ServeConfig()).name == "small"
    with pytest.raises(ConfigError, match="does not exist"):
        open_engine(str(tmp_path / "absent.gguf"), ServeConfig())


@pytest.mark.weights
def test_llama_cpp_runs_a_gguf_student() -> None:
    from stillhouse.models import embedded_gguf

    engine = open_engine(str(embedded_gguf()), ServeConfig(slots=2))
    with RunningServer(engine) as server:
        asked = [{"role": "user", "content": "What is the capital of France?"}]
        document = server.ask(
            CHAT, messages=asked, max_tokens=12, temperature=0, logprobs=True, top_logprobs=2
        )
        (choice,) = document["choices"]
        assert choice["message"]["content"]
        assert len(choice["logprobs"]["content"][0]["top_logprobs"]) == 2
        assert document["usage"]["completion_tokens"] > 0
        form = {"type": "json_schema", "json_schema": {"name": "town", "schema": SCHEMA}}
        held = server.ask(CHAT, messages=asked, max_tokens=40, response_format=form)
        assert json.loads(held["choices"][0]["message"]["content"])["kind"] in ("bridge", "farm")
