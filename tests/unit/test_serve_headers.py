"""What every response tells of itself in its headers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from certify_cases import bank_rows, fitted_bank
from serve_cases import RunningServer
from test_serve_limits import EchoEngine, FailingEngine

from stillhouse.artifacts import open_artifact
from stillhouse.serve import ServeConfig, open_engine

HELLO = {"messages": [{"role": "user", "content": "my card was stolen"}]}
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", HELLO),
    ("/v1/chat/completions", {**HELLO, "stream": True}),
    ("/v1/completions", {"prompt": "my card was stolen"}),
    ("/v1/completions", {"prompt": "my card was stolen", "stream": True}),
    ("/v1/responses", {"input": "my card was stolen"}),
    ("/v1/responses", {"input": "my card was stolen", "stream": True}),
    ("/v1/messages", {**HELLO, "max_tokens": 9}),
    ("/v1/messages", {**HELLO, "max_tokens": 9, "stream": True}),
    ("/v1/decisions", {"input": "my card was stolen"}),
]


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fitted_bank(tmp_path_factory.mktemp("student"), bank_rows(200))[1]


@pytest.fixture(scope="module")
def server(student: Path) -> Iterator[RunningServer]:
    with RunningServer(open_engine(str(student), ServeConfig())) as server:
        yield server


@pytest.mark.parametrize(("path", "body"), REQUESTS)
def test_every_answer_says_who_gave_it_why_how_surely_and_by_which_version(
    server: RunningServer, student: Path, path: str, body: dict[str, Any]
) -> None:
    status, headers, _ = server.send(path, body, headers={"x-request-id": "call 7"})
    assert status == 200
    assert headers["x-stillhouse-route"] == "student"
    assert headers["x-stillhouse-reason"] == "only"
    assert 0 < float(headers["x-stillhouse-confidence"]) <= 1
    assert headers["x-stillhouse-version"] == open_artifact(student).manifest_sha256[:12]
    assert headers["x-request-id"] == "call 7"


@pytest.mark.parametrize(("path", "body"), REQUESTS)
def test_every_refusal_says_so(server: RunningServer, path: str, body: dict[str, Any]) -> None:
    for sent, expected in ((b"{", 400), (None, 405)):
        status, headers, _ = server.send(path, sent)
        assert status == expected
        assert headers["x-stillhouse-route"] == "server"
        assert headers["x-stillhouse-reason"] == "refused"
        assert headers["x-stillhouse-version"]
        assert headers["x-request-id"].startswith("req_")
        assert "x-stillhouse-confidence" not in headers


def test_a_failure_is_told_apart_from_a_refusal() -> None:
    with RunningServer(FailingEngine()) as server:
        status, headers, _ = server.send("/v1/chat/completions", HELLO)
        assert (status, headers["x-stillhouse-route"]) == (500, "student")
        assert headers["x-stillhouse-version"] == "unknown"
        assert "x-request-id" in headers


@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/health", "/nowhere"])
def test_other_paths_have_the_id_and_the_server_as_their_route(
    server: RunningServer, path: str
) -> None:
    _, headers, _ = server.send(path, headers={"x-request-id": "abc"})
    assert headers["x-request-id"] == "abc"
    assert headers.get("x-stillhouse-route") == (None if path == "/health" else "server")


@pytest.mark.parametrize("given", ["x" * 129, "caf\u00e9", "a\tb", ""])
def test_an_id_that_is_none_is_not_repeated(server: RunningServer, given: str) -> None:
    _, headers, _ = server.send("/v1/models", headers={"x-request-id": given})
    assert headers["x-request-id"].startswith("req_")


def test_ids_of_the_server_differ(server: RunningServer) -> None:
    ids = {server.send("/v1/models")[1]["x-request-id"] for _ in range(20)}
    assert len(ids) == 20


def test_who_has_no_key_is_told_nothing_of_the_student() -> None:
    with RunningServer(EchoEngine(), keys=("k",)) as server:
        status, headers, _ = server.send("/v1/chat/completions", HELLO)
        assert status == 401
        assert [name for name in headers if name.startswith("x-stillhouse")] == []
        assert "x-request-id" in headers


def test_the_model_says_which_version_it_is(server: RunningServer, student: Path) -> None:
    told = server.ask_models()["stillhouse"]
    version = open_artifact(student).manifest_sha256[:12]
    assert told == {"version": version, "watermark": None}
