"""Tokens of a request that is not sent: what the answer's usage says afterwards."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import label_students
import pytest
import small_models
from fit_cases import a_task
from serve_cases import RunningServer
from test_serve_limits import EchoEngine

from stillhouse.serve._labels import LabelEngine
from stillhouse.serve._local import LocalEngine
from stillhouse.serve._upstream import UpstreamEngine

MESSAGES, COUNT = "/v1/messages", "/v1/messages/count_tokens"
TURN = {"role": "user", "content": "the old town"}
TOOL = {"name": "find", "description": "finds", "input_schema": {"type": "object"}}
USED = [
    TURN,
    {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": "t", "name": "find", "input": {"a": 1}}],
    },
    {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "t", "content": "a bridge"}],
    },
]


@pytest.fixture(scope="module")
def server(tiny_folder: Path) -> Iterator[RunningServer]:
    config = small_models.llama(max_position_embeddings=1024)
    engine = LocalEngine(small_models.make(config, tiny_folder), slots=2, max_tokens=20)
    with RunningServer(engine) as server:
        yield server


@pytest.fixture(scope="module")
def before(server: RunningServer) -> Iterator[RunningServer]:
    with RunningServer(UpstreamEngine(f"{server.url}/v1", "m", key=None, max_tokens=9)) as before:
        yield before


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [TURN]},
        {"messages": [TURN], "system": "be brief"},
        {"messages": [TURN], "tools": [TOOL]},
        {"messages": USED, "tools": [TOOL], "tool_choice": {"type": "auto"}},
    ],
)
def test_the_count_is_what_the_answer_says(
    server: RunningServer, before: RunningServer, fields: dict[str, Any]
) -> None:
    used = server.ask(MESSAGES, **fields, max_tokens=1)["usage"]["input_tokens"]
    assert used > 4
    assert server.ask(COUNT, **fields) == {"input_tokens": used}
    assert before.ask(COUNT, **fields) == {"input_tokens": used}
    assert server.server.engine.num_running == before.server.engine.num_running == 0


def test_what_is_too_long_is_counted_all_the_same(server: RunningServer) -> None:
    fields = {"messages": [{"role": "user", "content": "town " * 3000}]}
    assert server.send(MESSAGES, {**fields, "max_tokens": 1})[0] == 400
    assert server.ask(COUNT, **fields)["input_tokens"] > 3000


def test_what_is_wrong_is_said_in_the_words_of_the_protocol(server: RunningServer) -> None:
    for fields in ({}, {"messages": []}, {"messages": [{"role": "king", "content": "x"}]}):
        status, _, body = server.send(COUNT, fields)
        document = json.loads(body)
        assert (status, document["type"]) == (400, "error")
        assert document["error"]["type"] == "invalid_request_error"


def test_students_that_count_none_say_so() -> None:
    labels = LabelEngine(label_students.an_ngram(), a_task(), name="ngram")
    with RunningServer(labels) as server:
        assert server.ask(COUNT, messages=[TURN]) == {"input_tokens": 0}
    with RunningServer(EchoEngine()) as server:
        status, _, body = server.send(COUNT, {"messages": [TURN]})
        assert (status, json.loads(body)["error"]["type"]) == (404, "not_found_error")
