"""A language model behind HTTP: the same answers as in process, in every protocol."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import small_models
from hypothesis import given, settings
from hypothesis import strategies as st
from serve_cases import RunningServer
from test_serve_limits import PATHS, REQUESTS

from stillhouse.models import GenerationJob, LanguageModel, generate
from stillhouse.records import Message
from stillhouse.serve._local import LocalEngine

CHAT = "/v1/chat/completions"
ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "town"}], "max_tokens": 12}
SCHEMA = {
    "type": "object",
    "properties": {"open": {"type": "boolean"}, "kind": {"enum": ["bridge", "farm"]}},
    "required": ["kind", "open"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "find", "parameters": SCHEMA}}


@pytest.fixture(scope="module")
def model(tiny_folder: Path) -> LanguageModel:
    return small_models.make(small_models.llama(max_position_embeddings=1024), tiny_folder)


@pytest.fixture(scope="module")
def server(model: LanguageModel) -> Iterator[RunningServer]:
    with RunningServer(LocalEngine(model, slots=4, max_tokens=200)) as server:
        yield server


@pytest.fixture(scope="module")
def fuzzed(model: LanguageModel) -> Iterator[RunningServer]:
    """A server for requests of any kind."""
    with RunningServer(LocalEngine(model, slots=4, max_tokens=3)) as server:
        yield server


def generated(model: LanguageModel, **settings: Any) -> str:
    job = GenerationJob(
        key="one",
        prompt_ids=model.chat.encode_prompt([Message(role="user", content="town")]),
        max_tokens=12,
        **settings,
    )
    left = [job]
    num_ids = len(model.chat.text_bytes)  # the head has more rows than there are tokens
    ((done,),) = generate(model, lambda limit: [left.pop()] if left else [], num_ids=num_ids)
    return model.chat.decode_completion(done.ids.tolist())[0]


def content(document: Any, index: int = 0) -> str:
    text: str = document["choices"][index]["message"]["content"]
    return text


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_answer_is_what_the_model_generates_in_process(
    server: RunningServer, model: LanguageModel, temperature: float
) -> None:
    document = server.ask(CHAT, **ASKED, temperature=temperature, seed=5)
    assert content(document) == generated(model, temperature=temperature, seed=5)
    assert document["usage"]["total_tokens"] == sum(
        document["usage"][name] for name in ("prompt_tokens", "completion_tokens")
    )


def test_a_stream_says_what_the_whole_answer_says(server: RunningServer) -> None:
    asked = {**ASKED, "seed": 9, "n": 2, "logprobs": True, "top_logprobs": 2}
    document = server.ask(CHAT, **asked)
    *chunks, done = server.events(CHAT, **asked, stream_options={"include_usage": True})
    assert done == "[DONE]"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == document["usage"]
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    for index, choice in enumerate(document["choices"]):
        mine = [c for chunk in chunks for c in chunk["choices"] if c["index"] == index]
        assert mine[0]["delta"]["role"] == "assistant"
        assert "".join(c["delta"].get("content", "") for c in mine) == content(document, index)
        assert [c["finish_reason"] for c in mine if c["finish_reason"]] == [choice["finish_reason"]]
        scores = [s for c in mine if c["logprobs"] for s in c["logprobs"]["content"]]
        assert [s["token"] for s in scores] == [s["token"] for s in choice["logprobs"]["content"]]
        assert b"".join(bytes(s["bytes"]) for s in scores).decode("utf-8", "replace") == content(
            document, index
        )


def test_several_answers_differ_and_come_again_with_their_seed(server: RunningServer) -> None:
    first = server.ask(CHAT, **ASKED, n=3, seed=1)
    again = server.ask(CHAT, **ASKED, n=3, seed=1)
    texts = [content(first, index) for index in range(3)]
    assert texts == [content(again, index) for index in range(3)]
    assert len(set(texts)) == 3
    unseeded = {content(server.ask(CHAT, **ASKED)) for _ in range(3)}
    assert len(unseeded) > 1


@pytest.mark.parametrize("seed", [-1, 0, -(2**63) + 1, 2**63 - 1])
def test_every_seed_of_a_client_is_a_seed(server: RunningServer, seed: int) -> None:
    first = content(server.ask(CHAT, **ASKED, seed=seed, n=2), 1)
    assert first == content(server.ask(CHAT, **ASKED, seed=seed, n=2), 1)


def test_a_nucleus_of_nothing_is_the_likeliest_token(server: RunningServer) -> None:
    greedy = content(server.ask(CHAT, **ASKED, temperature=0))
    assert content(server.ask(CHAT, **ASKED, top_p=0)) == greedy


@settings(max_examples=100, deadline=None, derandomize=True)
@given(path=st.sampled_from(PATHS[:4]), fields=REQUESTS)
def test_no_request_fails_what_is_generated_beside_it(
    fuzzed: RunningServer, path: str, fields: dict[str, Any]
) -> None:
    asked = {**ASKED, "prompt": "x", "input": "x", "max_tokens": 3}
    status, _, body = fuzzed.send(path, {**asked, **fields, "max_tokens": 3})
    assert status in (200, 400), body


def test_an_answer_ends_before_a_stop(server: RunningServer) -> None:
    free = content(server.ask(CHAT, **ASKED, temperature=0))
    stop = free[4:6]
    document = server.ask(CHAT, **ASKED, temperature=0, stop=[stop, "never said"])
    assert content(document) == free[: free.index(stop)]
    assert document["choices"][0]["finish_reason"] == "stop"
    assert document["usage"]["completion_tokens"] < 12


def test_an_answer_is_json_of_its_schema(server: RunningServer) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "town", "schema": SCHEMA}}
    document = server.ask(CHAT, **{**ASKED, "max_tokens": 100}, response_format=form)
    value = json.loads(content(document))
    assert value.keys() == {"kind", "open"}
    assert document["choices"][0]["finish_reason"] == "stop"


def test_a_tool_that_has_to_be_called_is_called(server: RunningServer) -> None:
    asked = {**ASKED, "max_tokens": 150, "tools": [TOOL], "tool_choice": "required", "seed": 2}
    choice = server.ask(CHAT, **asked)["choices"][0]
    (call,) = choice["message"]["tool_calls"]
    assert choice["finish_reason"] == "tool_calls"
    assert call["function"]["name"] == "find"
    assert json.loads(call["function"]["arguments"]).keys() == {"kind", "open"}
    chunks = server.events(CHAT, **asked)[:-1]
    deltas = [c["choices"][0]["delta"] for c in chunks]
    (streamed,) = [d["tool_calls"][0] for d in deltas if "tool_calls" in d]
    assert streamed["function"] == call["function"]
    assert "".join(d.get("content") or "" for d in deltas) == ""


def test_other_protocols_say_the_same(server: RunningServer, model: LanguageModel) -> None:
    said = generated(model)
    response = server.ask(
        "/v1/responses", input="town", max_output_tokens=12, temperature=0, unknown_field=1
    )
    assert response["output"][0]["content"][0]["text"] == said
    message = server.ask(
        "/v1/messages",
        messages=[{"role": "user", "content": [{"type": "text", "text": "town"}]}],
        max_tokens=12,
        temperature=0,
    )
    assert message["content"][0]["text"] == said
    prompt = "<|im_start|>user"
    status, _, body = server.send("/v1/completions", {"prompt": prompt, "max_tokens": 4})
    assert status == 400
    assert b"control token" in body
    assert server.ask("/v1/completions", prompt="town", max_tokens=4)["choices"][0]["text"]


@pytest.mark.parametrize(
    ("path", "fields", "status", "told"),
    [
        (CHAT, {"messages": []}, 400, "at least one message"),
        (CHAT, {**ASKED, "temperature": "hot"}, 400, "a number from 0 to 2"),
        (CHAT, {**ASKED, "temperature": 9}, 400, "a number from 0 to 2"),
        (CHAT, {**ASKED, "n": True}, 400, "a whole number"),
        (CHAT, {**ASKED, "stop": 3}, 400, "a text or a list"),
        (CHAT, {**ASKED, "tool_choice": "required"}, 400, "does not have it"),
        (CHAT, {**ASKED, "response_format": {"type": "xml"}}, 400, "json_schema"),
        (CHAT, {"messages": [{"role": "king", "content": "x"}]}, 400, "one of system"),
        (
            CHAT,
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            400,
            "reads text only",
        ),
        (CHAT, {"messages": [{"role": "user", "content": "town " * 3000}]}, 400, "Shorten it"),
        ("/v1/responses", {"input": "x", "previous_response_id": "r"}, 400, "remembers"),
        ("/v1/messages", {"messages": ASKED["messages"]}, 400, "max_tokens"),
        ("/v1/completions", {"prompt": ""}, 400, "empty"),
        ("/v1/decisions", {"input": "x"}, 404, "decides nothing"),
        ("/v1/nothing", {}, 404, "There is no"),
    ],
)
def test_what_is_wrong_is_said(
    server: RunningServer, path: str, fields: dict[str, Any], status: int, told: str
) -> None:
    got, _, body = server.send(path, fields)
    assert got == status
    assert told in json.loads(body)["error"]["message"]


def test_a_prompt_that_is_too_long_has_the_code_that_clients_know(server: RunningServer) -> None:
    _, _, body = server.send(CHAT, {"messages": [{"role": "user", "content": "town " * 3000}]})
    assert json.loads(body)["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b'{"messages": "\xc3"}'])
def test_a_body_that_is_no_json_object_is_refused(server: RunningServer, body: bytes) -> None:
    status, _, told = server.send(CHAT, body)
    assert status == 400
    assert json.loads(told)["error"]["type"] == "invalid_request_error"


def test_the_model_is_listed_and_no_path_leads_out_of_it(server: RunningServer) -> None:
    listed = json.loads(server.send("/v1/models")[2])["data"]
    name = listed[0]["id"]
    assert json.loads(server.send(f"/v1/models/{name}")[2]) == listed[0]
    for path in ("/v1/models/..%2f..%2fetc%2fpasswd", "/v1/models/other"):
        assert server.send(path)[0] == 404
    assert server.send(CHAT)[0] == 405


def test_who_goes_away_is_no_longer_generated_for(server: RunningServer) -> None:
    body = json.dumps({**ASKED, "max_tokens": 200, "stream": True}).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    running = server.server.engine
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head.encode() + body)
        connection.recv(200)
        assert running.num_running == 1
    until = time.monotonic() + 10
    while running.num_running and time.monotonic() < until:
        time.sleep(0.005)
    assert running.num_running == 0
    page = server.send("/metrics")[2].decode()
    assert f'stillhouse_requests_total{{path="{CHAT}",status="left"}} 1' in page


def test_idle_connections_do_not_keep_others_out(server: RunningServer) -> None:
    idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(300)]
    try:
        assert content(server.ask(CHAT, **ASKED, temperature=0))
    finally:
        for connection in idle:
            connection.close()


def test_one_step_that_fails_does_not_end_the_server(model: LanguageModel) -> None:
    engine = LocalEngine(model, slots=2, max_tokens=20)
    with RunningServer(engine) as server:
        server.ask(CHAT, **ASKED)

        class Broken:
            is_idle = True

            def step(self) -> None:
                raise RuntimeError("out of memory")

            def add(self, job: object) -> None:
                self.is_idle = False

            def drop(self, key: str) -> None:
                return  # of the answer before, which has ended

        engine._session = Broken()  # type: ignore[assignment]  # the seam: a session that fails
        status, _, body = server.send(CHAT, ASKED)
        assert status == 500
        assert "out of memory" not in body.decode()
        assert content(server.ask(CHAT, **ASKED, temperature=0))
