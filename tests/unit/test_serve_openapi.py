"""The OpenAPI document of a server says what it takes and gives, and nothing else."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import label_students
import pytest
from fit_cases import a_task
from hypothesis import example, given, settings
from hypothesis import strategies as st
from serve_cases import RunningServer
from serve_schemas import Contract
from test_serve_limits import ASKED, CHAT, REQUESTS, EchoEngine

from stillhouse.serve import Engine, RefusedError, _chat, _completions, _messages, _responses
from stillhouse.serve._decisions import read_input
from stillhouse.serve._embeddings import read_request
from stillhouse.serve._fields import flag, model_name
from stillhouse.serve._labels import LabelEngine
from stillhouse.serve._openapi import openapi
from stillhouse.serve._upstream import UpstreamEngine

READ_ALWAYS = {"/v1/models", "/v1/models/{model}", "/metrics", "/health", "/openapi.json"}
TEXTS = {CHAT, "/v1/completions", "/v1/responses", "/v1/messages"}
COUNT, DECISIONS, EMBEDDINGS = "/v1/messages/count_tokens", "/v1/decisions", "/v1/embeddings"


def ngram() -> Engine:
    return LabelEngine(label_students.an_ngram(), a_task(), name="ngram")


def upstream() -> Engine:
    return UpstreamEngine("http://127.0.0.1:9/v1", "m", key=None, max_tokens=9)


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with RunningServer(EchoEngine(), keys=("right",)) as server:
        yield server


@pytest.mark.parametrize(
    ("make", "more"),
    [
        (EchoEngine, set()),
        (ngram, {COUNT, DECISIONS}),
        (upstream, {COUNT, EMBEDDINGS}),
    ],
)
@pytest.mark.parametrize("has_keys", [False, True])
def test_it_is_openapi_and_has_the_paths_of_the_student(
    make: Callable[[], Engine], more: set[str], has_keys: bool
) -> None:
    validator = pytest.importorskip("openapi_spec_validator")
    document = openapi(make(), has_keys=has_keys)
    validator.validate(document)
    assert document["openapi"].startswith("3.1.")
    assert document["paths"].keys() == READ_ALWAYS | TEXTS | more
    assert bool(document["security"]) == has_keys


@pytest.mark.parametrize("make", [EchoEngine, ngram])
def test_every_path_that_it_has_is_there_and_no_other_one(make: Callable[[], Engine]) -> None:
    with RunningServer(make()) as server:
        told = json.loads(server.send("/openapi.json")[2])
        assert told == openapi(server.server.engine, has_keys=False)
        for path in (*READ_ALWAYS, *TEXTS, COUNT, DECISIONS, EMBEDDINGS):
            method = "GET" if path in READ_ALWAYS else "POST"
            given = path.replace("{model}", server.server.engine.name)
            fields = {"input": "a", "max_tokens": 1, **ASKED}
            fields |= {"prompt": "a"} if path == "/v1/completions" else {}
            status, _, _ = server.send(given, None if method == "GET" else fields)
            assert status == (200 if path in told["paths"] else 404), path


def test_it_asks_for_the_key_that_the_server_asks_for(server: RunningServer) -> None:
    assert server.send("/openapi.json")[0] == 401
    _, _, body = server.send("/openapi.json", headers={"x-api-key": "right"})
    document = json.loads(body)
    assert document["components"]["securitySchemes"].keys() == {"bearer", "header"}
    assert document["paths"]["/health"]["get"]["security"] == []


def test_an_answer_that_is_not_in_it_is_found() -> None:
    contract = Contract(EchoEngine(), has_keys=False)
    headers = {"content-type": "application/json"}
    right: dict[str, Any] = {"object": "model", "id": "m", "created": 0, "owned_by": "stillhouse"}
    right["stillhouse"] = {"version": "unknown", "watermark": None}
    contract.check("GET", "/v1/models/m", 200, headers, json.dumps(right).encode())
    for wrong in ({**right, "more": 1}, {**right, "created": "0"}, {"id": "m"}, []):
        with pytest.raises(AssertionError):
            contract.check("GET", "/v1/models/m", 200, headers, json.dumps(wrong).encode())
    with pytest.raises(AssertionError, match="has no 418"):
        contract.check("GET", "/v1/models/m", 418, headers, b"{}")
    events = {"content-type": "text/event-stream; charset=utf-8"}
    for body in (b"", b"data: {}\n\n", b'data: {"id": "x"}\n\n', b"data: [DONE]", b"data: [DO"):
        with pytest.raises(AssertionError):
            contract.check("POST", CHAT, 200, events, body)


def refuses(path: str, fields: dict[str, Any]) -> bool:
    """Whether what reads the requests of a path refuses this one."""
    try:
        model_name(fields, "m")
        if path in TEXTS:
            flag(fields, "stream")
        _READERS[path](fields)
    except RefusedError:
        return True
    return False


_READERS: dict[str, Callable[[dict[str, Any]], object]] = {
    CHAT: _chat.read_ask,
    "/v1/completions": _completions.read_ask,
    "/v1/responses": _responses.read_ask,
    "/v1/messages": _messages.read_ask,
    COUNT: lambda fields: _messages.read_ask({**fields, "max_tokens": 1}),
    DECISIONS: read_input,
    EMBEDDINGS: read_request,
}


def validator_of(path: str) -> jsonschema.Draft202012Validator:
    engine = upstream() if path == EMBEDDINGS else ngram()
    document = openapi(engine, has_keys=False)
    post = document["paths"][path]["post"]
    schema = post["requestBody"]["content"]["application/json"]["schema"]
    return jsonschema.Draft202012Validator({**schema, "components": document["components"]})


VALIDATORS = {path: validator_of(path) for path in _READERS}
USUAL: dict[str, Any] = {**ASKED, "input": "x", "max_tokens": 3}
_FUNCTION = {"name": "f", "parameters": {"type": "object"}}
_NEAR: list[Any] = [
    *(None, True, False, 0, 1, 2, 1.0, 0.5, -1, 20, 21, 10**9, 10**9 + 1, "", "a", "auto", "any"),
    *([], ["a"], ["a", "b"], [1, 2], ["a", 1], {}, {"name": "f"}, {"type": "text"}, "required"),
    *({"type": "auto"}, {"type": "json_object"}, {"function": _FUNCTION}, {"function": None}),
    *({"include_usage": True}, {"include_usage": "a"}, {"format": {"type": "text"}}, "float"),
    {"format": {"type": "json_schema", "name": "n", "schema": {}}},
    {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
    [{"type": "function", "function": _FUNCTION}],
    [{"type": "function", **_FUNCTION}],
    [{"name": "f", "input_schema": {}}, {"name": "g"}],
    {"messages": ASKED["messages"]},
]
_NEAR_ROLE = st.sampled_from(["system", "developer", "user", "assistant", "tool", None, "king"])
_NEAR_PART = st.sampled_from(
    [
        *({"type": "text", "text": "a"}, {"type": "text"}, {"type": "input_text", "text": "a"}),
        *({"type": "refusal", "refusal": "a"}, {"type": "refusal", "text": "a"}, {}, "a"),
        {"type": "image_url", "image_url": {"url": "a"}},
        {"type": "tool_use", "id": "a", "name": "f", "input": {"b": 1}},
        {"type": "tool_use", "id": "a"},
        {"type": "tool_result", "tool_use_id": "a", "content": "b"},
        {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "b"}]},
        {"type": "tool_result", "tool_use_id": None},
    ]
)
_NEAR_CONTENT = st.none() | st.text(max_size=3) | st.lists(_NEAR_PART, max_size=2) | st.just(5)
_CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
_NEAR_TURN = st.fixed_dictionaries(
    {"role": _NEAR_ROLE, "content": _NEAR_CONTENT},
    optional={"tool_calls": st.sampled_from([None, [], [_CALL], [{**_CALL, "id": 1}], "a"])},
)
_NEAR_ITEM = _NEAR_TURN | st.sampled_from(
    [
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "a", "name": "f"},
        {"type": "function_call_output", "call_id": "a", "output": "b"},
        {"type": "function_call_output", "output": "b"},
        {"type": "reasoning", "summary": []},
    ]
)


def near(path: str) -> "st.SearchStrategy[dict[str, Any]]":
    """Requests that are right but for some fields, if at all."""
    schema = VALIDATORS[path].schema
    name = schema["$ref"].rpartition("/")[2]
    names = sorted(schema["components"]["schemas"][name]["properties"])
    fields = st.dictionaries(st.sampled_from(names), st.sampled_from(_NEAR), max_size=3)
    turns = st.fixed_dictionaries({}, optional={"messages": st.lists(_NEAR_TURN, max_size=2)})
    items = st.fixed_dictionaries({}, optional={"input": st.lists(_NEAR_ITEM, max_size=2)})
    return st.tuples(fields, turns, items).map(lambda parts: parts[0] | parts[1] | parts[2])


CASES = st.sampled_from(sorted(_READERS)).flatmap(
    lambda path: st.tuples(st.just(path), near(path) | REQUESTS)
)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(case=CASES)
@example(("/v1/responses", {"text": "abc"}))
@example(("/v1/responses", {"instructions": 5}))
@example(("/v1/responses", {"input": [{"type": None, "role": "user", "content": "x"}]}))
@example(("/v1/responses", {"tools": [{"type": "web_search"}, {"type": "function"}]}))
@example(("/v1/responses", {"text": {"format": {"type": "json_schema", "schema": {}}}}))
@example(("/v1/completions", {"suffix": 0}))
@example(("/v1/completions", {"stream_options": {"include_usage": 1}}))
@example(("/v1/completions", {"prompt": ["a", "b"]}))
@example((CHAT, {"top_logprobs": 21}))
@example((CHAT, {"top_logprobs": 20}))
@example((CHAT, {"n": 2.0, "seed": -(2**63) + 1, "max_tokens": 10**9}))
@example((CHAT, {"seed": 2**63}))
@example((CHAT, {"model": "m" * 257}))
@example((CHAT, {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}}))
@example((CHAT, {"response_format": {"type": "json_schema", "json_schema": None}}))
@example((CHAT, {"tools": [{"function": {"name": "f", "parameters": None}}]}))
@example((CHAT, {"tools": [{"function": {"name": ""}}]}))
@example((CHAT, {"tool_choice": {"function": {"name": "f"}}}))
@example((CHAT, {"messages": [{"role": "tool", "content": [{"type": "refusal"}]}]}))
@example(("/v1/messages", {"tool_choice": {"type": "any"}}))
@example(("/v1/messages", {"tool_choice": {"type": "tool"}}))
@example(("/v1/messages", {"temperature": 1.5}))
@example(("/v1/messages", {"max_tokens": None}))
@example((COUNT, {"max_tokens": None}))
@example((DECISIONS, {"input": {"messages": []}}))
@example((DECISIONS, {"options": ["a"] * 10_001}))
@example((DECISIONS, {"kind": None}))
@example((EMBEDDINGS, {"input": [[1], "a"], "encoding_format": None}))
@example((EMBEDDINGS, {"input": [1, -1]}))
@example((EMBEDDINGS, {"input": 0}))
@example((EMBEDDINGS, {"input": 5}))
@example((EMBEDDINGS, {"input": [[]]}))
def test_a_request_is_read_exactly_where_the_document_allows_it(
    case: tuple[str, dict[str, Any]],
) -> None:
    path, fields = case
    usual = {**USUAL, "prompt": "x"} if path == "/v1/completions" else USUAL
    asked = {**usual, **fields}
    assert refuses(path, asked) != VALIDATORS[path].is_valid(asked)
